"""Model observation: what every model did in a period, dated by the end of its tasks."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import Address, PeriodView, monitor_href
from dashboard.parts import Column
from dashboard.reading import Json, money_of, statistics, workspace_names
from dashboard.services import ConsoleServices
from dashboard.trends import SECOND, STEPS, change, noted, spark, totals_before
from dashboard.viewer import Viewer

COLUMNS = (
    Column("Model and workspace", sort="model"),
    Column("Trend"),
    Column("Calls", number=True, sort="calls"),
    Column("Failed", number=True, sort="failed"),
    Column("Failure rate", number=True, sort="failure_rate"),
    Column("Avg duration", number=True, sort="avg_duration_ms"),
    Column("First token", number=True, sort="avg_first_token_ms"),
    Column("Tokens", number=True, sort="total_tokens"),
    Column("Tasks", number=True, sort="tasks"),
    Column("Real-time amount", number=True, sort="list_amount"),
    Column("Charged", number=True, sort="amount"),
    Column("Details", number=True),
)
SORTS = frozenset(c.sort for c in COLUMNS if c.sort)
DEFAULT_SORT = "-calls"


def head(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Name and filters."""
    return [
        parts.head("Model observation", "Counted when a task ends. Running tasks are not shown."),
        filter_bar(services, viewer, address),
    ]


def filter_bar(services: ConsoleServices, viewer: Viewer, address: Address, *more: Any) -> html.Form:
    """Inference type, period, zone and workspace: the same in Model observation and Monitor."""
    view = PeriodView.of(address, viewer.zone_name)
    names = workspace_names(services, viewer.access)
    return parts.bar(
        parts.choice("Inference type", "", [("batch", "Batch inference")], "batch"),
        *parts.period_fields(view.start, view.end, view.preset, view.zone),
        parts.choice("Workspace", "workspace", [("", "All"), *names.items()], view.workspace or ""),
        *more,
    )


def live(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Cards and the table of all models."""
    view = PeriodView.of(address, viewer.zone_name)
    answer = statistics(services, viewer, view)
    rows, cards = answer["data"], _cards(answer, totals_before(services, viewer, view) or {})
    if not rows:
        hint = "Statistics are dated by the end of a task: choose a longer period, or wait for a task to end."
        return [
            cards,
            html.Div(parts.empty("No task ended in this period", hint), className="panel"),
        ]
    names = workspace_names(services, viewer.access)
    trends = _trends(services, viewer, view)
    drawn = [
        line
        for group in sorted_groups(
            rows, address.get("sort", DEFAULT_SORT), lambda m: _total(services, viewer, view, m)
        )
        for line in _group_rows(group, names, address, trends)
    ]
    ordered = address.with_(sort=address.get("sort", DEFAULT_SORT))
    table = parts.table("All models", COLUMNS, drawn, ordered)
    return [cards, html.Section(table, className="panel tight", **{"aria-label": "All models"})]


def _trends(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> dict[str, Any]:
    start, end = view.bounds(viewer.now, viewer.zone(view.zone))
    calls = services.glance.calls(viewer.access, start, end + SECOND, STEPS, view.workspace)
    return {model: spark(values, model, viewer.theme) for model, values in calls.items()}


def _total(services: ConsoleServices, viewer: Viewer, view: PeriodView, model: str) -> Json:
    totals = dict(statistics(services, viewer, view, model)["totals"])
    return {**totals, "model": model, "workspace_id": None}


def sorted_groups(rows: Sequence[Json], sort: str, total_of: Any) -> list[list[Json]]:
    """The rows by model, sorted. A model of several workspaces or currencies is led by a row of its sums,
    so that its `data-id` occurs once."""
    groups: dict[str, list[Json]] = {}
    for row in rows:
        groups.setdefault(row["model"], []).append(row)
    led = [[total_of(model), *group] if len(group) > 1 else group for model, group in groups.items()]
    field, down = sort.removeprefix("-"), sort.startswith("-")
    if field not in SORTS:
        field, down = "calls", True
    led.sort(key=lambda g: _sort_key(g[0], field), reverse=down)
    return led


def _sort_key(row: Json, field: str) -> tuple[bool, Any]:
    value = row.get(field)
    if field in ("amount", "list_amount"):
        value = sum((v for _, v in amounts_of(row, field)), Decimal(0))
    return (value is not None, value if value is not None else 0)


def amounts_of(row: Json, field: str) -> list[tuple[str | None, Decimal]]:
    """An amount of a row by currency; a row of sums has several."""
    if "amounts" in row:
        return money_of(row["amounts"], field)
    return [(row["currency"], Decimal(str(row[field])))] if row["currency"] else []


def _group_rows(
    group: list[Json], names: Mapping[str, str], address: Address, trends: Mapping[str, Any]
) -> list[html.Tr]:
    first, rest = group[0], group[1:]
    where = names.get(first["workspace_id"] or "", "") if not rest else writing.plural(len(rest), "part")
    lead = parts.row(
        first["model"],
        [
            parts.cell(
                "model",
                [html.Div(first["model"], className="name"), html.Div(where, className="note")],
                first["model"],
            ),
            parts.cell("trend", trends.get(first["model"])),
            *_figures(first),
            parts.cell("monitor", _monitor(first["model"], address), number=True),
        ],
    )
    return [lead, *[_part_row(row, names) for row in rest]]


def _part_row(row: Json, names: Mapping[str, str]) -> html.Tr:
    place = names.get(row["workspace_id"], row["workspace_id"])
    label = [html.Span(place, className="note"), html.Span(f" {row['currency'] or ''}", className="note")]
    identity = f"{row['model']} {row['workspace_id']} {row['currency'] or ''}".strip()
    cells = [parts.cell("workspace_id", label, row["workspace_id"]), html.Td(), *_figures(row), html.Td()]
    return parts.row(identity, cells, "part")


def _monitor(model: str, address: Address) -> html.A:
    return parts.link("Monitor", monitor_href(model, address))


def _figures(row: Json) -> list[html.Td]:
    high = row["failure_rate"] is not None and float(row["failure_rate"]) > 0.01
    return [
        parts.cell("calls", writing.count(row["calls"]), row["calls"], number=True),
        parts.cell("failed", writing.count(row["failed"]), row["failed"], number=True),
        parts.cell(
            "failure_rate",
            writing.share(row["failure_rate"]),
            row["failure_rate"],
            number=True,
            classes="bad" if high else "",
        ),
        *[
            parts.cell(field, writing.duration(row[field]), row[field], number=True)
            for field in ("avg_duration_ms", "avg_first_token_ms")
        ],
        parts.cell("total_tokens", writing.compact(row["total_tokens"]), row["total_tokens"], number=True),
        parts.cell("tasks", writing.count(row["tasks"]), row["tasks"], number=True),
        _money_cell(row, "list_amount"),
        _money_cell(row, "amount"),
    ]


def _money_cell(row: Json, field: str) -> html.Td:
    amounts = amounts_of(row, field)
    if not amounts:
        return parts.cell(field, "free", row.get(field), number=True)
    shown = " + ".join(writing.money(value, currency) for currency, value in amounts)
    exact = (
        writing.exact(amounts[0][1]) if len(amounts) == 1 else " + ".join(f"{c} {v:f}" for c, v in amounts)
    )
    return parts.cell(field, shown, exact, number=True)


def _cards(answer: Json, before: Json) -> html.Div:
    totals, rows = answer["totals"], answer["data"]
    models, places = len({r["model"] for r in rows}), len({r["workspace_id"] for r in rows})
    listed = ", ".join(writing.money(v, c) for c, v in money_of(totals["amounts"], "list_amount"))
    tokens = f"{writing.compact(totals['input_tokens'])} in · {writing.compact(totals['output_tokens'])} out"
    rate, p95 = writing.share(totals["failure_rate"]), writing.duration(totals["p95_duration_ms"])
    by = f"by {writing.plural(totals['tasks'], 'task')}"

    def figure(label: str, metric: str, write: Any, note: str, good: str | None = None) -> html.Div:
        changed = change(totals[metric], before.get(metric), good=good)
        return parts.card(label, metric, totals[metric], write(totals[metric]), noted(note, changed))

    return parts.cards(
        parts.card(
            "Models", "models", models, writing.count(models), f"in {writing.plural(places, 'workspace')}"
        ),
        figure("Calls", "calls", writing.count, by),
        figure("Failures", "failed", writing.count, f"{rate} of calls", "down"),
        figure("Average duration", "avg_duration_ms", writing.duration, f"p95 {p95}", "down"),
        figure("First token", "avg_first_token_ms", writing.duration, "of streamed calls", "down"),
        figure("Tokens", "total_tokens", writing.compact, tokens),
        _charged(totals, before, f"real time {listed}" if listed else ""),
    )


def _charged(totals: Json, before: Json, note: str) -> list[html.Div]:
    charged = money_of(totals["amounts"], "amount")
    once = dict(money_of(before.get("amounts", []), "amount"))
    if len(charged) != 1:
        return parts.money_cards("Charged", "amount", charged, note)
    currency, amount = charged[0]
    return [
        parts.money_card(
            "Charged", "amount", amount, currency, noted(note, change(amount, once.get(currency)))
        )
    ]
