"""A month's statements on the Billing page, the lines of one of them, and the page to print."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from dash import html
from flask import Response

from dashboard import parts, writing
from dashboard.bill import charge_cells
from dashboard.filters import Address, BillingView
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.reading import Json, once, workspace_names
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.access import Access
from metering.statement_page import statement_page
from metering.statements import require_period

COLUMNS = (
    Column("Statement"),
    Column("Workspace"),
    Column("Requests", number=True),
    Column("Free of charge", number=True),
    Column("Real-time amount", number=True),
    Column("Exact amount", number=True),
    Column("Rounding", number=True),
    Column("Payable", number=True),
    Column("Paper"),
)
LINE_COLUMNS = (
    Column("Model"),
    Column("Requests", number=True),
    Column("Token kind"),
    Column("Tokens", number=True),
    Column("Price per million", number=True),
    Column("Real-time amount", number=True),
    Column("Saved", number=True),
    Column("Charged", number=True),
    Column("Ledger"),
)
_LINE = ("model", "sku", "tier", "mode", "price_id", "list_unit_price")


def print_href(shown: BillingView, **more: str) -> str:
    """The page to print: of the month, or of one workspace in it."""
    query = {
        k: v for k, v in {"period": shown.month, "workspace": shown.workspace or "", **more}.items() if v
    }
    return Address("/print/statements", query).href


def printed(services: ConsoleServices, access: Access, asked: Mapping[str, str]) -> Response:
    """The statements of a month that the caller may see, a sheet each."""
    period, currency = require_period(asked.get("period")), asked.get("currency")
    found = services.statements.of(access, period, asked.get("workspace") or None)
    return Response(statement_page(one for one in found if currency in (None, one["currency"])))


def statements(services: ConsoleServices, viewer: Viewer, shown: BillingView, address: Address) -> list[Any]:
    """The month's statements by workspace and currency, drafts or final."""
    found = _found(services, viewer, shown)
    if not found:
        return []
    names = workspace_names(services, viewer.access)
    some, ways = paged("the statements", found, address, by="page-statements")
    table = parts.table("Statements", COLUMNS, [_row(one, names, shown, address) for one in some])
    draft = any(one["status"] == "draft" for one in found)
    note = "a draft until the month is closed" if draft else "closed for good"
    return [html.Div(parts.panel("Statement", [table, *ways], note=note), className="tight")]


def statement_lines(
    services: ConsoleServices, viewer: Viewer, shown: BillingView, address: Address
) -> list[Any]:
    """The lines of the chosen statement, or of the only one."""
    found, names = _found(services, viewer, shown), workspace_names(services, viewer.access)
    chosen = found if len(found) == 1 else [one for one in found if _identity(one) == shown.statement]
    return [html.Div(_lines(one, names, shown, address), className="tight") for one in chosen]


def _found(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> Sequence[Json]:
    asked = {"period": shown.month, "workspace_id": shown.workspace}

    def read() -> Json:
        return {"data": services.statements.of(viewer.access, shown.month, shown.workspace)}

    found: Sequence[Json] = once(services, viewer, "statements", asked, read)["data"]
    return found


def _identity(one: Json) -> str:
    return f"{one['workspace_id']}:{one['currency']}"


def _row(one: Json, names: Mapping[str, str], shown: BillingView, address: Address) -> html.Tr:
    currency = one["currency"]
    listed = _sum(one["lines"], "list_amount")
    requests = sum(line["requests"] for line in one["lines"])
    free = one["free_requests"] + one["unmetered_requests"]
    owner = names.get(one["workspace_id"], one["workspace_id"])
    return parts.row(
        f"statement {one['workspace_id']} {currency}",
        [
            parts.cell("number", _title(one, owner, address), one["number"] or ""),
            parts.cell("workspace_id", owner),
            parts.cell("requests", writing.count(requests), requests, number=True),
            parts.cell("free_requests", writing.count(free), free, number=True),
            parts.cell("list_amount", listed, listed, number=True),
            parts.cell("exact_amount", one["exact_amount"], one["exact_amount"], number=True),
            parts.cell("rounding", one["rounding"], one["rounding"], number=True),
            parts.cell(
                "payable", f"{currency} {one['payable']}", one["payable"], number=True, classes="strong"
            ),
            html.Td(_paper(one, owner, shown)),
        ],
        status=one["status"],
        currency=currency,
    )


def _title(one: Json, owner: str, address: Address) -> html.A:
    name = one["number"] or "Draft"
    href = address.with_(**{"statement": _identity(one), "after": None, "page-lines": None}).href
    return parts.link([name, parts.hush(f" of {owner} in {one['currency']}: its lines")], href)


def _paper(one: Json, owner: str, shown: BillingView) -> html.A:
    href = print_href(shown, workspace=one["workspace_id"], currency=one["currency"])
    which = parts.hush(f" {one['number'] or 'the draft'} of {owner} in {one['currency']}")
    return html.A(["Print", which], href=href, target="_blank", className="link")


def _lines(one: Json, names: Mapping[str, str], shown: BillingView, address: Address) -> html.Section:
    owner = names.get(one["workspace_id"], one["workspace_id"])
    some, ways = paged("the lines", list(enumerate(one["lines"], 1)), address, by="page-lines")
    rows = [_line(one, line, number, shown) for number, line in some]
    rows += [
        _end("Rounding", "rounding", one, one["rounding"]),
        _end("Payable", "payable", one, one["payable"]),
    ]
    title = f"Lines of {one['number'] or 'the draft'}"
    table = parts.table(title, LINE_COLUMNS, rows)
    return parts.panel(title, [table, *ways], note=f"{owner}, {one['currency']}")


def _line(one: Json, line: Json, number: int, shown: BillingView) -> html.Tr:
    which = {name: str(line[name]) for name in _LINE}
    place = {"month": shown.month, "workspace": one["workspace_id"], "currency": one["currency"]}
    href = Address("/billing", {**place, **which, "statement": _identity(one)}).href
    said = {"aria-label": f"Charges of line {number}"}
    return parts.row(
        f"line {_identity(one)} {number}",
        [
            parts.cell("model", html.Span(line["model"], className="strong"), line["model"]),
            parts.cell("requests", writing.count(line["requests"]), line["requests"], number=True),
            *charge_cells({**line, "kind": "usage", "currency": one["currency"]}),
            html.Td(parts.link("Charges", href, **said)),
        ],
    )


def _end(title: str, field: str, one: Json, amount: str) -> html.Tr:
    empty = [html.Td() for _ in range(6)]
    value = parts.cell(field, amount, amount, number=True, classes="strong")
    return parts.row(f"{field} {_identity(one)}", [html.Td(title), *empty, value, html.Td()], classes="sum")


def _sum(lines: Sequence[Json], field: str) -> str:
    return writing.exact(sum((Decimal(line[field]) for line in lines), Decimal(0)))
