"""Model observation: what every model did in a period, dated by the end of its tasks."""

from collections.abc import Callable
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import Address, PeriodView
from dashboard.modeltable import ModelTable, Trends, grouped
from dashboard.paging import paged
from dashboard.period import in_words, period_fields, told
from dashboard.reading import Json, money_of, statistics, workspace_names
from dashboard.services import ConsoleServices
from dashboard.spark import spark
from dashboard.trends import SECOND, change, noted, totals_before
from dashboard.viewer import Viewer
from metering.errors import Refused

STEPS = 24
"""Parts of the period in a row's trend."""
Draw = Callable[[ConsoleServices, Viewer, Address], list[Any]]


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
        *period_fields(services, viewer, view),
        parts.choice("Workspace", "workspace", [("", "All"), *names.items()], view.workspace or ""),
        *more,
    )


def if_it_can(draw: Draw) -> Draw:
    """A section that leaves it to the first one to say why a period can't be shown."""

    def drawn(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
        try:
            return draw(services, viewer, address)
        except Refused:
            return []

    return drawn


def scope(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The exact period, or why it can't be shown."""
    view = PeriodView.of(address, viewer.zone_name)
    with in_words(services, viewer, view):
        statistics(services, viewer, view)
    before = totals_before(services, viewer, view) or {}
    return [told(viewer, view, compared=bool(before.get("calls")))]


def cards(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The sums of all models."""
    view = PeriodView.of(address, viewer.zone_name)
    return [_cards(statistics(services, viewer, view), totals_before(services, viewer, view) or {})]


def models(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The table of all models."""
    view = PeriodView.of(address, viewer.zone_name)
    rows = statistics(services, viewer, view)["data"]
    if not rows:
        hint = "Statistics are dated by the end of a task: choose a longer period, or wait for a task to end."
        return [html.Div(parts.empty("No task ended in this period", hint), className="panel")]
    names, trends = workspace_names(services, viewer.access), _trends(services, viewer, view)
    table = ModelTable(address, names, trends)
    groups = grouped(rows, _sums(services, viewer, view, rows), table.sort)
    shown, ways = paged("the models", groups, address, shown=table.models_shown)
    body = [*table.draw(shown), *ways]
    note = _said(rows, groups)
    return [parts.panel("All models", body, *_ways(address), note=note, classes="tight")]


def _said(rows: list[Json], groups: list[list[Json]]) -> str:
    return f"{writing.plural(len(groups), 'model')} in {writing.plural(len({r['workspace_id'] for r in rows}), 'workspace')}"


def _ways(address: Address) -> list[Any]:
    every = address.get("columns") == "all"
    word, columns = ("Fewer columns", None) if every else ("All columns", "all")
    switch = parts.turn(word, address, {"columns": columns}, key="switch")
    saved = Address("/download/observation.csv", address.query).with_(columns=None, sort=None)
    return [switch, parts.download_link("CSV", saved.href, **{"aria-label": "CSV: All models"})]


def _sums(services: ConsoleServices, viewer: Viewer, view: PeriodView, rows: list[Json]) -> dict[str, Json]:
    """The sums of each model; not asked for where each has one row anyway."""
    if len({r["model"] for r in rows}) == len(rows):
        return {}
    return {r["model"]: r for r in statistics(services, viewer, view, merged=True)["data"]}


def _trends(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> Trends:
    start, end = view.bounds(viewer.now, viewer.zone(view.zone))
    calls = services.glance.calls(viewer.access, start, end + SECOND, STEPS, view.workspace)
    whole: dict[tuple[str, str | None], list[int]] = {}
    for (model, place), values in calls.items():
        whole[model, place] = values
        whole[model, None] = [
            a + b for a, b in zip(whole.get((model, None), [0] * STEPS), values, strict=True)
        ]
    return {key: spark(values) for key, values in whole.items()}


def _cards(answer: Json, before: Json) -> html.Div:
    totals, rows = answer["totals"], answer["data"]
    models, places = len({r["model"] for r in rows}), len({r["workspace_id"] for r in rows})
    listed = ", ".join(writing.money(v, c) for c, v in money_of(totals["amounts"], "list_amount"))
    tokens = parts.facts(*written_tokens(totals["input_tokens"], totals["output_tokens"]))
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
        figure("Failures", "failed", writing.count, f"{rate} of calls" if totals["calls"] else "", "down"),
        figure(
            "Average duration",
            "avg_duration_ms",
            writing.duration,
            f"p95 {p95}" if totals["succeeded"] else "",
            "down",
        ),
        figure("First token", "avg_first_token_ms", writing.duration, "of streamed calls", "down"),
        figure("Tokens", "total_tokens", writing.compact, tokens),
        _charged(totals, before, f"real time {listed}" if listed else ""),
    )


def written_tokens(put_in: int, came_out: int) -> tuple[str, str]:
    """Both kinds of tokens in short."""
    return f"{writing.compact(put_in)} in", f"{writing.compact(came_out)} out"


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


SECTIONS = {"scope": scope, "observed": if_it_can(cards), "models": if_it_can(models)}
