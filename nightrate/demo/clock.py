"""A clock that can be moved on: fifteen days pass in less than a minute."""

import time
from datetime import datetime, timedelta


class MovedClock:
    """Runs `pace` times as fast as the wall's, jumps ahead when it is told to, and stands still at `end`.

    It never goes back. Safe to read from any thread.
    """

    def __init__(self, start: datetime, end: datetime, pace: float) -> None:
        self._end = end
        self._pace = pace
        self._anchor = (start, time.monotonic())

    def __call__(self) -> datetime:
        """The present moment of the story."""
        moment, since = self._anchor
        return min(moment + timedelta(seconds=(time.monotonic() - since) * self._pace), self._end)

    def move_to(self, moment: datetime) -> None:
        """Jumps to a moment; one that has passed already changes nothing."""
        self._anchor = (max(moment, self()), time.monotonic())
