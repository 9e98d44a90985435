# ruff: noqa: DTZ001  (Hypothesis takes the bounds of moments without a zone)
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import InvalidParameter
from metering.points import INTERVALS, Interval, interval_of, points
from metering.ranges import Range

ZONES = st.sampled_from(
    [
        "UTC",
        "Asia/Shanghai",
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kathmandu",
        "Africa/Cairo",
        "America/Sao_Paulo",
    ]
).map(ZoneInfo)
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2040, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)
LENGTHS = {"minute": 3600, "hour": 86_400 * 5, "day": 86_400 * 60}


def span(start: str, end: str, zone: str) -> Range:
    return Range(datetime.fromisoformat(start), datetime.fromisoformat(end), ZoneInfo(zone))


@given(MOMENTS, ZONES, st.sampled_from(INTERVALS), st.data())
def test_points_have_no_holes_and_begin_on_the_zones_clock(
    start: datetime, zone: ZoneInfo, interval: Interval, data: st.DataObject
) -> None:
    """They rise, cover the range, and each begins a minute, hour or day of the zone."""
    seconds = data.draw(st.integers(1, LENGTHS[interval]))
    asked = Range(start, start + timedelta(seconds=seconds), zone)
    found = points(asked, interval, 10_000)
    assert found[0] <= asked.start
    assert found[-1] < asked.end
    assert all(one < other for one, other in pairwise(found))
    local = [at.astimezone(zone) for at in found]
    assert all(at.second == 0 for at in local)
    assert interval == "minute" or all(at.minute == 0 for at in local)
    if interval == "day":
        days = {at.date() for at in local}
        assert len(days) == len(found)
        assert local[0].date() == asked.start.astimezone(zone).date()
        assert local[-1].date() == (asked.end - timedelta(seconds=1)).astimezone(zone).date()


def test_the_day_on_which_clocks_go_back_has_25_hours() -> None:
    """And the one on which they go forward 23; both are one point."""
    autumn = span("2026-10-24T22:00:00+00:00", "2026-10-25T23:00:00+00:00", "Europe/Berlin")
    assert len(points(autumn, "hour", 100)) == 25
    assert len(points(autumn, "day", 100)) == 1
    spring = span("2026-03-28T23:00:00+00:00", "2026-03-29T22:00:00+00:00", "Europe/Berlin")
    assert len(points(spring, "hour", 100)) == 23
    assert len(points(spring, "day", 100)) == 1


def test_hours_begin_on_the_half_where_the_zone_does() -> None:
    """In Kathmandu, a quarter of an hour before UTC's."""
    found = points(
        span("2026-11-22T00:00:00+00:00", "2026-11-22T02:00:00+00:00", "Asia/Kathmandu"), "hour", 10
    )
    assert [f"{at:%H:%M}" for at in found] == ["23:15", "00:15", "01:15"]


@pytest.mark.parametrize(
    ("days", "interval", "named"),
    [(15, "minute", "interval=hour"), (15, "hour", "interval=day"), (150, "day", "a shorter range")],
)
def test_too_many_points_are_refused_with_the_finest_that_is_allowed(
    days: int, interval: Interval, named: str
) -> None:
    """Or with the advice to shorten the range if even days are too many."""
    asked = Range(
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=days),
        ZoneInfo("UTC"),
    )
    with pytest.raises(InvalidParameter, match=named) as refused:
        points(asked, interval, 1500 if interval == "minute" else 100)
    assert refused.value.param == "interval"


def test_an_interval_that_is_left_out_is_an_hour_if_it_can_be() -> None:
    """Else a day; an unknown one is refused."""
    asked = Range(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 16, tzinfo=UTC), ZoneInfo("UTC"))
    assert interval_of(None, asked, 1500) == "hour"
    assert interval_of(None, asked, 100) == "day"
    with pytest.raises(InvalidParameter, match="minute, hour or day") as refused:
        interval_of("week", asked, 1500)
    assert refused.value.param == "interval"
