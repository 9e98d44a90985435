"""A scheduler at work on an upstream that is only counted: requests take given times, and end in order."""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

from executor.request import Request
from executor.run import TaskRun
from executor.scheduler import Scheduler

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def run_of(
    name: str, workspace: str = "w", requests: int = 100_000, window: timedelta = timedelta(days=365)
) -> TaskRun:
    """A running task of so many requests, without files."""
    task = SimpleNamespace(
        id=name, workspace_id=workspace, total=requests, started_at=None, expires_at=BEGIN + window
    )
    lines = (Request(number, f"r{number}", b"{}") for number in range(1, requests + 1))
    return TaskRun(cast(Any, task), cast(Any, None), cast(Any, None), lines, 0)


class World:
    """So many places; `seconds(run)` is how long a request takes. Time goes on from answer to answer."""

    def __init__(self, places: int, seconds: Callable[[TaskRun], float] = lambda _: 1.0) -> None:
        self.scheduler = Scheduler()
        self.places = places
        self.seconds = seconds
        self.now = 0.0
        self.fresh = True
        self.started: list[TaskRun] = []
        self.ended: Counter[TaskRun] = Counter()
        self.used: Counter[TaskRun] = Counter()
        """Seconds that requests of a task were under way, in sum."""
        self.under_way: list[tuple[float, int, float, TaskRun, Request]] = []
        self.again: Callable[[TaskRun, Request], float | None] = lambda _run, _request: None
        """When a request that ended is to be asked again; none if it is done."""
        self._order = itertools.count()
        self._reviewed = 0.0

    def add(self, *runs: TaskRun) -> None:
        for run in runs:
            self.scheduler.add(run, self.at)

    @property
    def at(self) -> datetime:
        return BEGIN + timedelta(seconds=self.now)

    def in_flight(self) -> Counter[TaskRun]:
        return Counter(run for _, _, _, run, _ in self.under_way)

    def fill(self) -> None:
        """Starts what may start."""
        while len(self.under_way) < self.places:
            chosen = self.scheduler.next(self.now, fresh=self.fresh)
            if chosen is None:
                return
            run, request = chosen
            self.started.append(run)
            end = self.now + self.seconds(run)
            heapq.heappush(self.under_way, (end, next(self._order), self.now, run, request))

    def step(self) -> bool:
        """Fills the places and lets one request end; false if nothing is under way or due."""
        self.fill()
        due = self.scheduler.next_due() if len(self.under_way) < self.places else None
        if due is not None and (not self.under_way or due < self.under_way[0][0]):
            self.now = max(self.now, due)
            return True
        if not self.under_way:
            return False
        end, _, begun, run, request = heapq.heappop(self.under_way)
        self.now = max(self.now, end)
        due = self.again(run, request)
        if due is None:
            run.remaining -= 1
            self.ended[run] += 1
        else:
            run.later(request, due)
        self.used[run] += end - begun
        self.scheduler.ended(run, begun, self.now, finished=due is None)
        if self.now - self._reviewed >= 1:
            self._reviewed = self.now
            self.scheduler.review(self.now, self.at)
        return True

    def until(self, seconds: float) -> None:
        while self.now < seconds and self.step():
            pass

    def sums(self, runs: Iterable[TaskRun]) -> list[float]:
        return [self.used[run] for run in runs]
