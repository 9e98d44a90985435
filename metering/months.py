"""Calendar months as texts, `YYYY-MM`, which sort as they follow each other. Pure."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo


def month_of(at: datetime, zone: ZoneInfo) -> str:
    """The month of a moment in a zone."""
    return at.astimezone(zone).strftime("%Y-%m")


def month_after(period: str) -> str:
    """The month that follows."""
    year, number = int(period[:4]), int(period[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def month_before(period: str) -> str:
    """The month that goes before."""
    year, number = int(period[:4]), int(period[5:])
    return f"{year - (number == 1):04d}-{(number - 2) % 12 + 1:02d}"


def months_between(first: str, last: str) -> Iterator[str]:
    """All months from the first to the last, both inclusive."""
    while first <= last:
        yield first
        first = month_after(first)
