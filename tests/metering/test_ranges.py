# ruff: noqa: DTZ001  (Hypothesis takes the bounds of moments without a zone)
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.errors import InvalidParameter
from metering.ranges import (
    EARLIEST,
    LATEST,
    SECOND,
    Range,
    midnight,
    month,
    month_or_range,
    parse_moment,
    parse_zone,
    unwindowed,
    windowed,
)

NOW = datetime(2026, 11, 22, 9, 30, 15, 600_000, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONES = st.sampled_from(
    ["UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
).map(ZoneInfo)
SECONDS = st.datetimes(datetime(1971, 1, 1), datetime(9998, 1, 1)).map(
    lambda at: at.replace(microsecond=0, tzinfo=UTC)
)


def asked(start: str | None = None, end: str | None = None, zone: str = "UTC") -> Range:
    return windowed(start, end, zone=ZoneInfo(zone), now=NOW, window_days=15)


@given(SECONDS, ZONES)
def test_a_moment_is_understood_in_every_way_of_writing(at: datetime, zone: ZoneInfo) -> None:
    """ISO 8601 in any zone, with a plus sign lost on the way, with a fraction, and as Unix seconds."""
    iso = at.astimezone(zone).isoformat()
    ways = [iso, at.isoformat().replace("+00:00", "Z"), str(int(at.timestamp())), f"{int(at.timestamp())}.9"]
    ways += [iso.replace("+", " "), at.replace(microsecond=999_999).isoformat()]
    assert {parse_moment(way, "start") for way in ways} == {at}


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-22", "2026-11-22T10:00:00", "2026-11-22 10:00", "1e9", "-5",
    "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "999999999999", "١٢٣", "nan"])  # fmt: skip
def test_what_is_no_moment_is_refused_by_name(text: str) -> None:
    """Dates without a time or zone are ambiguous; the message shows what to write."""
    with pytest.raises(InvalidParameter, match="ISO 8601 with a zone") as refused:
        parse_moment(text, "end")
    assert refused.value.param == "end"


@pytest.mark.parametrize("name", ["", "utc+1", "America", "../../etc/passwd", "/etc/localtime", "Mars/Olympus", "right/UTC", "localtime", "x" * 500, "Etc/\x00"])  # fmt: skip
def test_what_is_no_zone_is_refused(name: str) -> None:
    """Nothing but IANA names, whatever files there are."""
    with pytest.raises(InvalidParameter) as refused:
        parse_zone(name)
    assert refused.value.param == "timezone"


@given(SECONDS, st.integers(0, 10**6))
def test_both_ends_are_inclusive(at: datetime, seconds: int) -> None:
    """A range holds every microsecond of its first and its last second, and none beside them."""
    last = at + timedelta(seconds=seconds)
    span = unwindowed(at.isoformat(), last.isoformat())
    assert (span.start, span.end) == (at, last + SECOND)
    assert (datetime.fromisoformat(span.first), datetime.fromisoformat(span.last)) == (at, last)


def test_the_default_is_the_last_24_hours() -> None:
    """Up to and with the running second."""
    span = asked()
    assert (span.first, span.last) == ("2026-11-21T09:30:15+00:00", "2026-11-22T09:30:15+00:00")
    assert asked(end="2026-11-20T00:00:00Z").first == "2026-11-19T00:00:00+00:00"
    assert asked(end="2026-11-07T01:00:00Z").first == "2026-11-07T00:00:00+00:00"


@pytest.mark.parametrize(
    ("zone", "opens"),
    [
        ("UTC", "2026-11-07T00:00:00+00:00"),
        ("Asia/Shanghai", "2026-11-07T00:00:00+08:00"),
        ("Pacific/Kiritimati", "2026-11-07T00:00:00+14:00"),
    ],
)
def test_the_window_opens_at_midnight_of_the_zone_15_days_ago(zone: str, opens: str) -> None:
    """At that second and not one before; the refusal names it."""
    assert asked(opens, zone=zone).first == opens
    before = (datetime.fromisoformat(opens) - SECOND).isoformat()
    with pytest.raises(InvalidParameter) as refused:
        asked(before, zone=zone)
    assert refused.value.param == "start"
    assert opens in refused.value.message


@given(ZONES, st.datetimes(datetime(2000, 1, 1), datetime(2040, 1, 1)), st.integers(1, 400))
def test_the_window_counts_days_of_the_calendar(zone: ZoneInfo, now: datetime, days: int) -> None:
    """Whatever clocks did meanwhile: its first second begins a day."""
    moment = now.replace(tzinfo=UTC)
    with pytest.raises(InvalidParameter) as refused:
        windowed("0", None, zone=zone, now=moment, window_days=days)
    opens = datetime.fromisoformat(refused.value.message.split(" from ")[1].split(" to ")[0])
    assert opens == midnight(opens, zone)
    assert (moment.astimezone(zone).date() - opens.astimezone(zone).date()).days == days


@pytest.mark.parametrize(
    ("start", "end", "param"),
    [
        ("2026-11-22T09:30:16Z", None, "start"),
        ("2026-11-22T09:00:00Z", "2026-11-22T08:59:59Z", "end"),
        (None, "2026-11-06T00:00:00Z", "end"),
    ],
)
def test_a_future_or_reversed_range_is_refused_with_what_is_allowed(
    start: str | None, end: str | None, param: str
) -> None:
    """The message names both ends of the allowed range."""
    with pytest.raises(InvalidParameter) as refused:
        asked(start, end)
    assert refused.value.param == param
    assert "2026-11-07T00:00:00+00:00" in refused.value.message
    assert "2026-11-22T09:30:15+00:00" in refused.value.message


def test_a_future_end_is_cut_to_now() -> None:
    """And the running second is still whole."""
    assert asked("2026-11-22T00:00:00Z", "2030-01-01T00:00:00Z").last == "2026-11-22T09:30:15+00:00"
    assert asked("2026-11-22T09:30:15Z", "2030-01-01T00:00:00Z").end - SECOND == NOW.replace(microsecond=0)


def test_a_month_begins_in_the_billing_zone() -> None:
    """December's end is the next year's."""
    span = month("2026-12", zone=SHANGHAI)
    assert (span.start, span.end) == (
        datetime(2026, 11, 30, 16, tzinfo=UTC),
        datetime(2026, 12, 31, 16, tzinfo=UTC),
    )
    assert span.period == "2026-12"


@given(st.integers(1971, 9997), st.integers(1, 12), ZONES)
def test_months_follow_each_other_without_a_gap(year: int, number: int, zone: ZoneInfo) -> None:
    """Every second belongs to one month."""
    after = f"{year + number // 12}-{number % 12 + 1:02}"
    assert month(f"{year}-{number:02}", zone=zone).end == month(after, zone=zone).start


@pytest.mark.parametrize(
    "period", ["", "2026", "2026-13", "2026-00", "2026-1", "26-01", "2026-01-01", "0000-01", "9999-12"]
)
def test_what_is_no_month_is_refused(period: str) -> None:
    """With an example of one."""
    with pytest.raises(InvalidParameter, match="YYYY-MM") as refused:
        month(period, zone=SHANGHAI)
    assert refused.value.param == "period"


def test_a_month_or_a_range_but_not_both() -> None:
    """Neither is refused where one is needed, and means everything elsewhere."""
    for period, start in (("2026-01", "0"), (None, None)):
        with pytest.raises(InvalidParameter) as refused:
            month_or_range(period, start, None, zone=SHANGHAI)
        assert refused.value.param == "period"
    everything = month_or_range(None, None, None, zone=SHANGHAI, required=False)
    assert (everything.start, everything.end) == (EARLIEST, LATEST)
    assert month_or_range(None, "2026-01-01T00:00:00Z", None, zone=SHANGHAI).end == LATEST
