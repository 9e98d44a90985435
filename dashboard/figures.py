"""Rows → Figure. Pure: no data is read here and nothing is remembered."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from dashboard.theme import Theme

Values = Sequence[float | None]
FEW = 3


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one colour of bars."""

    name: str
    values: Values
    color: str
    dash: str = "solid"
    area: bool = False


def stacked_bars(
    times: Sequence[datetime], series: Sequence[Series], theme: Theme, unit: str = ""
) -> go.Figure:
    """Counts by time, one on top of the other; times are written in their own zone."""
    bars = [
        go.Bar(
            **axis_of(times),
            y=list(s.values),
            name=s.name,
            marker={"color": s.color},
            hovertemplate=f"%{{y:,}}{unit}",
        )
        for s in series
    ]
    return _figure(bars, theme, times, {"barmode": "stack"})


def lines(times: Sequence[datetime], series: Sequence[Series], theme: Theme, unit: str = "") -> go.Figure:
    """Measures by time; where there was no call the line is broken, and a lone point is a dot."""
    drawn = [
        go.Scatter(
            **axis_of(times),
            y=list(s.values),
            name=s.name,
            mode="lines+markers" if lonely(s.values) else "lines",
            line={"color": s.color, "width": 2, "dash": s.dash},
            marker={"size": 5},
            fill="tozeroy" if s.area else "none",
            fillcolor=faded(s.color),
            connectgaps=False,
            cliponaxis=False,
            hovertemplate=f"%{{y:,.4~g}}{unit}",
        )
        for s in series
    ]
    return _figure(drawn, theme, times, {"yaxis": {"ticksuffix": unit}})


def columns(labels: Sequence[str], counts: Sequence[int], color: str, theme: Theme) -> go.Figure:
    """Counts by class; the classes are told by their labels."""
    bar = go.Bar(
        x=list(labels), y=list(counts), marker={"color": color}, hovertemplate="%{y:,} calls<extra></extra>"
    )
    figure = go.Figure(data=[bar])
    figure.update_layout(**theme.layout())
    figure.update_layout(
        template="none", bargap=0.08, dragmode=False, xaxis={"type": "category"}, uirevision="columns"
    )
    return figure


def axis_of(times: Sequence[datetime]) -> dict[str, Any]:
    """The x values: start and step where the steps are even, which spares the browser a list; else all."""
    local = [t.replace(tzinfo=None) for t in times]
    steps = {b - a for a, b in pairwise(local)}
    if len(steps) == 1:
        return {"x0": local[0].isoformat(), "dx": steps.pop().total_seconds() * 1000}
    return {"x": [t.isoformat() for t in local]}


def lonely(values: Values) -> bool:
    """Whether some value has no neighbour, so that a bare line would not show it."""
    there = [v is not None for v in values]
    padded = [False, *there, False]
    alone = any(padded[i] and not padded[i - 1] and not padded[i + 1] for i in range(1, len(padded) - 1))
    return alone or sum(there) <= FEW


def faded(color: str) -> str:
    """A hex colour at a tenth of its strength."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.1)"


def _figure(traces: list[Any], theme: Theme, times: Sequence[datetime], extra: dict[str, Any]) -> go.Figure:
    figure = go.Figure(data=traces)
    figure.update_layout(**theme.layout())
    figure.update_layout(**extra, template="none", uirevision=f"{times[0].date()}" if times else "empty")
    return figure
