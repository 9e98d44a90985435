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
BAND_STRENGTHS = (0.28, 0.14)
DECIMALS = {" s": ",.3~f", " ms": ",.2~f", " %": ",.2~f"}
"""How many decimals of a unit are told on hover."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line or one colour of bars."""

    name: str
    values: Values
    color: str
    dash: str = "solid"
    area: bool = False
    exact: Sequence[str] = ()
    """The values as they are to be read on hover, where a float would not do."""


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
            customdata=list(s.exact) or None,
            hovertemplate="%{customdata}" if s.exact else f"%{{y:,}}{unit}",
        )
        for s in series
    ]
    # An amount is never abbreviated: 0.00015, not 150µ.
    ticks = {"exponentformat": "none", "separatethousands": True} if any(s.exact for s in series) else {}
    return _figure(bars, theme, times, {"barmode": "stack", "yaxis": ticks})


def lines(times: Sequence[datetime], series: Sequence[Series], theme: Theme, unit: str = "") -> go.Figure:
    """Measures by time; where there was no call the line is broken, and a lone point is a dot."""
    return _figure([_line(times, s, unit) for s in series], theme, times, {"yaxis": _ticks(unit)})


def bands(times: Sequence[datetime], series: Sequence[Series], theme: Theme, unit: str = "") -> go.Figure:
    """Percentiles: lines, and between each but the first and the one above it a band (average, p50, p95, p99).

    A band is made of bars without gaps between them, so that it ends where there was no call.
    """
    filled = [
        go.Bar(
            **axis_of(times),
            base=list(low.values),
            y=[
                None if a is None or b is None else b - a
                for a, b in zip(low.values, high.values, strict=True)
            ],
            marker={"color": faded(theme.series[0], strength), "line": {"width": 0}},
            hoverinfo="skip",
        )
        for (low, high), strength in zip(pairwise(series[1:]), BAND_STRENGTHS, strict=False)
    ]
    drawn = [_line(times, s, unit, width=2 if s.dash == "solid" else 1.2) for s in series]
    extra = {"yaxis": _ticks(unit), "barmode": "overlay", "bargap": 0}
    return _figure([*drawn, *filled], theme, times, extra)


def _line(times: Sequence[datetime], s: Series, unit: str, width: float = 2) -> go.Scatter:
    broken = lonely(s.values)
    return go.Scatter(
        **axis_of(times),
        y=list(s.values),
        name=s.name,
        mode="lines+markers" if broken else "lines",
        line={"color": s.color, "width": width, "dash": s.dash},
        marker={"size": 5},
        # Plotly would fill across the holes.
        fill="tozeroy" if s.area and None not in s.values else "none",
        fillcolor=faded(s.color),
        connectgaps=False,
        cliponaxis=False,
        hovertemplate=f"%{{y:{DECIMALS.get(unit, ',.1~f')}}}{unit}",
    )


def _ticks(unit: str) -> dict[str, Any]:
    # A measure with a unit is written out; "500µ s" is read by nobody.
    return {"ticksuffix": unit, "exponentformat": "none"} if unit else {}


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


def faded(color: str, strength: float = 0.1) -> str:
    """A hex colour at a part of its strength."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{strength})"


def _figure(traces: list[Any], theme: Theme, times: Sequence[datetime], extra: dict[str, Any]) -> go.Figure:
    figure = go.Figure(data=traces)
    figure.update_layout(**theme.layout())
    figure.update_layout(**extra, template="none", uirevision=f"{times[0]} {times[-1]}" if times else "empty")
    return figure
