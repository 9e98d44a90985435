"""Budgets on the Billing page: a notice where most is used, and what of each is used now."""

from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import Address, BillingView
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.budgets import BudgetUse
from metering.money import EXACT

COLUMNS = (
    Column("Workspace"),
    Column("Budget", number=True),
    Column("Charged", number=True),
    Column("Running tasks", number=True),
    Column("Left", number=True),
    Column("Used", number=True),
)


def budget_notices(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> list[Any]:
    """A line for each budget of which most is used."""
    notices = services.budgets.notices(viewer.access, shown.workspace)
    return [html.Div(notice, className="banner", role="note") for notice in notices]


def budgets(
    services: ConsoleServices, viewer: Viewer, shown: BillingView, address: Address
) -> list[html.Section]:
    """How much of each budget of the running month is used; nothing if there are none."""
    uses = services.budgets.uses(viewer.access, shown.workspace)
    if not uses:
        return []
    note = f"{writing.month(uses[0].period)}, with what running tasks would cost now"
    some, ways = paged("the budgets", uses, address, by="page-budgets")
    table = parts.table("Budgets", COLUMNS, [_row(use) for use in some])
    return [parts.panel("Budget", [table, *ways], note=note)]


def _row(use: BudgetUse) -> html.Tr:
    figures = (
        ("budget", use.budget),
        ("charged", use.charged),
        ("running", use.running),
        ("left", EXACT.subtract(use.budget, use.used)),
    )
    return parts.row(
        f"budget {use.workspace_id}",
        [
            parts.cell("workspace_id", use.workspace_name, use.workspace_id),
            *[
                parts.cell(name, writing.money(value, use.currency), writing.exact(value), number=True)
                for name, value in figures
            ],
            parts.cell("used", _bar(use), writing.exact(use.ratio), number=True),
        ],
    )


def _bar(use: BudgetUse) -> html.Div:
    width = min(use.ratio, Decimal(1)) * 100
    kind = "fail" if use.exceeded else None
    track = html.Div(
        html.I(style={"width": f"{width:.2f}%"}, className=kind), className="track", **{"aria-hidden": "true"}
    )
    return html.Div([writing.share(use.ratio), track], className="prog")
