"""Ended tasks by the hour of their end. An hour that is over never changes, so what was read of it is kept.

An hour is over once the ledger's clock, which never goes back, has passed it in the reader's snapshot: whatever
ends later is dated later. The hour in which that clock stands is read anew once there are more rollups, which are
never removed; later hours are empty.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from metering.ended_tasks import EndedTasks, Owners
from metering.store import Reader

_HOUR_US = 3_600_000_000
_READ_HOURS = 24
"""Read at once."""


class State(NamedTuple):
    """What tells two states of the rollups apart."""

    hour: int
    """In which the ledger's clock stands."""
    tasks: int
    """How many rollups there are."""


class EndedHours:
    """Keeps the hours that were asked for last, up to `cache_bytes` beside the one that runs. May be used from any thread."""

    def __init__(self, cache_bytes: int) -> None:
        self._cache_bytes = cache_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, EndedTasks] = OrderedDict()
        self._kept_bytes = 0
        self._running: tuple[State, EndedTasks] | None = None
        self.owners = Owners()
        """Whose tasks there are."""

    def within(self, read: Reader, start: datetime, end: datetime) -> "Within":
        """The tasks that ended in [start, end) in the reader's snapshot."""
        return Within(self, read, microseconds(start), microseconds(end))

    def kept(self, hours: range, state: State) -> dict[int, EndedTasks]:
        """What is kept of some hours, the last of which may still run in this state."""
        with self._lock:
            found = {hour: self._kept[hour] for hour in hours if hour < state.hour and hour in self._kept}
            for hour in found:
                self._kept.move_to_end(hour)
            if self._running is not None and self._running[0] == state and state.hour in hours:
                found[state.hour] = self._running[1]
            return found

    def keep_running(self, state: State, tasks: EndedTasks) -> None:
        """Keeps the hour that runs in this state instead of what it was in another."""
        with self._lock:
            if tasks.size_bytes <= self._cache_bytes:
                self._running = state, tasks

    def keep(self, hour: int, tasks: EndedTasks) -> None:
        """Keeps an hour that is over, if there is room for it at all; those not asked for longest give way."""
        size = tasks.size_bytes
        with self._lock:
            if hour in self._kept or size > self._cache_bytes:
                return
            self._kept[hour] = tasks
            self._kept_bytes += size
            while self._kept_bytes > self._cache_bytes:
                self._kept_bytes -= self._kept.popitem(last=False)[1].size_bytes


class Within:
    """Ended tasks of a range, in parts of at most an hour; each loop goes over the same tasks, the first first."""

    def __init__(self, hours: EndedHours, read: Reader, start_us: int, end_us: int) -> None:
        self._hours, self._read = hours, read
        self._start_us, self._end_us = start_us, end_us
        self._state = State(**read.query("statistics.state")[0])

    def __iter__(self) -> Iterator[EndedTasks]:
        first, last = self._start_us // _HOUR_US, (self._end_us - 1) // _HOUR_US
        end = min(last, self._state.hour) + 1
        found = self._hours.kept(range(first, end), self._state)
        for hour in range(first, end):
            if hour not in found:
                found |= self._read_anew(hour, next((h for h in range(hour, end) if h in found), end))
            tasks = found.pop(hour)
            if len(tasks.owners):
                yield self._cut(tasks) if hour in (first, last) else tasks

    def _cut(self, tasks: EndedTasks) -> EndedTasks:
        return tasks.between(self._start_us, self._end_us)

    def _read_anew(self, first: int, end: int) -> dict[int, EndedTasks]:
        """The hours from `first` to before `end`, or as many of them as are read at once."""
        end = min(end, first + _READ_HOURS)
        rows = self._read.table("statistics.tasks", start=_moment(first), end=_moment(end))
        read = EndedTasks.read(rows, self._hours.owners)
        found = {hour: read.between(hour * _HOUR_US, (hour + 1) * _HOUR_US) for hour in range(first, end)}
        for hour, tasks in found.items():
            if hour < self._state.hour:
                self._hours.keep(hour, tasks)
            else:
                self._hours.keep_running(self._state, tasks)
        return found


def microseconds(at: datetime) -> int:
    """A whole second since 1970 in microseconds."""
    return int(at.timestamp()) * 1_000_000


def _moment(hour: int) -> datetime:
    return datetime.fromtimestamp(hour * 3600, UTC)
