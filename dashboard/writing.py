"""How values are written: counts, times, durations, money. Pure; what is missing is a dash."""

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any
from zoneinfo import ZoneInfo

NONE = "—"
CENT = Decimal("0.01")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def count(value: Any) -> str:
    """1204332 → 1,204,332."""
    return NONE if value is None else f"{int(value):,}"


def compact(value: Any) -> str:
    """812400000 → 812.4M; below ten thousand in full."""
    if value is None:
        return NONE
    number = float(value)
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(number) >= size:
            return f"{number / (1e3 if letter == 'k' else size):.1f}{letter}"
    return f"{int(value):,}"


def number(value: Any, digits: int = 1) -> str:
    """A figure with few decimals: 3120.4 → 3,120.4."""
    return NONE if value is None else f"{float(value):,.{digits}f}"


def share(value: Any) -> str:
    """A share of one as per cent: 0.004 → 0.40 %."""
    return NONE if value is None else f"{float(value) * 100:.2f} %"


def duration(milliseconds: Any) -> str:
    """2310 → 2.31 s; below a second in milliseconds, above two minutes in minutes, above two hours in hours."""
    if milliseconds is None:
        return NONE
    ms = float(milliseconds)
    if ms < 1000:
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.2g} ms"
    if ms < 120_000:
        return f"{ms / 1000:.2f} s"
    return f"{ms / 60_000:.1f} min" if ms < 7_200_000 else f"{ms / 3_600_000:.1f} h"


def money(amount: Any, currency: str | None = None) -> str:
    """To the cent; an amount below a cent keeps two figures, so that it isn't written as nothing.

    Currency and number are kept on one line by a space that does not break.
    """
    if amount is None:
        return NONE
    exact = Decimal(str(amount))
    step = CENT
    if exact and abs(exact) < CENT:
        step = Decimal(1).scaleb(exact.adjusted() - 1)
    text = f"{exact.quantize(step, ROUND_HALF_EVEN):,f}"
    return f"{currency}\u00a0{text}" if currency else text


def exact(value: Any) -> str:
    """The whole value as the API gives it, without trailing zeros after the point."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.isoformat()
    if not isinstance(value, Decimal):
        return str(value)
    text = format(value, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def price(amount: Any) -> str:
    """A price per million tokens, in full."""
    return NONE if amount is None else exact(Decimal(str(amount)))


def moment(at: datetime | None, zone: ZoneInfo) -> str:
    """22 Nov 2026, 14:05:09 in the zone."""
    if at is None:
        return NONE
    here = at.astimezone(zone)
    return f"{here.day} {MONTHS[here.month - 1]} {here.year}, {here:%H:%M:%S}"


def short_moment(at: datetime | None, now: datetime, zone: ZoneInfo) -> str:
    """14:05 today, else 22 Nov 14:05, with the year if it is another one."""
    if at is None:
        return NONE
    here, today = at.astimezone(zone), now.astimezone(zone)
    if here.date() == today.date():
        return f"{here:%H:%M}"
    year = f" {here.year}" if here.year != today.year else ""
    return f"{here.day} {MONTHS[here.month - 1]}{year} {here:%H:%M}"


def size(count_of_bytes: int) -> str:
    """1536 → 1.5 kB."""
    number = float(count_of_bytes)
    for unit in ("bytes", "kB", "MB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} GB"


def month(period: str) -> str:
    """2026-11 → Nov 2026."""
    return f"{MONTHS[int(period[5:7]) - 1]} {period[:4]}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """1 task, 2 tasks."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"
