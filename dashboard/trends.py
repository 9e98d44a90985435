"""Against the period before, and small trends: how a figure changed, and a model's calls as a line. Pure drawing."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from dash import html

from dashboard import writing
from dashboard.filters import PeriodView
from dashboard.reading import Json
from dashboard.services import ConsoleServices
from dashboard.theme import Theme
from dashboard.viewer import Viewer
from metering.errors import Refused

STEPS = 24
WIDTH, HEIGHT, EDGE = 72, 22, 2
SAME = 0.0005
MANY_TIMES = 10
SECOND = timedelta(seconds=1)


def totals_before(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> Json | None:
    """The totals of the equally long period just before a view's; none if it lies outside the window."""
    start, end = view.bounds(viewer.now, viewer.zone(view.zone))
    long = end - start + SECOND
    try:
        answer = services.statistics.models(
            viewer.access,
            start=(start - long).isoformat(),
            end=(end - long).isoformat(),
            timezone=viewer.zone(view.zone).key,
            model=view.model,
            workspace_id=view.workspace,
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


def spark(values: Sequence[int], name: str, theme: Theme) -> html.Img | None:
    """Calls as a small line; an image, since its meaning is told in a sentence and in Monitor's charts."""
    if not any(values):
        return None
    told = (
        f"Calls of {name} over the period: at most {writing.count(max(values))} in one of {len(values)} parts"
    )
    source = "data:image/svg+xml," + quote(svg(values, theme.series[0]), safe="")
    return html.Img(src=source, alt=told, title=told, className="spark", width=WIDTH, height=HEIGHT)


def svg(values: Sequence[int], color: str) -> str:
    """The line as SVG; nothing but numbers goes into it."""
    highest, step = max(values), WIDTH / max(len(values) - 1, 1)
    room = HEIGHT - 2 * EDGE
    points = " ".join(
        f"{i * step:.1f},{HEIGHT - EDGE - room * v / highest:.1f}" for i, v in enumerate(values)
    )
    under = f"0,{HEIGHT} {points} {WIDTH},{HEIGHT}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none">'
        f'<polygon points="{under}" fill="{color}" fill-opacity=".15"/>'
        f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="1.5" stroke-linejoin="round"/></svg>'
    )
