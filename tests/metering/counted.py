"""Doubles for the tests of statistics: tasks that ended at given moments through the real ending."""

import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from metering.event import Event
from metering.options import StatisticsOptions
from metering.statistics import Statistics
from metering.store import Store
from tests.metering.billed import NOON, StandingClock, book, end, ended, event, meter, open_store


class Night:
    """A store whose tasks end when the test says; time never goes back, so end them in order."""

    def __init__(self, folder: Path, now: datetime = NOON) -> None:
        self.store: Store = open_store(folder)
        self.clock = StandingClock(now)
        self._meter = meter(book(folder), self.clock)
        self._tasks = 0

    def task(self, ended_at: datetime, calls: Sequence[dict[str, Any]] = ({},), **task: Any) -> list[Event]:
        """Ends a task whose calls differ from a plain success as given."""
        self._tasks += 1
        value = ended(f"batch_{self._tasks:04}", **{"total": len(calls), **task})
        events = [event(value, line, **changes) for line, changes in enumerate(calls, 1)]
        now, self.clock.now = self.clock.now, ended_at
        end(self.store, self._meter, value, events)
        self.clock.now = now
        return events

    def statistics(self, **options: int) -> Statistics:
        return Statistics(self.store, StatisticsOptions(**options), self.clock)


def promtool(*arguments: str, stdin: bytes = b"") -> str:
    """Runs Prometheus's checker and gives what it says; it must find nothing wrong."""
    program = shutil.which("promtool")
    assert program, "promtool is part of Debian's package prometheus: apt-get install prometheus"
    done = subprocess.run([program, *arguments], input=stdin, capture_output=True, timeout=60)
    said = (done.stdout + done.stderr).decode()
    assert done.returncode == 0, said
    return said
