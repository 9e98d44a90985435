"""The points of a trend: whole minutes, hours or days of a time zone, without holes. Pure."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal, get_args
from zoneinfo import ZoneInfo

from metering.errors import InvalidParameter
from metering.ranges import Range, midnight

Interval = Literal["minute", "hour", "day"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
"""From the finest to the coarsest."""

_MINUTE, _HOUR = timedelta(minutes=1), timedelta(hours=1)


def interval_of(text: str | None, span: Range, max_points: int) -> Interval:
    """The interval that a caller names; for none, an hour or the finest that a range may have above it."""
    if text is None:
        return _finest(span, max_points, INTERVALS[1:]) or "day"
    for interval in INTERVALS:
        if text == interval:
            return interval
    raise InvalidParameter(f"{text!r} is not an interval. Write minute, hour or day.", param="interval")


def points(span: Range, interval: Interval, max_points: int) -> list[datetime]:
    """The starts, in UTC, of the points that cover a range; the first may lie before it.

    More than `max_points` are refused with the finest interval that is allowed.
    """
    found = list(islice(_starts(span, interval), max_points + 1))
    if len(found) <= max_points:
        return found
    allowed = _finest(span, max_points, INTERVALS[INTERVALS.index(interval) + 1 :])
    mend = f"The finest allowed here is interval={allowed}." if allowed else "Choose a shorter range."
    raise InvalidParameter(
        f"interval={interval} would make more than {max_points} points (statistics.max_points). {mend}",
        param="interval",
    )


def _finest(span: Range, max_points: int, intervals: tuple[Interval, ...]) -> Interval | None:
    for interval in intervals:
        if sum(1 for _ in islice(_starts(span, interval), max_points + 1)) <= max_points:
            return interval
    return None


def _starts(span: Range, interval: Interval) -> Iterator[datetime]:
    follow = {"minute": _next_minute, "hour": _next_hour, "day": _next_day}[interval]
    at = _first(span, interval)
    while at < span.end:
        yield at
        at = follow(at, span.zone)


def _first(span: Range, interval: Interval) -> datetime:
    if interval == "day":
        return midnight(span.start, span.zone)
    local = span.start.astimezone(span.zone)
    into = timedelta(minutes=local.minute if interval == "hour" else 0, seconds=local.second)
    return span.start - into


def _next_minute(at: datetime, _: ZoneInfo) -> datetime:
    return at + _MINUTE


def _next_hour(at: datetime, zone: ZoneInfo) -> datetime:
    """The next full hour on the zone's clocks; where they are moved by half an hour, a point lasts longer."""
    later = at + _HOUR
    minute = later.astimezone(zone).minute
    return later + timedelta(minutes=60 - minute) if minute else later


def _next_day(at: datetime, zone: ZoneInfo) -> datetime:
    """The next day's midnight: 23, 24 or 25 hours later."""
    local = at.astimezone(zone)
    # A day that clocks skip altogether has no midnight of its own: go on to the one after it.
    for days in (1, 2):
        day = datetime(local.year, local.month, local.day) + timedelta(days=days)  # noqa: DTZ001  (a calendar day)
        following = day.replace(tzinfo=zone).astimezone(UTC)
        if following > at:
            break
    return following
