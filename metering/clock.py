"""The wall clock as an argument, so that tests and the demo can move it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Gives the present moment as an aware UTC datetime."""


def utc_now() -> datetime:
    """The machine's wall clock."""
    return datetime.now(UTC)
