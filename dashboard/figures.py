"""Rows → Figure. Pure: no data is read here and nothing is remembered.

A figure is Plotly's JSON as plain values: building it of Plotly's classes checks each value again, which takes
a second for a page of charts. A test lets Plotly check what is made here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from dashboard.theme import Theme

Values = Sequence[float | None]
Figure = dict[str, Any]
Trace = dict[str, Any]
FEW = 3
FAINT = 0.4
BAND_STRENGTHS = (0.28, 0.14)
DIGITS = 6
"""Significant digits that a line is told with."""
EDGE = 0.5
"""Steps that are left free before the first and behind the last point."""
DAY = timedelta(days=1)
MOST_TICKS = 6
TICK_STEPS = (
    *(timedelta(minutes=n) for n in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=n) for n in (1, 2, 3, 6, 12)),
    *(timedelta(days=n) for n in (1, 2, 3, 5, 7, 14)),
)
"""Round distances between the times that are written below a chart."""


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


def stacked_bars(times: Sequence[datetime], series: Sequence[Series], theme: Theme, unit: str = "") -> Figure:
    """Counts by time, one on top of the other; times are written in their own zone."""
    bars = [_bar(times, s, unit) for s in series]
    # An amount is never abbreviated: 0.00015, not 150µ.
    ticks = {"exponentformat": "none"} if any(s.exact for s in series) else _ticks(unit)
    return _figure(bars, theme, times, {"barmode": "stack", "yaxis": ticks})


def _bar(times: Sequence[datetime], s: Series, unit: str) -> Trace:
    told = {"customdata": list(s.exact), "hovertemplate": "%{customdata}"} if s.exact else {}
    return {
        "type": "bar",
        **axis_of(times),
        "y": [short(v) for v in s.values] if unit else list(s.values),
        "name": s.name,
        "marker": {"color": s.color},
        "hovertemplate": f"%{{y:,.6~r}}{unit}" if unit else "%{y:,}",
        **told,
    }


def lines(times: Sequence[datetime], series: Sequence[Series], theme: Theme, unit: str = "") -> Figure:
    """Measures by time; where there was no call the line is broken.

    Where points stand alone they are dots, which a faint line joins for the eye.
    """
    return _figure([_line(times, s, unit) for s in series], theme, times, {"yaxis": _ticks(unit)})


def bands(times: Sequence[datetime], series: Sequence[Series], theme: Theme, unit: str = "") -> Figure:
    """Percentiles: lines, and between each but the first and the one above it a band (average, p50, p95, p99).

    A band is named by its two lines and worked out where it is drawn (assets/plot.js).
    """
    drawn = [_line(times, s, unit, width=2 if s.dash == "solid" else 1.2) for s in series]
    colors = (faded(theme.series[0], strength) for strength in BAND_STRENGTHS)
    between = [[low, low + 1, color] for low, color in zip(range(1, len(series) - 1), colors, strict=False)]
    return {**_figure(drawn, theme, times, {"yaxis": _ticks(unit)}), "bands": between}


def _line(times: Sequence[datetime], s: Series, unit: str, width: float = 2) -> Trace:
    return {
        "type": "scatter",
        **axis_of(times),
        "y": [short(v) for v in s.values],
        "name": s.name,
        **(_dots(s) if lonely(s.values) else _stroke(s, width)),
        "cliponaxis": False,
        "hovertemplate": f"%{{y:,.6~r}}{unit}",
    }


def _stroke(s: Series, width: float) -> Trace:
    return {
        "mode": "lines",
        "line": {"color": s.color, "width": width, "dash": s.dash},
        # Plotly would fill across the holes.
        "fill": "tozeroy" if s.area and None not in s.values else "none",
        "fillcolor": faded(s.color),
        "connectgaps": False,
    }


def _dots(s: Series) -> Trace:
    return {
        "mode": "lines+markers",
        "line": {"color": faded(s.color, FAINT), "width": 1, "dash": s.dash},
        "marker": {"size": 5, "color": s.color},
        "connectgaps": True,
    }


def short(value: float | None) -> float | None:
    """A measure as it is drawn: fewer bytes, and more digits than anybody reads."""
    if value is None:
        return None
    rounded = float(f"{value:.{DIGITS}g}")
    return int(rounded) if rounded.is_integer() else rounded


def _ticks(unit: str) -> dict[str, Any]:
    # A measure with a unit is written out; "500µ s" is read by nobody.
    return {"ticksuffix": unit, "exponentformat": "none"} if unit else {}


def columns(labels: Sequence[str], counts: Sequence[int], color: str, theme: Theme) -> Figure:
    """Counts by class; the classes are told by their labels."""
    bar = {
        "type": "bar",
        "x": list(labels),
        "y": list(counts),
        "marker": {"color": color},
        "hovertemplate": "%{y:,} calls<extra></extra>",
    }
    own = {"bargap": 0.08, "dragmode": False, "uirevision": "columns", "xaxis": {"type": "category"}}
    return {"data": [bar], "layout": merged(theme.layout(), own)}


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


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """One set of settings over another, part by part."""
    both = {k: merged(base[k], v) if isinstance(v, dict) and k in base else v for k, v in over.items()}
    return {**base, **both}


def _figure(traces: list[Trace], theme: Theme, times: Sequence[datetime], extra: dict[str, Any]) -> Figure:
    seen = f"{times[0]} {times[-1]}" if times else "empty"
    own = merged({"uirevision": seen, "xaxis": _span(times)}, extra)
    return {"data": traces, "layout": merged(theme.layout(), own)}


def _span(times: Sequence[datetime]) -> dict[str, Any]:
    """All charts of a period have the same ends, whatever they show in it."""
    if len(times) < 2:
        return {}
    local = [t.replace(tzinfo=None) for t in times]
    room = (local[1] - local[0]) * EDGE
    first, last = local[0] - room, local[-1] + room
    told = "%-d %b %Y" if local[1] - local[0] >= DAY else "%-d %b %Y, %H:%M"
    return {"range": [first.isoformat(), last.isoformat()], "hoverformat": told, **_times(first, last)}


def _times(first: datetime, last: datetime) -> dict[str, Any]:
    """Which times are written below a chart: the same below all of a period, counted from midnight."""
    step = next((s for s in TICK_STEPS if (last - first) / s <= MOST_TICKS), TICK_STEPS[-1])
    whole = step >= DAY
    return {
        "tick0": f"{first + DAY if whole else first:%Y-%m-%d}",
        "dtick": step.total_seconds() * 1000,
        # The second line, the day, is written where it is another one.
        "tickformat": "%-d %b" if whole else "%H:%M\n%-d %b",
    }
