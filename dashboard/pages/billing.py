"""Billing: a month of the ledger. Only requests that succeeded, at half of the real-time price."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.budget import budget_notices, budgets
from dashboard.export import exports
from dashboard.filters import Address, BillingView, months_back
from dashboard.ledgerlines import ledger_lines
from dashboard.parts import Chart
from dashboard.pricebook import price_book
from dashboard.reading import Json, workspace_names
from dashboard.services import ConsoleServices
from dashboard.spend import by_key, by_model
from dashboard.spendcharts import spend_charts
from dashboard.statement import print_href, statement_lines, statements
from dashboard.viewer import Viewer
from metering.errors import Refused
from metering.ledger import SummaryFilter
from metering.ranges import month as month_range

MONTHS_OFFERED = 24
Draw = Callable[[ConsoleServices, Viewer, Address], list[Any]]


def view(services: ConsoleServices, viewer: Viewer, address: Address) -> BillingView:
    """What an address asks for, in the billing zone."""
    return BillingView.of(address, f"{viewer.now.astimezone(services.billing.zone):%Y-%m}")


def head(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Name and filters."""
    shown, names = view(services, viewer, address), workspace_names(services, viewer.access)
    months = months_back(f"{viewer.now.astimezone(services.billing.zone):%Y-%m}", MONTHS_OFFERED)
    offered = {m: writing.month(m) for m in months}
    if shown.month not in offered:
        offered = {shown.month: _word(services, shown.month), **offered}
    models = sorted(set(services.catalog.allowed(None)) | ({shown.model} if shown.model else set()))
    sub = "Only requests that succeeded, at half of the real-time price, on the day their task ended."
    return [
        parts.head("Billing", sub, _print_button(shown)),
        parts.bar(
            parts.choice("Month", "month", offered.items(), shown.month),
            parts.choice("Workspace", "workspace", [("", "All"), *names.items()], shown.workspace or ""),
            parts.choice("Model", "model", [("", "All"), *[(m, m) for m in models]], shown.model or ""),
        ),
    ]


def _print_button(shown: BillingView) -> html.A:
    return html.A("Print statement", href=print_href(shown), target="_blank", className="btn")


def _word(services: ConsoleServices, month: str) -> str:
    """A month of the address, which may be none: then as it stands there, so that another can be chosen."""
    try:
        return writing.month(str(month_range(month, zone=services.billing.zone).period))
    except Refused:
        return month


def _of_month(draw: Draw) -> Draw:
    """A section that leaves it to the first one to say that a month is none or a workspace unknown."""

    def drawn(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
        try:
            month_range(view(services, viewer, address).month, zone=services.billing.zone)
            return draw(services, viewer, address)
        except Refused as refused:
            if refused.param in ("period", "workspace_id"):
                return []
            raise

    return drawn


def _totals(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Notices of budgets, and what the month came to."""
    shown = view(services, viewer, address)
    totals = summary(services, viewer, shown, ())["totals"]
    return [*budget_notices(services, viewer, shown), _cards(services, viewer, shown, totals)]


def _spend(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """By model."""
    rows = summary(services, viewer, view(services, viewer, address), ("model",))["data"]
    return [by_model(rows, address)]


def _keys(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """By API key."""
    shown = view(services, viewer, address)
    rows = summary(services, viewer, shown, ("workspace", "api_key"))["data"]
    return by_key(services, viewer, shown, rows, address)


def _of_view(draw: Callable[[ConsoleServices, Viewer, BillingView, Address], list[Any]]) -> Draw:
    """A section of what the address asks for."""
    return _of_month(lambda s, viewer, address: draw(s, viewer, view(s, viewer, address), address))


def _exports(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    return [exports(view(services, viewer, address))]


def summary(services: ConsoleServices, viewer: Viewer, shown: BillingView, groups: tuple[str, ...]) -> Json:
    """Sums of the month."""
    wanted = SummaryFilter(
        group_by=groups, workspace_id=shown.workspace, model=shown.model, period=shown.month
    )
    return services.ledger.summary(viewer.access, wanted)


def _cards(services: ConsoleServices, viewer: Viewer, shown: BillingView, totals: Sequence[Json]) -> html.Div:
    def amounts(field: str) -> list[tuple[str | None, Any]]:
        return [(t["currency"], Decimal(t[field])) for t in totals]

    tokens = sum(t["input_tokens"] + t["output_tokens"] for t in totals)
    half = html.Span("50 %", className="up")
    by_ledger = f"by the ledger, {services.billing.timezone}"
    return parts.cards(
        parts.money_cards("Charged", "amount", amounts("amount"), by_ledger),
        parts.money_cards("At real-time price", "list_amount", amounts("list_amount")),
        parts.money_cards("Saved", "discount_amount", amounts("discount_amount"), half),
        parts.card("Tokens billed", "billed_tokens", tokens, writing.compact(tokens)),
        _unbilled_card(services, viewer, shown),
        *([_audit_card(services, viewer)] if viewer.access.is_admin else []),
    )


def _unbilled_card(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> html.Div:
    found = services.unbilled.of(viewer.access, shown.month, shown.workspace, shown.model)
    reasons = (
        ("failed", found.failed),
        ("never executed", found.never_executed),
        ("unmetered", found.unmetered),
        ("of free models", found.free),
    )
    why = ", ".join(f"{writing.count(n)} {name}" for name, n in reasons if n)
    return parts.card("Free of charge", "unbilled_requests", found.all, writing.count(found.all), why)


def _audit_card(services: ConsoleServices, viewer: Viewer) -> html.Div:
    last = services.audit.last(viewer.access)
    if last is None:
        return parts.card("Last audit", "audit_differences", None, "None yet", "nightrate audit")
    tasks = sum(last[name] for name in ("verified", "digest_only", "not_verifiable", "different"))
    when = writing.short_moment(last["finished_at"], viewer.now, viewer.zone())
    count = last["differences"]
    words = writing.plural(count, "difference") if count else "No difference"
    about = html.Span(f"{when} · {writing.plural(tasks, 'task')}", className="down" if count else "up")
    return parts.card("Last audit", "audit_differences", count, words, about)


def cost_charts(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> list[Chart]:
    """The month day by day, for each currency: cost by model, and list price beside charged and saved."""
    return [chart for pair in _pairs(services, viewer, shown) for chart in pair]


def _pairs(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> list[tuple[Chart, Chart]]:
    rows = summary(services, viewer, shown, ("day", "model"))["data"]
    today = viewer.now.astimezone(services.billing.zone).date()
    return spend_charts(rows, shown.month, today, services.billing.zone, viewer.theme)


def _charts(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """A pair for each currency, side by side."""
    shown = view(services, viewer, address)

    def drawn(chart: Chart) -> html.Section:
        saved = Address(f"/download/billing/{chart.key}.csv", shown.undrilled)
        return parts.chart(chart, address, saved.href, tall=True)

    pairs = _pairs(services, viewer, shown)
    return [html.Div([drawn(chart) for chart in pair], className="two") for pair in pairs]


SECTIONS = {
    "billing-totals": _totals,
    "billing-charts": _of_month(_charts),
    "billing-spend": _of_month(_spend),
    "billing-keys": _of_month(_keys),
    "billing-statements": _of_view(statements),
    "billing-lines": _of_view(statement_lines),
    "billing-entries": _of_view(ledger_lines),
    "billing-exports": _of_month(_exports),
    "billing-budgets": _of_view(budgets),
    "billing-prices": price_book,
}
"""From the whole down to single entries of the ledger, then what belongs to them."""
