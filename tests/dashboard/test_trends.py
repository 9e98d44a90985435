"""Changes against the period before, small trends, and the columns of a task's durations."""

import re
from itertools import pairwise

from dash import html

from dashboard.filters import default_precision
from dashboard.latency import columns_of, summary
from dashboard.spark import spark
from dashboard.trends import change
from metering.histogram import histogram


def text_of(part: object) -> str:
    if isinstance(part, list | tuple):
        return "".join(text_of(p) for p in part)
    children = getattr(part, "children", None)
    return text_of(children) if children is not None else str(part)


def test_a_change_tells_way_size_and_mood() -> None:
    """In words too; without a figure before there is none."""
    more = change(150, 100, good="down")
    assert isinstance(more, html.Span)
    assert text_of(more).startswith("▲ 50 % more than in the period before")
    assert more.className == "change poor"
    assert text_of(change("0.5", "1")).startswith("▼ 50 %")
    assert text_of(change(1200, 100)).startswith("▲ 12 times")
    assert text_of(change(100, 100)) == "= as before"
    assert change(5, 0) is None
    assert change(None, 3) is None


def test_a_trend_is_a_few_whole_numbers() -> None:
    """Of the height that the highest has; without a call there is none."""
    drawn = spark([0, 4, 1])
    assert drawn is not None
    assert (drawn.heights, drawn.label) == ([0, 20, 5], "Calls: at most 4 in one of 3 parts")
    assert spark([0, 0]) is None


def test_durations_are_counted_between_round_edges() -> None:
    """None is lost, none counted twice, no class left out between."""
    values = [0.2, 12, 14, 80, 81, 4000, 200_000]
    columns = columns_of(histogram(values))
    assert sum(calls for *_, calls in columns) == len(values)
    assert all(a[1] == b[0] for a, b in pairwise(columns))
    assert (70.0, 100.0, 2) in columns
    assert columns_of({}) == []
    assert re.fullmatch(r"p50 80 ms · p95 3\.[0-9]+ min · p99 3\.[0-9]+ min", summary(histogram(values)))


def test_the_precision_suits_the_dates() -> None:
    """A zoomed hour is shown by minutes, a week by hours, more by days."""
    assert default_precision("2026-11-07T10:00:00", "2026-11-07T12:00:00") == "minute"
    assert default_precision("2026-11-07T10:00:00", "2026-11-14T10:00:00") == "hour"
    assert default_precision("2026-11-07T10:00:00", "2026-11-14T12:00:00") == "day"
    assert default_precision("2026-11-07T10:00:00", "now") == "hour"
