"""Ranges of time as callers write them: seconds, both ends inclusive, become half-open UTC intervals."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from metering.errors import InvalidParameter

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
UTC_ZONE = ZoneInfo("UTC")
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(9999, 1, 1, tzinfo=UTC)

_UNIX = re.compile(r"[0-9]{1,12}(\.[0-9]+)?")
_ZONE_NAME = re.compile(r"[A-Za-z0-9_+/-]{1,64}")
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")
# A plus sign that was not written as %2B arrives as a space.
_LOST_PLUS = re.compile(r"(:[0-9]{2}(?:\.[0-9]+)?) ([0-9]{2}:?[0-9]{2})$")
_NO_ZONES = ("posix/", "right/", "localtime", "posixrules", "Factory")


@dataclass(frozen=True, slots=True)
class Range:
    """An interval of time, and the zone in which its days begin."""

    start: datetime
    """UTC, inclusive."""
    end: datetime
    """UTC, exclusive: a second after the last one asked for."""
    zone: ZoneInfo = UTC_ZONE
    period: str | None = None
    """`YYYY-MM` if a month was asked for."""

    @property
    def first(self) -> str:
        """The first second, ISO 8601 in the range's zone."""
        return self.start.astimezone(self.zone).isoformat()

    @property
    def last(self) -> str:
        """The last second, ISO 8601 in the range's zone."""
        return (self.end - SECOND).astimezone(self.zone).isoformat()


def parse_zone(name: str | None, default: ZoneInfo = UTC_ZONE, param: str = "timezone") -> ZoneInfo:
    """The time zone of an IANA name, or the default for none; anything else is refused."""
    if name is None:
        return default
    try:
        if _ZONE_NAME.fullmatch(name) and not name.startswith(_NO_ZONES):
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of zones, such as "America"
        pass
    raise InvalidParameter(
        f"{name!r} is not a known time zone. Write an IANA name such as 'UTC' or 'Asia/Shanghai'.",
        param=param,
    )


def parse_moment(text: str, param: str) -> datetime:
    """A whole second in UTC from ISO 8601 with a zone, or from Unix seconds; fractions are cut off."""
    try:
        moment = _unix(text) if _UNIX.fullmatch(text) else _iso(text)
    except (ValueError, OverflowError, OSError):
        moment = None
    if moment is None or not EARLIEST <= moment < LATEST:
        raise InvalidParameter(
            f"{text!r} is not a time that {param} can take. Write ISO 8601 with a zone, for instance "
            "2026-03-01T00:00:00Z or 2026-03-01T00:00:00%2B08:00, or Unix seconds.",
            param=param,
        )
    return moment


def _unix(text: str) -> datetime:
    return datetime.fromtimestamp(int(text.partition(".")[0]), UTC)


def _iso(text: str) -> datetime | None:
    moment = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text))
    return None if moment.tzinfo is None else moment.astimezone(UTC).replace(microsecond=0)


def midnight(day: datetime, zone: ZoneInfo) -> datetime:
    """When the day of a moment begins in a zone, in UTC; where clocks skip midnight, when they do."""
    local = day.astimezone(zone)
    return datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(UTC)


def window_opens(now: datetime, zone: ZoneInfo, window_days: int) -> datetime:
    """The earliest second that statistics are given for: 00:00:00, in the zone, `window_days` days ago."""
    local = now.astimezone(zone)
    day = datetime(local.year, local.month, local.day) - window_days * DAY  # noqa: DTZ001  (a calendar day)
    return day.replace(tzinfo=zone).astimezone(UTC)


def windowed(start: str | None, end: str | None, *, zone: ZoneInfo, now: datetime, window_days: int) -> Range:
    """The range of statistics (SPEC §6.1): within the window, by default the last 24 hours, never ahead of now."""
    opens = window_opens(now, zone, window_days)
    this_second = now.astimezone(UTC).replace(microsecond=0)
    last = min(parse_moment(end, "end"), this_second) if end is not None else this_second
    first = parse_moment(start, "start") if start is not None else max(opens, last - DAY)
    allowed = (
        f"The allowed range is from {opens.astimezone(zone).isoformat()} to now, "
        f"{this_second.astimezone(zone).isoformat()} ({zone.key})."
    )
    if first < opens or first > this_second:
        where = "in the future" if first > this_second else f"more than {window_days} days ago"
        raise InvalidParameter(f"start lies {where}. {allowed}", param="start")
    if last < first:
        raise InvalidParameter(f"end lies before start. {allowed}", param="end")
    return Range(first, last + SECOND, zone)


def unwindowed(start: str | None, end: str | None, *, zone: ZoneInfo = UTC_ZONE) -> Range:
    """A range of the ledger or of events: no window, and a side that is left out is open."""
    first = parse_moment(start, "start") if start is not None else EARLIEST
    last = parse_moment(end, "end") if end is not None else LATEST - SECOND
    if last < first:
        raise InvalidParameter(
            f"end lies before start. The allowed range is any from {first.isoformat()} on.", param="end"
        )
    return Range(first, last + SECOND, zone)


def month(period: str, *, zone: ZoneInfo) -> Range:
    """The range of a calendar month `YYYY-MM` in the billing zone."""
    found = _MONTH.fullmatch(period)
    year, number = (int(found[1]), int(found[2])) if found else (0, 0)
    if not EARLIEST.year < year < LATEST.year:
        raise InvalidParameter(
            f"{period!r} is not a month. Write YYYY-MM, for instance 2026-03.", param="period"
        )
    following = (year + 1, 1) if number == 12 else (year, number + 1)
    begins = datetime(year, number, 1, tzinfo=zone).astimezone(UTC)
    return Range(begins, datetime(*following, 1, tzinfo=zone).astimezone(UTC), zone, period)


def month_or_range(
    period: str | None, start: str | None, end: str | None, *, zone: ZoneInfo, required: bool = True
) -> Range:
    """Either a month or a range: both are refused, and so is neither if one is `required`."""
    ranged = start is not None or end is not None
    if period is not None and ranged:
        raise InvalidParameter("Give either period or start and end, not both.", param="period")
    if period is not None:
        return month(period, zone=zone)
    if required and not ranged:
        raise InvalidParameter(
            "Give period=YYYY-MM, or start and end.", param="period", code="missing_parameter"
        )
    return unwindowed(start, end, zone=zone)
