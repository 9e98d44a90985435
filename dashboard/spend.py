"""What a month came to on the Billing page: by model and by API key, list price beside charged and saved."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import Address, BillingView
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.reading import Json, workspace_names
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.access import Access

MOST_KEYS = 1000
FIGURES = (
    Column("Requests", number=True),
    Column("Input tokens", number=True),
    Column("Output tokens", number=True),
    Column("Real-time amount", number=True),
    Column("Saved", number=True),
    Column("Charged", number=True),
    Column("Share", number=True),
)


def by_model(rows: Sequence[Json], address: Address) -> Any:
    """A row a model and currency; says so if nothing was charged."""
    if not rows:
        return html.Div(
            parts.empty("Nothing was charged in this month", "A charge is made when a task ends."),
            className="panel",
        )
    twice = len({r["model"] for r in rows}) < len(rows)
    some, ways = paged("the spend", rows, address, by="page-spend")
    drawn = [
        _row(
            f"{r['model']} {r['currency']}" if twice else r["model"],
            parts.cell("model", html.Span(r["model"], className="strong"), r["model"]),
            r,
            rows,
        )
        for r in some
    ]
    # Not called after the model: that name leads to the filter alone.
    return parts.panel("Spend", [parts.table("Spend", (Column("Model"), *FIGURES), drawn), *ways])


def by_key(
    services: ConsoleServices, viewer: Viewer, shown: BillingView, rows: Sequence[Json], address: Address
) -> list[html.Section]:
    """A row an API key and currency, by workspace; each leads to its entries of the ledger."""
    if not rows:
        return []
    some, ways = paged("the API keys", rows, address, by="page-keys")
    spaces = workspace_names(services, viewer.access)
    names = _key_names(services, viewer.access, {r["workspace_id"] for r in some})
    drawn = [
        _row(
            f"spend {r['workspace_id']} {r['api_key_id'] or 'admin'} {r['currency']}",
            _key_cell(r, shown, names, spaces),
            r,
            rows,
        )
        for r in some
    ]
    table = parts.table("Spend by API key", (Column("API key"), *FIGURES), drawn)
    return [parts.panel("By API key", [table, *ways], note="the key with which a task was made")]


def _key_cell(row: Json, shown: BillingView, names: Mapping[str, str], spaces: Mapping[str, str]) -> html.Td:
    identity = row["api_key_id"]
    title = names.get(identity, identity) if identity else "Admin key"
    where = html.Div(spaces.get(row["workspace_id"], row["workspace_id"]), className="note")
    if not identity:
        return parts.cell("api_key_id", [title, where], "")
    line = {"workspace": row["workspace_id"], "api_key_id": identity, "currency": row["currency"]}
    href = Address("/billing", {**shown.undrilled, **line}).href
    said = {"aria-label": f"Charges of {title} in {row['currency']}"}
    return parts.cell("api_key_id", [parts.link(title, href, **said), where], identity)


def _key_names(services: ConsoleServices, access: Access, workspaces: set[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for workspace in sorted(workspaces):
        keys = services.workspaces.keys(access.visible(workspace) or workspace, limit=MOST_KEYS).data
        found |= {key.id: key.name for key in keys}
    return found


def _row(identity: str, first: html.Td, row: Json, rows: Sequence[Json]) -> html.Tr:
    currency = row["currency"]
    counts = [
        parts.cell(name, writing.count(row[name]), row[name], number=True)
        for name in ("requests", "input_tokens", "output_tokens")
    ]
    amounts = [
        parts.cell(name, writing.money(row[name], currency), row[name], number=True, classes=classes)
        for name, classes in (("list_amount", ""), ("discount_amount", ""), ("amount", "strong"))
    ]
    return parts.row(identity, [first, *counts, *amounts, _share(row, rows)], currency=currency)


def _share(row: Json, rows: Sequence[Json]) -> html.Td:
    """How much of its currency's list price it is: charged is the full half of the bar, saved the pale one."""
    whole = sum(
        (abs(Decimal(r["list_amount"])) for r in rows if r["currency"] == row["currency"]), Decimal(0)
    )
    part = Decimal(row["list_amount"]) / whole if whole else Decimal(0)
    width = max(Decimal(0), 50 * part)
    bar = html.Div(
        [
            html.I(style={"width": f"{width:.2f}%"}),
            html.I(style={"width": f"{width:.2f}%"}, className="saved"),
        ],
        className="track",
        **{"aria-hidden": "true"},
    )
    return parts.cell("share", html.Div([writing.share(part), bar], className="prog"), number=True)
