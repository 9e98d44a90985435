"""Monitor: one model over time, what it was asked and how it performed."""

from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.charts import charts_of
from dashboard.filters import PRECISIONS, Address, PeriodView
from dashboard.pages.observation import filter_bar
from dashboard.parts import Column
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


def live(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Cards, the two groups of charts, and the failures."""
    view = PeriodView.of(address, viewer.zone_name)
    totals = statistics(services, viewer, view)["totals"]
    answer = trend(services, viewer, view)
    points = answer["data"]
    charts = charts_of(points, view.precision, viewer.theme)
    return [
        _cards(totals, totals_before(services, viewer, view) or {}),
        html.Div(
            [
                html.H2("Call statistics"),
                _grid([c for c in charts if c.group == "calls"], address),
                html.H2("Performance metrics"),
                _grid([c for c in charts if c.group == "performance"], address),
            ],
            # What is dragged over on a chart becomes the period; it can't leave this one.
            **parts.data(zoom="", start=answer["start"][:19], end=answer["end"][:19]),
        ),
        html.H2("Failure details"),
        _failures(failures(services, viewer, view)["data"]),
    ]


def _grid(charts: list[Any], address: Address) -> html.Div:
    drawn = []
    for item in charts:
        saved = Address(
            f"/download/monitor/{item.chart.key}.csv", {**address.query, "model": address.tail("/monitor/")}
        )
        drawn.append(parts.chart(item.chart, address, saved.with_(table=None).href))
    return html.Div(drawn, className="two")


def _cards(totals: Json, before: Json) -> html.Div:
    p50, p99 = writing.duration(totals["p50_duration_ms"]), writing.duration(totals["p99_duration_ms"])

    def figure(label: str, metric: str, write: Any, note: str, good: str | None = None) -> html.Div:
        changed = change(totals[metric], before.get(metric), good=good)
        return parts.card(label, metric, totals[metric], write(totals[metric]), noted(note, changed))

    return parts.cards(
        figure("Calls", "calls", writing.count, f"by {writing.plural(totals['tasks'], 'task')}"),
        figure(
            "Failure rate", "failure_rate", writing.share, writing.plural(totals["failed"], "failure"), "down"
        ),
        figure("p95 duration", "p95_duration_ms", writing.duration, f"p50 {p50} · p99 {p99}", "down"),
        figure("First token", "avg_first_token_ms", writing.duration, "average of streamed calls", "down"),
        figure("Tokens", "total_tokens", writing.compact, ""),
        figure("Rate limited", "rate_limited", writing.count, "calls with a 429", "down"),
    )


def _failures(rows: list[Json]) -> html.Section:
    if not rows:
        return html.Section(parts.empty("No call failed in this period"), className="panel")
    drawn = [
        html.Tr(
            [
                parts.cell("status_code", writing.exact(r["status_code"]) or "no answer", r["status_code"]),
                parts.cell("error_code", html.Code(r["error_code"]) if r["error_code"] else writing.NONE),
                parts.cell("calls", writing.count(r["calls"]), r["calls"], number=True),
                parts.cell("share", writing.share(r["share"]), r["share"], number=True),
            ]
        )
        for r in rows
    ]
    table = parts.table("Failures by status and code", ERROR_COLUMNS, drawn)
    return html.Section(table, className="panel", **{"aria-label": "Failure details"})
