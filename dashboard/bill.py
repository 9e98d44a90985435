"""Lines of the ledger as rows, on a task's page and in Billing."""

import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import Address
from dashboard.services import ConsoleServices
from metering.access import Access
from metering.ledger import ChargeFilter

SKUS = {"input_tokens": "Input tokens", "output_tokens": "Output tokens"}
MOST_LINES = 1000
Charge = Mapping[str, Any]


def charges_of_task(services: ConsoleServices, access: Access, task_id: str) -> Sequence[Charge]:
    """The ledger's lines of a task, by tier."""
    return by_tier(services.ledger.charges(access, ChargeFilter(task_id=task_id, limit=MOST_LINES)).data)


def by_tier(charges: Iterable[Charge]) -> list[Charge]:
    """The lowest tier first, one without a bound last; within it input before output, corrections behind usage."""
    return sorted(charges, key=_place)


def _place(charge: Charge) -> tuple[Any, ...]:
    bound = int(charge["tier"]) if charge["tier"].isdecimal() else math.inf  # `all` and `over` have none
    kind = charge["kind"] != "usage"
    return bound, charge["mode"], charge["sku"], kind, charge["recorded_at"], charge["charge_id"]


def charge_rows(charges: Sequence[Charge]) -> list[html.Tr]:
    """A row for each line of the ledger, with a way to the calls that it counts."""
    return [parts.row(c["charge_id"], [*charge_cells(c), _calls(c)], kind=c["kind"]) for c in charges]


def _calls(charge: Charge) -> html.Td:
    query = {"tier": charge["tier"], "mode": charge["mode"]}
    said = {"aria-label": f"Calls of {charge['sku']}, tier {charge['tier']}, {charge['mode']}"}
    return html.Td(parts.link("Calls", Address(f"/tasks/{charge['task_id']}", query).href, **said))


def charge_cells(charge: Charge) -> list[Any]:
    """Kind of token and tier, tokens, prices and amounts, exact in `data-value`."""
    sku = SKUS.get(charge["sku"], charge["sku"])
    corrected = html.Span(" correction", className="pill halt") if charge["kind"] == "correction" else None
    thinking = "thinking, " if charge["mode"] == "thinking" else ""
    limit = charge["tier"]
    up_to = f"≤ {writing.count(limit)} input" if str(limit).isdecimal() else f"tier: {limit}"
    tier = html.Div(thinking + up_to, className="note", **parts.data(field="tier", value=limit))
    prices = [
        html.Span(writing.price(charge["list_unit_price"]), className="strike"),
        " ",
        writing.price(charge["unit_price"]),
        html.Div(charge["currency"], className="note", **parts.data(field="currency")),
    ]
    return [
        parts.cell("sku", [sku, corrected, tier], charge["sku"]),
        parts.cell("quantity", writing.count(charge["quantity"]), charge["quantity"], number=True),
        parts.cell("unit_price", prices, charge["unit_price"], number=True),
        _amount("list_amount", charge),
        _amount("discount_amount", charge),
        _amount("amount", charge, "strong"),
    ]


def _amount(field: str, charge: Charge, classes: str = "") -> html.Td:
    value = charge[field]
    return parts.cell(field, writing.exact(Decimal(str(value))), value, number=True, classes=classes)
