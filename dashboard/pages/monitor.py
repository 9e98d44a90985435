"""Monitor: one model over time, what it was asked and how it performed."""

from collections.abc import Mapping
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.charts import SKETCHES, Sketch, chart_of
from dashboard.filters import PRECISIONS, PRESETS, Address, PeriodView
from dashboard.pages.observation import Draw, filter_bar, if_it_can, written_tokens
from dashboard.parts import Column
from dashboard.period import in_words, told
from dashboard.reading import Json, failures, statistics, trend
from dashboard.services import ConsoleServices
from dashboard.trends import change, noted, totals_before
from dashboard.viewer import Viewer

ERROR_COLUMNS = (
    Column("HTTP status"),
    Column("Error code"),
    Column("Calls", number=True),
    Column("Share", number=True),
)
LONGEST = PRESETS[-1][0]
GROUPS = (("calls", "Call statistics"), ("performance", "Performance metrics"))


def head(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The model's name and the filters."""
    view = PeriodView.of(address, viewer.zone_name)
    back = Address(
        "/observation", {k: v for k, v in address.query.items() if k in ("from", "to", "zone", "workspace")}
    )
    above = [parts.link("Model observation", back.href), " / Monitor"]
    precision = parts.choice(
        "Precision", "precision", [(p, p.capitalize()) for p in PRECISIONS], view.precision
    )
    return [
        parts.head(
            view.model or "",
            "Counted when a task ends, at that moment. Drag over a chart to look closer.",
            above=above,
        ),
        filter_bar(services, viewer, address, precision),
    ]


def frame(slots: Mapping[str, Any]) -> list[Any]:
    """The period, cards, the two groups of charts, and the failures."""
    grouped = [
        part
        for group, title in GROUPS
        for part in (
            html.H2(title),
            html.Div([slots[_slot(s)] for s in SKETCHES if s.group == group], className="two"),
        )
    ]
    return [slots["span"], slots["monitored"], *grouped, html.H2("Failure details"), slots["failures"]]


def _slot(sketch: Sketch) -> str:
    return f"chart-{sketch.key}"


def scope(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The exact period, or why it can't be shown at this precision."""
    view = PeriodView.of(address, viewer.zone_name)
    with in_words(services, viewer, view):
        trend(services, viewer, view)
    before = totals_before(services, viewer, view) or {}
    return [told(viewer, view, compared=bool(before.get("calls")))]


def chart(sketch: Sketch) -> Draw:
    """The section of a chart."""

    def draw(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
        view = PeriodView.of(address, viewer.zone_name)
        answer = trend(services, viewer, view)
        drawn = chart_of(sketch, answer["data"], view.precision, viewer.theme)
        query = {**address.query, "model": address.tail("/monitor/")}
        saved = Address(f"/download/monitor/{sketch.key}.csv", query).with_(table=None, page=None)
        # What is dragged over becomes the period; it can't leave this one.
        zoom = parts.data(zoom="", start=answer["start"][:19], end=answer["end"][:19])
        return [html.Div(parts.chart(drawn, address, saved.href, zooms=True), **zoom)]

    return draw


def cards(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The model's sums."""
    view = PeriodView.of(address, viewer.zone_name)
    totals, before = statistics(services, viewer, view)["totals"], totals_before(services, viewer, view) or {}
    p50, p99 = writing.duration(totals["p50_duration_ms"]), writing.duration(totals["p99_duration_ms"])

    def figure(label: str, metric: str, write: Any, note: str, good: str | None = None) -> html.Div:
        changed = change(totals[metric], before.get(metric), good=good)
        return parts.card(label, metric, totals[metric], write(totals[metric]), noted(note, changed))

    failed = writing.plural(totals["failed"], "failure")
    if not totals["calls"]:
        return [_nothing(view, address)]
    tokens = parts.facts(*written_tokens(totals["input_tokens"], totals["output_tokens"]))
    return [
        parts.cards(
            figure("Calls", "calls", writing.count, f"by {writing.plural(totals['tasks'], 'task')}"),
            figure("Failure rate", "failure_rate", writing.share, failed, "down"),
            figure(
                "p95 duration",
                "p95_duration_ms",
                writing.duration,
                parts.facts(f"p50 {p50}", f"p99 {p99}"),
                "down",
            ),
            figure("First token", "avg_first_token_ms", writing.duration, "of streamed calls", "down"),
            figure("Tokens", "total_tokens", writing.compact, tokens),
            figure("Rate limited", "rate_limited", writing.count, "calls with a 429", "down"),
        )
    ]


def _nothing(view: PeriodView, address: Address) -> html.Div:
    """Said once, in place of the figures and of every chart (assets/console.css)."""
    hint: Any = "Calls are counted when their task ends."
    if view.start != LONGEST:
        longer = address.with_(**{"from": LONGEST, "to": None, "precision": None})
        hint = html.Span([hint, " ", parts.link("Look at the last 15 days", longer.href)])
    none = parts.empty(f"No task of {view.model} ended in this period", hint)
    return html.Div(none, className="panel nothing")


def failure_details(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Failed calls by status and code."""
    rows = failures(services, viewer, PeriodView.of(address, viewer.zone_name))["data"]
    if not rows:
        return [html.Section(parts.empty("No call failed in this period"), className="panel")]
    table = parts.table("Failures by status and code", ERROR_COLUMNS, [_failure(r) for r in rows])
    return [html.Section(table, className="panel", **{"aria-label": "Failure details"})]


def _failure(row: Json) -> html.Tr:
    return html.Tr(
        [
            parts.cell("status_code", writing.exact(row["status_code"]) or "no answer", row["status_code"]),
            parts.cell("error_code", html.Code(row["error_code"]) if row["error_code"] else writing.NONE),
            parts.cell("calls", writing.count(row["calls"]), row["calls"], number=True),
            parts.cell("share", writing.share(row["share"]), row["share"], number=True),
        ]
    )


SECTIONS: Mapping[str, Draw] = {
    "span": scope,
    "monitored": if_it_can(cards),
    **{_slot(s): if_it_can(chart(s)) for s in SKETCHES},
    "failures": if_it_can(failure_details),
}
