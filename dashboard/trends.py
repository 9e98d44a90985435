"""Against the period before: how a figure changed."""

from datetime import timedelta
from typing import Any

from dash import html

from dashboard import writing
from dashboard.filters import PeriodView
from dashboard.reading import Json, once
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.errors import Refused

SAME = 0.0005
MANY_TIMES = 10
SECOND = timedelta(seconds=1)


def totals_before(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> Json | None:
    """The totals of the equally long period just before a view's; none if it lies outside the window."""
    zone = viewer.zone(view.zone)
    start, end = view.bounds(viewer.now, zone)
    long = min(end, viewer.now) - start + SECOND
    asked: dict[str, Any] = {
        "start": (start - long).isoformat(),
        "end": (start - SECOND).isoformat(),
        "timezone": zone.key,
        "model": view.model,
        "workspace_id": view.workspace,
    }
    try:
        answer = once(
            services, viewer, "before", asked, lambda: services.statistics.models(viewer.access, **asked)
        )
    except Refused:
        return None
    totals: Json = answer["totals"]
    return totals


def change(now: Any, before: Any, *, good: str | None = None) -> html.Span | None:
    """▲ 12 % beside a figure; none where there was nothing before. `good` says which way is better: up, down."""
    if now is None or not before or float(before) == 0:
        return None
    share = float(now) / float(before) - 1
    if abs(share) < SAME:
        return html.Span("= as before", className="change")
    way = "up" if share > 0 else "down"
    size = f"{share + 1:.0f} times" if share >= MANY_TIMES else f"{abs(share) * 100:.3g} %"
    mood = "" if good is None else " good" if good == way else " poor"
    told = f"{'more' if share > 0 else 'less'} than in the period before ({writing.exact(before)})"
    mark = html.Span("▲ " if share > 0 else "▼ ", **{"aria-hidden": "true"})
    return html.Span(
        [mark, size, html.Span(f" {told}", className="hush")], className=f"change{mood}", title=told
    )


def noted(note: Any, changed: html.Span | None) -> Any:
    """A card's line: what is said of the figure, and how it changed."""
    return [changed, html.Br(), note] if changed is not None else note
