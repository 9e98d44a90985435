"""Billing: a month of the ledger. Only requests that succeeded, at half of the real-time price."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.bill import charge_cells
from dashboard.charts import cost_chart
from dashboard.filters import Address, BillingView, months_back, task_href
from dashboard.parts import Chart, Column
from dashboard.reading import Json, at, workspace_names
from dashboard.services import ConsoleServices
from dashboard.statement import budget_notices, statements
from dashboard.viewer import Viewer
from metering.ledger import ChargeFilter, SummaryFilter

LINES = 50
MONTHS_OFFERED = 24
_CSV = ("csv", "machine", "CSV")
_SHEET_CSV = ("csv", "spreadsheet", "CSV for spreadsheets")
_XLSX, _PARQUET, _JSONL = ("xlsx", "", "Excel"), ("parquet", "", "Parquet"), ("jsonl", "", "JSONL")
EXPORTS = (
    ("charges", "Ledger lines", (_CSV, _SHEET_CSV, _XLSX, _PARQUET, _JSONL)),
    ("usage", "Usage per day", (_CSV, _SHEET_CSV, _XLSX, _PARQUET, _JSONL)),
    ("statement", "Statement", (_CSV, _XLSX, ("json", "", "JSON"))),
    ("events", "Calls", (_CSV, _PARQUET, _JSONL)),
    ("focus", "FOCUS 1.2", (_CSV, _PARQUET)),
    ("ledger", "Double entry", (("beancount", "", "Beancount"),)),
)
MODEL_COLUMNS = (
    Column("Model"),
    Column("Input tokens", number=True),
    Column("Output tokens", number=True),
    Column("Real-time amount", number=True),
    Column("Saved", number=True),
    Column("Charged", number=True),
)
LINE_COLUMNS = (
    Column("Task"),
    Column("Model and workspace"),
    Column("Token kind"),
    Column("Tokens", number=True),
    Column("Price per million", number=True),
    Column("Real-time amount", number=True),
    Column("Saved", number=True),
    Column("Charged", number=True),
)
PRICE_COLUMNS = (
    Column("Model"),
    Column("Currency"),
    Column("Input tokens of a request"),
    Column("Input", number=True),
    Column("Output", number=True),
    Column("Output, thinking", number=True),
    Column("In force since", number=True),
)


def view(services: ConsoleServices, viewer: Viewer, address: Address) -> BillingView:
    """What an address asks for, in the billing zone."""
    return BillingView.of(address, f"{viewer.now.astimezone(services.billing.zone):%Y-%m}")


def head(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Name and filters."""
    shown, names = view(services, viewer, address), workspace_names(services, viewer.access)
    months = months_back(f"{viewer.now.astimezone(services.billing.zone):%Y-%m}", MONTHS_OFFERED)
    offered = months if shown.month in months else [shown.month, *months]
    models = sorted(set(services.catalog.allowed(None)) | ({shown.model} if shown.model else set()))
    sub = "Only requests that succeeded, at half of the real-time price, on the day their task ended."
    return [
        parts.head("Billing", sub),
        parts.bar(
            parts.choice(
                "Month", "month", [(m, writing.month(m)) for m in offered if _is_month(m)], shown.month
            ),
            parts.choice("Workspace", "workspace", [("", "All"), *names.items()], shown.workspace or ""),
            parts.choice("Model", "model", [("", "All"), *[(m, m) for m in models]], shown.model or ""),
        ),
    ]


def _is_month(text: str) -> bool:
    try:
        datetime.strptime(text, "%Y-%m")  # noqa: DTZ007  (a calendar month)
    except ValueError:
        return False
    return True


def live(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Budgets, cards, cost per day, sums by model, statements, ledger lines, exports and the price book."""
    shown = view(services, viewer, address)
    by_model = summary(services, viewer, shown, ("model",))
    return [
        *budget_notices(services, viewer, shown),
        _cards(services, by_model["totals"]),
        *[_cost(chart, shown, address) for chart in cost_charts(services, viewer, shown)],
        _models(by_model["data"]),
        statements(services, viewer, shown),
        _lines(services, viewer, shown, address),
        _exports(shown),
        _prices(services, viewer),
    ]


def summary(services: ConsoleServices, viewer: Viewer, shown: BillingView, groups: tuple[str, ...]) -> Json:
    """Sums of the month."""
    wanted = SummaryFilter(
        group_by=groups, workspace_id=shown.workspace, model=shown.model, period=shown.month
    )
    return services.ledger.summary(viewer.access, wanted)


def _cards(services: ConsoleServices, totals: Sequence[Json]) -> html.Div:
    def amounts(field: str) -> list[tuple[str | None, Any]]:
        return [(t["currency"], Decimal(t[field])) for t in totals]

    tokens = sum(t["input_tokens"] + t["output_tokens"] for t in totals)
    return parts.cards(
        parts.money_cards(
            "Charged", "amount", amounts("amount"), f"by the ledger, {services.billing.timezone}"
        ),
        parts.money_cards("At real-time price", "list_amount", amounts("list_amount")),
        parts.money_cards(
            "Saved", "discount_amount", amounts("discount_amount"), html.Span("50 %", className="up")
        ),
        parts.card("Tokens billed", "billed_tokens", tokens, writing.compact(tokens)),
    )


def cost_charts(services: ConsoleServices, viewer: Viewer, shown: BillingView) -> list[Chart]:
    """Cost per day by model, a chart for each currency."""
    rows = summary(services, viewer, shown, ("day", "model"))["data"]
    today = viewer.now.astimezone(services.billing.zone).date()
    days = days_of(shown.month, today)
    return [
        cost_chart(
            currency,
            [datetime(d.year, d.month, d.day, tzinfo=services.billing.zone) for d in days],
            by_day(rows, currency, days),
            viewer.theme,
        )
        for currency in sorted({r["currency"] for r in rows})
    ]


def days_of(month: str, today: date) -> list[date]:
    """The days of a month, up to today if it runs."""
    first = date(int(month[:4]), int(month[5:7]), 1)
    following = (first + timedelta(days=32)).replace(day=1)
    last = min(following, today + timedelta(days=1))
    return [first + timedelta(days=n) for n in range((last - first).days)] or [first]


def by_day(rows: Sequence[Json], currency: str, days: Sequence[date]) -> dict[str, list[Decimal]]:
    """Amounts by model, one for each day."""
    found: Mapping[tuple[str, str], Decimal] = {
        (r["model"], r["day"]): Decimal(r["amount"]) for r in rows if r["currency"] == currency
    }
    models = sorted({model for model, _ in found})
    return {m: [found.get((m, d.isoformat()), Decimal(0)) for d in days] for m in models}


def _cost(chart: Chart, shown: BillingView, address: Address) -> html.Section:
    saved = Address(f"/download/billing/{chart.key}.csv", {**address.query, "month": shown.month})
    return parts.chart(chart, address, saved.with_(table=None, after=None).href, tall=True)


def _models(rows: Sequence[Json]) -> Any:
    if not rows:
        return html.Div(
            parts.empty("Nothing was charged in this month", "A charge is made when a task ends."),
            className="panel",
        )
    twice = len({r["model"] for r in rows}) < len(rows)
    drawn = [
        parts.row(
            f"{r['model']} {r['currency']}" if twice else r["model"],
            [
                parts.cell("model", html.Span(r["model"], className="strong"), r["model"]),
                parts.cell("input_tokens", writing.count(r["input_tokens"]), r["input_tokens"], number=True),
                parts.cell(
                    "output_tokens", writing.count(r["output_tokens"]), r["output_tokens"], number=True
                ),
                *[
                    parts.cell(f, writing.money(r[f], r["currency"]), r[f], number=True, classes=c)
                    for f, c in (("list_amount", ""), ("discount_amount", ""), ("amount", "strong"))
                ],
            ],
            currency=r["currency"],
        )
        for r in rows
    ]
    return parts.panel("By model", parts.table("Sums by model", MODEL_COLUMNS, drawn))


def _lines(services: ConsoleServices, viewer: Viewer, shown: BillingView, address: Address) -> Any:
    wanted = ChargeFilter(
        workspace_id=shown.workspace, model=shown.model, period=shown.month, after=shown.after, limit=LINES
    )
    page = services.ledger.charges(viewer.access, wanted)
    if not page.data:
        return None
    names = workspace_names(services, viewer.access)
    drawn = [
        parts.row(
            c["charge_id"],
            [
                parts.cell("task_id", [_task_link(c["task_id"]), _recorded(viewer, c)], c["task_id"]),
                parts.cell(
                    "model",
                    [c["model"], html.Div(names.get(c["workspace_id"], c["workspace_id"]), className="note")],
                    c["model"],
                ),
                *charge_cells(c),
            ],
            kind=c["kind"],
            currency=c["currency"],
        )
        for c in page.data
    ]
    links = [parts.link("Newest", address.with_(after=None).href)] if shown.after else []
    links += (
        [parts.link("Older lines", address.with_(after=page.data[-1]["charge_id"]).href)]
        if page.has_more
        else []
    )
    table = parts.table("Ledger lines", LINE_COLUMNS, drawn)
    return html.Div(
        [
            html.Div(parts.panel("Ledger", table, note="exact amounts, newest first"), className="tight"),
            html.Nav(links, className="pages", **{"aria-label": "Pages of the ledger"}) if links else None,
        ]
    )


def _task_link(task_id: str) -> html.A:
    return parts.link(_short(task_id), task_href(task_id), title=task_id)


def _recorded(viewer: Viewer, charge: Json) -> html.Div:
    text = writing.moment(at(charge["recorded_at"]), viewer.zone())
    return html.Div(text, className="note", **parts.data(field="recorded_at", value=charge["recorded_at"]))


def _short(task_id: str) -> str:
    return f"{task_id[:11]}…{task_id[-4:]}" if len(task_id) > 18 else task_id


def _exports(shown: BillingView) -> html.Section:
    rows = []
    for kind, title, formats in EXPORTS:
        links = [
            parts.download_link(text, _export_href(kind, shown, form, profile))
            for form, profile, text in formats
        ]
        spaced = [part for item in links for part in (item, " · ")][:-1]
        rows += [html.Dt(title), html.Dd(spaced)]
    note = f"{writing.month(shown.month)}, {'the chosen workspace' if shown.workspace else 'all that you may see'}, every model"
    return parts.panel("Exports", html.Dl(rows, className="facts"), note=note)


def _export_href(kind: str, shown: BillingView, form: str, profile: str) -> str:
    query = {"period": shown.month, "format": form, "profile": profile, "workspace": shown.workspace or ""}
    return Address(f"/download/exports/{kind}", {k: v for k, v in query.items() if v}).href


def _prices(services: ConsoleServices, viewer: Viewer) -> Any:
    wanted = set(services.catalog.allowed(None))
    prices = [
        p for p in services.prices.page(limit=1000).data if p["status"] == "in_force" and p["model"] in wanted
    ]
    if not prices:
        return None
    rows = [row for p in prices for row in _price_rows(p, viewer)]
    note = "per million tokens, real time; a batch costs half"
    return parts.panel("Price book in force", parts.table("Prices", PRICE_COLUMNS, rows), note=note)


def _price_rows(price: Json, viewer: Viewer) -> list[html.Tr]:
    since = writing.moment(at(price["valid_from"]), viewer.zone())
    rows = []
    for number, tier in enumerate(price["tiers"]):
        up_to = tier["up_to_input_tokens"]
        cells = [
            parts.cell("model", html.Span(price["model"], className="strong") if not number else ""),
            parts.cell("currency", price["currency"] if not number else ""),
            parts.cell(
                "up_to_input_tokens",
                f"≤ {writing.count(up_to)}" if up_to else "all" if not number else "above",
            ),
            *[
                parts.cell(f, writing.price(tier[f]), tier[f], number=True)
                for f in ("input", "output", "output_thinking")
            ],
            parts.cell("valid_from", since if not number else "", number=True, classes="note"),
        ]
        rows.append(parts.row(price["price_id"] if not number else None, cells))
    return rows
