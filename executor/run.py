"""What memory knows of a running task. It is forgotten at any doubt and read again from the store."""

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from executor.options import ModelOptions
from executor.pace import Cost
from executor.request import Request
from executor.result_files import ResultFiles
from executor.tasks import Task

if TYPE_CHECKING:
    from executor.lane import Attempt


class TaskRun:
    """The requests of one task that still want a final answer, and the files that take the answers.

    Belongs to the dispatch loop, except `files`, which the recorder writes, and `broken`, which it
    sets before it says so to the loop.
    """

    def __init__(
        self,
        task: Task,
        model: ModelOptions,
        files: ResultFiles,
        requests: Iterator[Request],
        done: int,
    ) -> None:
        self.task = task
        self.model = model
        self.files = files
        self.begun = time.monotonic()
        """The monotonic moment from which its speed is measured."""
        self.remaining = task.total - done
        """Requests without a committed outcome."""
        self.uncommitted = 0
        self.attempts: set[Attempt] = set()
        """Those under way."""
        self.doubted: set[Request] = set()
        """Requests whose last attempt failed and waits for a probe to tell whose fault it was."""
        self.broken: BaseException | None = None
        """Why what memory knows of this task may not be trusted any more."""
        self.stopped = False
        """No new attempt starts."""
        self.ends_by: datetime | None = None
        """When what is under way is given up, once the task is stopped for good."""
        self.changed = asyncio.Event()
        """Set when the run is settled, broken, drained, or the task's row should be looked at again."""
        self.started_at: datetime | None = task.started_at
        self.quiet_since: datetime | None = None
        """When its last request that was under way ended, or from when on it could have had one."""
        self.cost = Cost()
        """What its requests take at the upstreams."""
        self.on_later: Callable[[TaskRun, float], None] = _nobody_cares
        """Is told of every request that waits until a monotonic moment."""
        self._fresh = requests
        self._exhausted = False
        self._waiting: list[tuple[float, int, Request]] = []
        self._order = itertools.count()

    @property
    def settled(self) -> bool:
        """Whether every request has a committed outcome."""
        return self.remaining == 0

    @property
    def idle(self) -> bool:
        """Whether nothing of it is under way or on its way to the disk."""
        return not self.attempts and self.uncommitted == 0

    @property
    def pending(self) -> int:
        """Requests that are not under way now and have no outcome."""
        return max(0, self.remaining - self.uncommitted - len(self.attempts))

    @property
    def answered(self) -> bool:
        """Whether every request has its final answer, committed or not."""
        return self._exhausted and not (self.attempts or self._waiting or self.doubted)

    @property
    def lost_count(self) -> bool:
        """Whether the file held fewer requests than were counted: then nothing would ever end it."""
        return self.answered and self.uncommitted == 0 and not self.settled

    @property
    def pushed_back_since(self) -> float | None:
        """The monotonic moment since which a request waits because an upstream pushed it back; none if none does."""
        since = [request.pushed_back_since for _, _, request in self._waiting.copy()]
        return min((moment for moment in since if moment is not None), default=None)

    def next_request(self, now: float, *, fresh: bool) -> Request | None:
        """A request that waited long enough, else (if `fresh`) the next line; none if there is nothing now."""
        if self.stopped:
            return None
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        if self._exhausted or not fresh:
            return None
        try:
            request = next(self._fresh, None)
        except Exception as error:  # noqa: BLE001  (the input file was damaged; the task is read again)
            self.fail(error)
            return None
        self._exhausted = request is None
        return request

    def next_due(self) -> float | None:
        """The monotonic moment at which the first waiting request may go again."""
        return self._waiting[0][0] if self._waiting and not self.stopped else None

    def later(self, request: Request, due: float) -> None:
        """Keeps a request until the monotonic moment `due`."""
        heapq.heappush(self._waiting, (due, next(self._order), request))
        self.on_later(self, due)

    def stop(self) -> int:
        """No new attempt starts; returns the bytes of the requests that waited for one."""
        self.stopped = True
        size = sum(request.size for _, _, request in self._waiting)
        size += sum(request.size for request in self.doubted)
        self._waiting.clear()
        self.doubted.clear()
        return size

    def fail(self, error: BaseException) -> None:
        """Nothing that memory knows of this task is trusted any more."""
        self.broken = self.broken or error
        self.stopped = True
        self.changed.set()


def _nobody_cares(_run: TaskRun, _due: float) -> None: ...
