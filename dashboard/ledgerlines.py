"""Entries of the ledger on the Billing page: all of a month, or those that one line of a statement sums."""

from dataclasses import replace
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.bill import SKUS, charge_cells
from dashboard.filters import Address, BillingView, task_href
from dashboard.parts import Column
from dashboard.reading import Json, at, workspace_names
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.ledger import ChargeFilter

LINES = 25
COLUMNS = (
    Column("Task"),
    Column("Model and workspace"),
    Column("Token kind"),
    Column("Tokens", number=True),
    Column("Price per million", number=True, wrap=True),
    Column("Real-time amount", number=True, wrap=True),
    Column("Saved", number=True),
    Column("Charged", number=True),
)


def ledger_lines(
    services: ConsoleServices, viewer: Viewer, shown: BillingView, address: Address
) -> list[Any]:
    """A page of entries, the newest first, and what all of them together come to."""
    listed = ChargeFilter(
        workspace_id=shown.workspace, model=shown.model, period=shown.month, after=shown.after, limit=LINES
    )
    wanted = replace(listed, **shown.line)
    page = services.ledger.charges(viewer.access, wanted)
    sums = services.ledger.sums(viewer.access, wanted)
    if not sums and not shown.line:
        return []
    names = workspace_names(services, viewer.access)
    rows = [_row(viewer, charge, names) for charge in page.data] + [_sum(one) for one in sums]
    last = page.data[-1]["charge_id"] if page.has_more else None
    table = parts.table("Ledger lines", COLUMNS, rows)
    panel = parts.panel("Ledger", table, *_widen(shown), note=_about(shown))
    return [html.Div(panel, className="tight"), *_pages(shown, address, last)]


def _about(shown: BillingView) -> str:
    if not shown.line:
        return "exact amounts, newest first"
    words = [SKUS.get(value, value) for name, value in shown.line.items() if name != "price_id"]
    return "only of the line " + ", ".join([*([shown.model] if shown.model else []), *words])


def _widen(shown: BillingView) -> list[html.A]:
    whole = {name: value for name, value in shown.undrilled.items() if name != "model"}
    return [parts.link("All entries", Address("/billing", whole).href)] if shown.line else []


def _row(viewer: Viewer, charge: Json, names: dict[str, str]) -> html.Tr:
    task_id, owner = charge["task_id"], charge["workspace_id"]
    recorded = parts.data(field="recorded_at", value=charge["recorded_at"])
    when = html.Div(writing.moment(at(charge["recorded_at"]), viewer.zone()), className="note", **recorded)
    where = html.Div(names.get(owner, owner), className="note")
    link = parts.link(_short(task_id), task_href(task_id), title=task_id)
    return parts.row(
        charge["charge_id"],
        [
            parts.cell("task_id", [link, when], task_id),
            parts.cell("model", [charge["model"], where], charge["model"]),
            *charge_cells(charge),
        ],
        kind=charge["kind"],
        currency=charge["currency"],
    )


def _sum(one: Json) -> html.Tr:
    """What all entries come to, those of other pages too."""
    title = f"{writing.plural(one['charges'], 'entry', 'entries')}, {one['currency']}"
    amounts = [
        parts.cell(name, one[name], one[name], number=True, classes="strong")
        for name in ("list_amount", "discount_amount", "amount")
    ]
    tokens = parts.cell("quantity", writing.count(one["quantity"]), one["quantity"], number=True)
    requests = writing.plural(one["requests"], "request")
    cells = [
        parts.cell("charges", title, one["charges"]),
        html.Td(),
        parts.cell("requests", requests, one["requests"]),
    ]
    return parts.row(f"sum {one['currency']}", [*cells, tokens, html.Td(), *amounts], classes="sum")


def _pages(shown: BillingView, address: Address, last: str | None) -> list[html.Nav]:
    links = [parts.link("Newest", address.with_(after=None).href)] if shown.after else []
    links += [parts.link("Older lines", address.with_(after=last).href)] if last else []
    return [html.Nav(links, className="pages", **{"aria-label": "Pages of the ledger"})] if links else []


def _short(task_id: str) -> str:
    return f"{task_id[:11]}…{task_id[-4:]}" if len(task_id) > 18 else task_id
