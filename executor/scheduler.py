"""Whose request is next: equal shares of what is under way, and first who would come too late.

Why it is so stands in docs/decisions/0008. Pure: moments are arguments, `now` is monotonic seconds.
"""

import heapq
import itertools
from collections import deque
from datetime import datetime

from executor.pace import Cost, Usage, would_miss
from executor.request import Request
from executor.run import TaskRun
from executor.shares import Shares

_OVERTAKEN_MOST = 3
"""After so many requests that went first, one goes by equal shares, so that nobody stands still."""
_REVIEWED_AT_ONCE = 1000


class Scheduler:
    """The running tasks of one model."""

    def __init__(self) -> None:
        self._runs: dict[TaskRun, None] = {}
        self._shares = Shares()
        """All tasks, and those that were taken out with requests still under way: they take up room."""
        self._urgent = Shares()
        """The tasks among them that would miss their deadline with an equal share."""
        self._overtaken = 0
        self._later: list[tuple[float, int, TaskRun]] = []
        """When requests that wait for their next attempt are due."""
        self._again: dict[TaskRun, None] = {}
        """Tasks that had a request become due; it may have been started since."""
        self._order = itertools.count()
        self._to_review: deque[TaskRun] = deque()
        self._cost = Cost()
        self._usage = Usage()

    def add(self, run: TaskRun, now: float, at: datetime) -> None:
        """Lets a task take part; `at` is the time of day, which its deadline is compared with."""
        self._runs[run] = None
        self._shares.add(run, now)
        run.on_later = self._wait
        self._to_review.append(run)
        self._judge(run, now, at)

    def remove(self, run: TaskRun, now: float) -> None:
        """Takes a task out; nothing happens if it isn't in."""
        if run not in self._runs:
            return
        del self._runs[run]
        self._again.pop(run, None)
        self._urgent.drop(run, now)
        if self._shares.in_flight(run):
            self._shares.rest(run)
        else:
            self._shares.drop(run, now)

    def runs(self) -> list[TaskRun]:
        """All tasks that take part."""
        return list(self._runs)

    def urgent(self, run: TaskRun) -> bool:
        """Whether a task goes first, since it would miss its deadline."""
        return run in self._urgent

    # -- starting and ending -----------------------------------------------------------------------

    def next(self, now: float, *, fresh: bool) -> tuple[TaskRun, Request] | None:
        """The next request, which counts as under way from now on.

        With `fresh` false only requests that were read before, since there is no room for more bodies.
        """
        if self._later and self._later[0][0] <= now:
            self._wake_due(now)
        if not fresh:
            return self._next_again(now)
        urgent_first = self._overtaken < _OVERTAKEN_MOST
        if urgent_first and len(self._urgent) and (chosen := self._next_of(self._urgent, now)) is not None:
            self._overtaken += 1
            return chosen
        self._overtaken = 0
        return self._next_of(self._shares, now)

    def ended(self, run: TaskRun, begun: float, now: float, *, finished: bool) -> None:
        """A request that began at `begun` is no longer under way; `finished` if it needs no other attempt."""
        run.cost.attempt(now - begun, finished=finished)
        self._cost.attempt(now - begun, finished=finished)
        self._usage.changed(-1, now)
        self._shares.ended(run, now)
        if len(self._urgent):
            self._urgent.ended(run, now)
        if run not in self._runs and not self._shares.in_flight(run):
            self._shares.drop(run, now)

    def _next_of(self, shares: Shares, now: float) -> tuple[TaskRun, Request] | None:
        while (run := shares.first()) is not None:
            request = run.next_request(now, fresh=True)
            if request is not None:
                self._started(run, now, shares)
                return run, request
            self._shares.rest(run)
            self._urgent.rest(run)
        return None

    def _next_again(self, now: float) -> tuple[TaskRun, Request] | None:
        """In the order in which they became due: their bodies were let in by equal shares before."""
        while self._again:
            run = next(iter(self._again))
            request = run.next_request(now, fresh=False)
            if request is not None:
                self._started(run, now, None)
                return run, request
            del self._again[run]
        return None

    def _started(self, run: TaskRun, now: float, turn: Shares | None) -> None:
        self._usage.changed(1, now)
        self._shares.started(run, now, in_turn=turn is self._shares)
        if len(self._urgent):
            self._urgent.started(run, now, in_turn=turn is self._urgent)

    # -- requests that wait for their next attempt -----------------------------------------------------

    def next_due(self) -> float | None:
        """The first monotonic moment at which a waiting request may go again."""
        while self._later and self._later[0][2] not in self._runs:
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def _wait(self, run: TaskRun, due: float) -> None:
        heapq.heappush(self._later, (due, next(self._order), run))

    def _wake_due(self, now: float) -> None:
        while self._later and self._later[0][0] <= now:
            run = heapq.heappop(self._later)[2]
            if run in self._runs:
                self._again[run] = None
                self._shares.wake(run)
                self._urgent.wake(run)

    # -- deadlines -------------------------------------------------------------------------------------

    def review(self, now: float, at: datetime) -> None:
        """Finds out which tasks would miss their deadline; of very many, each time only some."""
        for _ in range(min(len(self._to_review), _REVIEWED_AT_ONCE)):
            run = self._to_review.popleft()
            if run in self._runs:
                self._to_review.append(run)
                self._judge(run, now, at)

    def _judge(self, run: TaskRun, now: float, at: datetime) -> None:
        cost = self._cost.seconds if run.cost.seconds is None else run.cost.seconds
        part = self._shares.part_of(run)
        if cost is None or part is None:
            return  # nothing is known yet, or there is nothing that could go first
        left = (run.task.expires_at - at).total_seconds()
        places = self._usage.average * part
        if not would_miss(run.remaining - run.uncommitted, cost, places, left):
            self._urgent.drop(run, now)
        elif run not in self._urgent:
            self._urgent.add(run, now, self._shares.in_flight(run))
