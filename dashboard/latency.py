"""How long the calls of one task took: its histogram as columns between round numbers. Pure."""

from collections.abc import Sequence
from itertools import pairwise

from dashboard import figures, writing
from dashboard.parts import Chart
from dashboard.theme import Theme
from metering.histogram import Counts, percentile, value_of

ROUND = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
"""Edges within each power of ten: about equal in relation, as the durations are."""
PERCENTILES = (50, 95, 99)
Column = tuple[float, float, int]
"""(from, to, calls), in milliseconds."""


def columns_of(durations: Counts) -> list[Column]:
    """Calls between round edges, from the shortest to the longest, none left out between."""
    values = [(value_of(bucket), calls) for bucket, calls in durations.items() if calls]
    if not values:
        return []
    edges = _edges(min(v for v, _ in values), max(v for v, _ in values))
    return [(a, b, sum(n for v, n in values if a <= v < b)) for a, b in pairwise(edges)]


def _edges(shortest: float, longest: float) -> Sequence[float]:
    every = [0.0, *[step * 10.0**power for power in range(-1, 9) for step in ROUND]]
    first = max(i for i, edge in enumerate(every) if edge <= shortest)
    last = next((i for i, edge in enumerate(every) if edge > longest), len(every) - 1)
    return every[first : last + 1]


def summary(durations: Counts) -> str:
    """The percentiles in a line."""
    return " · ".join(f"p{p} {writing.duration(percentile(durations, p))}" for p in PERCENTILES)


def latency_chart(durations: Counts, theme: Theme) -> Chart:
    """The chart, its sentence and its rows."""
    columns = columns_of(durations)
    labels = [_between(a, b) for a, b, _ in columns]
    return Chart(
        key="durations",
        title="Call duration",
        note="succeeded calls",
        sentence=f"Call duration of succeeded calls: {summary(durations)}.",
        figure=figures.columns(labels, [n for *_, n in columns], theme.series[0], theme),
        legend=((summary(durations), theme.series[0], ""),),
        columns=("From ms", "To ms", "Calls"),
        rows=tuple((f"{a:g}", f"{b:g}", str(n)) for a, b, n in columns),
        blank="" if columns else "No call succeeded",
    )


def _between(start: float, end: float) -> str:
    """30–50 ms: the unit once where both have the same."""
    (low, unit), high = _edge(start).split(" "), _edge(end)
    return f"{low}–{high}" if high.endswith(f" {unit}") else f"{low} {unit}–{high}"


def _edge(milliseconds: float) -> str:
    if milliseconds < 1000:
        return f"{milliseconds:g} ms"
    return f"{milliseconds / 1000:g} s" if milliseconds < 60_000 else f"{milliseconds / 60_000:.3g} min"
