"""The life of one task, from wherever the store says it is to its end.

Each turn reads the task's row and does what its state asks for: validate, run, end. Nothing is
remembered between turns, so that a restart, a failed commit and a cancel are all just another turn.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, TypeVar

from executor.dispatch import Dispatcher
from executor.endings import Endings
from executor.intake import Intake
from executor.models import ModelCatalog
from executor.options import ExecutorOptions
from executor.recorder import Recorder
from executor.recovery import LinesLost, Recovery, StorageLost
from executor.run import TaskRun
from executor.tasks import Ending, Task, task_of
from executor.validation import InputChanged
from metering.clock import Clock
from metering.store import Store, StoreClosed, StoreError

T = TypeVar("T")
log = logging.getLogger("nightrate.life")

WaitReason = Literal["queue", "outage", "rate_limit", "disk", "model_gone", "ending_failed"]

PARKED_SECONDS = 60.0
"""After this long a parked task is tried again."""
_LONGEST_SLEEP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a task does not move (SPEC §3.1)."""

    reason: WaitReason
    since: datetime
    upstream: str | None = None


@dataclass(frozen=True, slots=True)
class Tools:
    """What every life needs, made once by the engine."""

    store: Store
    catalog: ModelCatalog
    dispatcher: Dispatcher
    recorder: Recorder
    recovery: Recovery
    intake: Intake
    endings: Endings
    options: ExecutorOptions
    clock: Clock
    threads: Executor
    validations: asyncio.Semaphore
    on_storage_failure: Callable[["TaskLife", BaseException], Awaitable[None]]
    """Returns when work may be tried again."""
    on_restored: Callable[["TaskLife"], None]
    on_ended: Callable[[Task], None]


class TaskLife:
    """Walks one task through its states on the dispatch loop."""

    def __init__(self, task_id: str, tools: Tools) -> None:
        self.task_id = task_id
        self.run: TaskRun | None = None
        self.waiting: Waiting | None = None
        self.created_at: datetime | None = None
        self._tools = tools
        self._failures = 0
        self._looked = asyncio.Event()
        self._stop_validation = threading.Event()

    def look(self) -> None:
        """The task's row has changed: a cancel was asked for."""
        self._looked.set()
        self._stop_validation.set()
        if self.run is not None:
            self.run.changed.set()

    async def live(self) -> None:
        """Returns when the task is settled; storage failures are waited out, other faults park it."""
        while True:
            try:
                if await self._turn():
                    return
                self._failures = 0
            except (LinesLost, StorageLost):
                continue  # the next turn finds out what that means
            except (OSError, StoreError, InputChanged) as error:
                if isinstance(error, StoreClosed):
                    return
                await self._tools.on_storage_failure(self, error)
                await asyncio.sleep(self._seconds_after_failure())
            except Exception:
                log.exception("%s is parked: its next step failed", self.task_id)
                self._tools.on_restored(self)
                self._wait_for("ending_failed")
                await self._sleep(PARKED_SECONDS)

    async def _turn(self) -> bool:
        self._looked.clear()
        self._stop_validation.clear()
        row = await self._thread(lambda: self._tools.store.one("engine.task", id=self.task_id))
        if row is None:
            return True
        task = task_of(row)
        self.created_at = task.created_at
        if task.settled:
            self._tools.on_restored(self)
            if self._failures:  # it ended in a step whose outcome was unknown
                self._tools.on_ended(task)
            return True
        if task.ending is not None:
            await self._end(task)
        elif task.status == "validating":
            await self._validate(task)
        else:
            await self._execute(task)
        return False

    # -- the three things that can be next ------------------------------------------------------------

    async def _validate(self, task: Task) -> None:
        self._tools.on_restored(self)
        self._wait_for("queue")
        async with self._tools.validations:
            self.waiting = None
            settled = await self._thread(lambda: self._tools.intake.validate(task, self._stop_validation))
        if settled is not None:
            self._tools.on_ended(settled)

    async def _execute(self, task: Task) -> None:
        model = self._tools.catalog.get(task.model or "")
        if model is None:
            self._tools.on_restored(self)
            await self._without_model(task)
            return
        try:
            run = await self._thread(lambda: self._tools.recovery.run_of(task, model))
        except StorageLost as lost:
            await self._lose(task, str(lost))
            return
        self.run, self.waiting = run, None
        self._tools.on_restored(self)
        try:
            await self._work(task, run)
        finally:
            self._tools.dispatcher.remove(run)
            self._tools.dispatcher.give_up(run)
            self.run = None
            await self._drained(run, None)
            run.files.close()
        if run.broken is not None:
            raise run.broken

    async def _work(self, task: Task, run: TaskRun) -> None:
        """Until every request is done, the window is over, a cancel came, or the run broke."""
        if self._seconds_left(task) > 0:
            self._tools.dispatcher.add(run)
        while not (run.settled or run.broken or self._looked.is_set()):
            if run.lost_count:
                await self._thread(lambda: self._tools.recovery.input_path(task))  # or it was cut short
                raise RuntimeError(f"{task.id}: the input file holds fewer requests than were counted")
            if self._seconds_left(task) <= 0:
                break
            await self._changed(run, self._seconds_left(task))
        if run.broken:
            return
        grace = self._tools.options.cancel_grace_seconds
        run.ends_by = self._tools.clock() + timedelta(seconds=grace)
        if not self._looked.is_set():
            ending: Ending = "completed" if run.settled else "expired"
            await self._thread(lambda: self._tools.endings.claim(task, ending))
        self._tools.dispatcher.remove(run)
        await self._drained(run, grace)

    async def _end(self, task: Task) -> None:
        self._tools.on_restored(self)
        try:
            await self._thread(lambda: self._tools.endings.end(task))
        except StorageLost as lost:
            await self._lose(task, str(lost))
            return
        self.waiting = None
        self._tools.on_ended(task)

    async def _lose(self, task: Task, reason: str) -> None:
        log.error("%s failed: %s", task.id, reason)
        await self._thread(lambda: self._tools.endings.lose(task, reason))
        self._tools.on_ended(replace(task, ending=None))

    async def _without_model(self, task: Task) -> None:
        """Its model is no longer in the settings: it waits for it until its window ends."""
        self._wait_for("model_gone")
        await self._sleep(self._seconds_left(task))
        if self._seconds_left(task) <= 0:
            await self._thread(lambda: self._tools.endings.claim(task, "expired"))

    # -- waiting -----------------------------------------------------------------------------------

    async def _drained(self, run: TaskRun, seconds: float | None) -> None:
        """Until nothing of the run is under way; after `seconds` what is still there is given up."""
        deadline = None if seconds is None else asyncio.get_running_loop().time() + seconds
        while not run.idle:
            left = None if deadline is None else deadline - asyncio.get_running_loop().time()
            if left is not None and left <= 0:
                self._tools.dispatcher.give_up(run)
                deadline = None
            self._tools.recorder.hurry()
            await self._changed(run, left if deadline is not None else None)

    async def _changed(self, run: TaskRun, seconds: float | None) -> None:
        """Until something about the run changed, or the seconds are over."""
        try:
            async with asyncio.timeout(seconds and min(seconds, _LONGEST_SLEEP_SECONDS)):
                await run.changed.wait()
        except TimeoutError:
            return
        run.changed.clear()

    async def _sleep(self, seconds: float) -> None:
        """Until the row is to be looked at, or the seconds are over."""
        try:
            async with asyncio.timeout(min(seconds, _LONGEST_SLEEP_SECONDS)):
                await self._looked.wait()
        except TimeoutError:
            return

    def _seconds_after_failure(self) -> float:
        """Doubles while nothing gets better: each new start may ask some requests again."""
        options = self._tools.options
        self._failures += 1
        doubled = options.recovery_first_seconds * 2.0 ** min(self._failures - 1, 30)
        return min(doubled, options.recovery_longest_seconds)

    def _seconds_left(self, task: Task) -> float:
        return (task.expires_at - self._tools.clock()).total_seconds()

    def _wait_for(self, reason: WaitReason) -> None:
        if self.waiting is None or self.waiting.reason != reason:  # else it has waited for that all along
            self.waiting = Waiting(reason, self._tools.clock())

    async def _thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._tools.threads, work)
