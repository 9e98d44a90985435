"""Whose request is next: equal shares of what is under way, and first who would come too late.

Why it is so stands in docs/decisions/0009. Pure: moments are arguments, `now` is monotonic seconds.
"""

import heapq
import itertools
from collections import deque
from datetime import datetime

from executor.pace import Cost, Usage, would_miss
from executor.request import Request
from executor.run import TaskRun
from executor.shares import Shares

_FIRST_TO_REST = 3.0
"""Who goes first gets at most so many times the room of all that goes by equal shares: nobody stands still."""
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
        self._ahead = 0.0
        """Seconds of requests that went first, less what the rest had for them; above 0 it's the rest's turn."""
        self._later: list[tuple[float, int, TaskRun]] = []
        """When requests that wait for their next attempt are due."""
        self._again: dict[TaskRun, None] = {}
        """Tasks that had a request become due; it may have been started since."""
        self._order = itertools.count()
        self._to_review: deque[TaskRun] = deque()
        self._in_flight = 0
        self._request_seconds = 0.0
        """How long requests were under way, in sum, until `_counted` and since the last review."""
        self._counted = 0.0
        self._reviewed: float | None = None
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
        if self._ahead <= 0 and (chosen := self._next_of(self._urgent, now)) is not None:
            self._ahead += self._cost_of(chosen[0])
            return chosen
        if (chosen := self._next_of(self._shares, now)) is not None:
            cost = _FIRST_TO_REST * self._cost_of(chosen[0])
            self._ahead = max(self._ahead - cost, -cost)
        return chosen

    def ended(self, run: TaskRun, begun: float, now: float, *, finished: bool) -> None:
        """A request that began at `begun` is no longer under way; `finished` if it needs no other attempt."""
        seconds = now - begun
        run.cost.attempt(seconds, finished=finished)
        self._last_cost = run.cost
        self._count(-1, now)
        self._shares.ended(run, seconds)
        if self._urgent is not None:
            self._urgent.ended(run, seconds)
        if run not in self._runs and not self._shares.in_flight(run):
            self._shares.drop(run)

    def _next_of(self, shares: Shares, now: float) -> tuple[TaskRun, Request] | None:
        while (run := shares.first()) is not None:
            request = run.next_request(now, fresh=True)
            if request is not None:
                self._started(run, now, shares)
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
                self._started(run, now, None)
                return run, request
            del self._again[run]
        return None

    def _started(self, run: TaskRun, now: float, turn: Shares | None) -> None:
        self._count(1, now)
        self._shares.started(run, in_turn=turn is self._shares)
        if self._urgent is not None:
            self._urgent.started(run, in_turn=turn is self._urgent)

    def _count(self, more: int, now: float) -> None:
        self._request_seconds += self._in_flight * (now - self._counted)
        self._counted = now
        self._in_flight += more

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

    def review(self, now: float, at: datetime) -> None:
        """Finds out which tasks would miss their deadline; of very many, each time only some.

        To be called about once a second.
        """
        self._count(0, now)
        if self._reviewed is not None and now > self._reviewed and (self._in_flight or self._shares.waiting):
            self._usage.look(self._request_seconds / (now - self._reviewed))
        self._reviewed, self._request_seconds = now, 0.0
        for _ in range(min(len(self._to_review), _REVIEWED_AT_ONCE)):
            run = self._to_review.popleft()
            if run in self._runs:
                self._to_review.append(run)
                self._judge(run, at)

    def _judge(self, run: TaskRun, at: datetime) -> None:
        cost = self._cost_of(run)
        part = self._shares.part_of(run)
        if not cost or part is None:
            return  # nothing is known yet, or there is nothing that could go first
        left = (run.task.expires_at - at).total_seconds()
        places = (self._usage.average or self._in_flight) * part
        if would_miss(run.remaining - run.uncommitted, cost, places, left):
            self._hurry(run)
        else:
            self._calm(run)

    def _cost_of(self, run: TaskRun) -> float:
        return run.cost.seconds or self._last_cost.seconds

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
