"""A month's statements on the Billing page: what is payable, and how much of the budgets is used."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import BillingView
from dashboard.parts import Column
from dashboard.reading import Json, workspace_names
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer

COLUMNS = (
    Column("Statement"),
    Column("Workspace"),
    Column("Requests", number=True),
    Column("Free of charge", number=True),
    Column("Real-time amount", number=True),
    Column("Exact amount", number=True),
    Column("Rounding", number=True),
    Column("Payable", number=True),
)


def budget_notices(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> list[Any]:
    """A line for each budget of which most is used."""
    notices = services.budgets.notices(viewer.access, shown.workspace)
    return [html.Div(notice, className="banner", role="note") for notice in notices]


def statements(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> Any:
    """The month's statements by workspace and currency, drafts or final; nothing if there are none."""
    found = services.statements.of(viewer.access, shown.month, shown.workspace)
    if not found:
        return None
    names = workspace_names(services, viewer.access)
    table = parts.table("Statements", COLUMNS, [_row(one, names) for one in found])
    draft = any(one["status"] == "draft" for one in found)
    note = "a draft until the month is closed" if draft else "closed for good"
    return html.Div(parts.panel("Statement", table, note=note), className="tight")


def _row(one: Json, names: dict[str, str]) -> html.Tr:
    currency = one["currency"]
    listed = _sum(one["lines"], "list_amount")
    requests = sum(line["requests"] for line in one["lines"])
    free = one["free_requests"] + one["unmetered_requests"]
    name = one["number"] or "Draft"
    return parts.row(
        f"statement {one['workspace_id']} {currency}",
        [
            parts.cell("number", html.Span(name, className="strong"), one["number"] or ""),
            parts.cell("workspace_id", names.get(one["workspace_id"], one["workspace_id"])),
            parts.cell("requests", writing.count(requests), requests, number=True),
            parts.cell("free_requests", writing.count(free), free, number=True),
            parts.cell("list_amount", f"{listed:f}", f"{listed:f}", number=True),
            parts.cell("exact_amount", one["exact_amount"], one["exact_amount"], number=True),
            parts.cell("rounding", one["rounding"], one["rounding"], number=True),
            parts.cell(
                "payable", f"{currency} {one['payable']}", one["payable"], number=True, classes="strong"
            ),
        ],
        status=one["status"],
        currency=currency,
    )


def _sum(lines: Sequence[Json], field: str) -> Decimal:
    return sum((Decimal(line[field]) for line in lines), Decimal(0))
