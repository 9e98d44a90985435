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
_REVIEWED_AT_ONCE = 500


class Scheduler:
    """The running tasks of one model."""

    def __init__(self) -> None:
        self._runs: dict[TaskRun, None] = {}
        self._shares = Shares()
        """All tasks, and those that were taken out with requests still under way: they take up room."""
        self._urgent: Shares | None = None
        """The tasks among them that would miss their deadline with an equal share, if there are any."""
        self._hurried: set[TaskRun] = set()
        self._overtaken = 0
        self._later: list[tuple[float, int, TaskRun]] = []
        """When requests that wait for their next attempt are due."""
        self._again: dict[TaskRun, None] = {}
        """Tasks that had a request become due; it may have been started since."""
        self._order = itertools.count()
        self._to_review: deque[TaskRun] = deque()
        self._in_flight = 0
        self._usage = Usage()
        self._last_cost = Cost()
        """What the requests of the task take that ended one last: the best guess for a new task."""

    def add(self, run: TaskRun, at: datetime) -> None:
        """Lets a task take part; `at` is the time of day, which its deadline is compared with."""
        self._runs[run] = None
        self._shares.add(run)
        run.on_later = self._wait
        self._to_review.append(run)
        self._judge(run, at)

    def remove(self, run: TaskRun) -> None:
        """Takes a task out; nothing happens if it isn't in."""
        if run not in self._runs:
            return
        del self._runs[run]
        self._again.pop(run, None)
        self._calm(run)
        if self._shares.in_flight(run):
            self._shares.rest(run)
        else:
            self._shares.drop(run)

    def runs(self) -> list[TaskRun]:
        """All tasks that take part."""
        return list(self._runs)

    def urgent(self, run: TaskRun) -> bool:
        """Whether a task goes first, since it would miss its deadline."""
        return run in self._hurried

    # -- starting and ending -----------------------------------------------------------------------

    def next(self, now: float, *, fresh: bool) -> tuple[TaskRun, Request] | None:
        """The next request, which counts as under way from now on.

        With `fresh` false only requests that were read before, since there is no room for more bodies.
        """
        if self._later and self._later[0][0] <= now:
            self._wake_due(now)
        if not fresh:
            return self._next_again(now)
        if self._urgent is None:
            return self._next_of(self._shares, now)
        if self._overtaken < _OVERTAKEN_MOST and (chosen := self._next_of(self._urgent, now)) is not None:
            self._overtaken += 1
            return chosen
        self._overtaken = 0
        return self._next_of(self._shares, now)

    def ended(self, run: TaskRun, seconds: float, *, finished: bool) -> None:
        """A request is no longer under way after so many seconds; `finished` if it needs no other attempt."""
        run.cost.attempt(seconds, finished=finished)
        self._last_cost = run.cost
        self._in_flight -= 1
        self._shares.ended(run, seconds)
        if self._urgent is not None:
            self._urgent.ended(run, seconds)
        if run not in self._runs and not self._shares.in_flight(run):
            self._shares.drop(run)

    def _next_of(self, shares: Shares, now: float) -> tuple[TaskRun, Request] | None:
        while (run := shares.first()) is not None:
            request = run.next_request(now, fresh=True)
            if request is not None:
                self._started(run, shares)
                return run, request
            self._shares.rest(run)
            if self._urgent is not None:
                self._urgent.rest(run)
        return None

    def _next_again(self, now: float) -> tuple[TaskRun, Request] | None:
        """In the order in which they became due: their bodies were let in by equal shares before."""
        while self._again:
            run = next(iter(self._again))
            request = run.next_request(now, fresh=False)
            if request is not None:
                self._started(run, None)
                return run, request
            del self._again[run]
        return None

    def _started(self, run: TaskRun, turn: Shares | None) -> None:
        self._in_flight += 1
        self._shares.started(run, in_turn=turn is self._shares)
        if self._urgent is not None:
            self._urgent.started(run, in_turn=turn is self._urgent)

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
                if self._urgent is not None:
                    self._urgent.wake(run)

    # -- deadlines -------------------------------------------------------------------------------------

    def review(self, at: datetime) -> None:
        """Finds out which tasks would miss their deadline; of very many, each time only some.

        To be called about once a second.
        """
        self._usage.look(self._in_flight)
        for _ in range(min(len(self._to_review), _REVIEWED_AT_ONCE)):
            run = self._to_review.popleft()
            if run in self._runs:
                self._to_review.append(run)
                self._judge(run, at)

    def _judge(self, run: TaskRun, at: datetime) -> None:
        cost = run.cost.seconds or self._last_cost.seconds
        part = self._shares.part_of(run)
        if not cost or part is None:
            return  # nothing is known yet, or there is nothing that could go first
        left = (run.task.expires_at - at).total_seconds()
        places = (self._usage.average or self._in_flight) * part
        if would_miss(run.remaining - run.uncommitted, cost, places, left):
            self._hurry(run)
        else:
            self._calm(run)

    def _hurry(self, run: TaskRun) -> None:
        if run not in self._hurried:
            self._hurried.add(run)
            self._urgent = self._urgent or Shares()
            self._urgent.add(run, self._shares.in_flight(run))

    def _calm(self, run: TaskRun) -> None:
        if self._urgent is not None and run in self._hurried:
            self._hurried.discard(run)
            self._urgent.drop(run)
            if not self._hurried:
                self._urgent = None
