"""The executor as one thing: start it, wake it when a task is new or changed, ask what it does, stop it.

It has a thread with an event loop of its own, so that dispatch and the web API don't wait for each
other; the recorder is a second thread, and slow disk work runs in a small pool.
"""

import asyncio
import contextlib
import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import uvloop

from executor.assembly import EngineParts, attempts_of, lanes_of, tools_of
from executor.dispatch import Dispatcher
from executor.life import TaskLife
from executor.live import Live, LiveView, Speeds
from executor.recorder import BatchDone, Recorder
from executor.storage import StorageGate, check_storage
from executor.tasks import Task

__all__ = ["Engine", "EngineParts", "Live"]

log = logging.getLogger("nightrate.engine")

_TICK_SECONDS = 1.0
_DISK_THREADS = 8


class Engine:
    """Runs every task that isn't settled."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._lives: dict[str, TaskLife] = {}
        self._life_tasks: dict[str, asyncio.Task[None]] = {}
        self._recovering: dict[str, str] = {}
        self._speeds = Speeds()
        self._reason = "starting"
        self._recorder = Recorder(
            parts.store,
            parts.options,
            parts.faults,
            on_done=lambda done: self._soon(lambda: self._on_done(done)),
            on_seconds=parts.instruments.commit,
        )
        self._attempts = attempts_of(parts)
        lanes = lanes_of(parts, self._attempts)
        self._dispatcher = Dispatcher(lanes, self._recorder, parts.options, parts.instruments, parts.clock)
        self._threads = ThreadPoolExecutor(_DISK_THREADS, "engine-disk")
        self._storage = StorageGate(
            lambda: check_storage(parts.store, parts.data_dir), self._threads, self._sound_again
        )
        self._tools = tools_of(parts, self._dispatcher, self._recorder, self._threads, self)
        self.view = LiveView(parts.store, self._recorder, lanes, self._lives, self._speeds, parts.clock)
        """What it does now, in figures."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)

    # -- for everyone, from any thread -----------------------------------------------------------------

    def start(self) -> None:
        """Begins with every task that isn't settled; returns when they have been found."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Starts nothing more, waits `shutdown_grace_seconds` for what is under way, commits, ends."""
        if self._thread.is_alive():
            self._soon(self._stopping.set)
            self._thread.join()

    def wake(self, task_id: str) -> None:
        """A task is new, or its row has changed."""
        self._soon(lambda: self._look(task_id))

    def ready(self) -> tuple[bool, str]:
        """Whether work goes on, and if not, why."""
        if self._reason:
            return False, self._reason
        if failed := self._storage.reason or self._parts.store.trouble:
            return False, f"the storage failed: {failed}"
        if trouble := self._attempts.trouble:
            return False, f"no request can be sent: {trouble}"
        reasons = list(self._recovering.values())
        if reasons:
            return False, f"recovering {len(reasons)} tasks: {reasons[0]}"
        if self.view.disk_full_since is not None:
            return False, f"the disk has less than {self._parts.min_free_bytes} bytes free: dispatch pauses"
        return True, "ready"

    def live(self, task_id: str) -> Live | None:
        """Speed, estimated end and why it waits, of a task that isn't settled."""
        return self.view.live(task_id)

    # -- the loop's thread -------------------------------------------------------------------------

    def _soon(self, call: Callable[[], None]) -> None:
        """Runs something on the loop. Without one it is not needed: a start reads every row."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            try:
                runner.run(self._main())
            except Exception:
                log.exception("the engine stopped")
                self._reason = "the engine stopped after an internal error; see the log"
            finally:
                self._started.set()

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._recorder.start()
        self._attempts.start(self._attempts_changed)
        self._attempts_changed()
        with self._threads:
            rows = await self._loop.run_in_executor(
                self._threads, lambda: self._parts.store.query("engine.unsettled")
            )
            self._recovering.update((row["id"], "starting") for row in rows)
            self._reason = ""
            for row in rows:
                self._look(row["id"])
            self._started.set()
            ticks = self._loop.create_task(self._tick())
            await self._stopping.wait()
            ticks.cancel()
            await self._finish()
            self._storage.stop()

    async def _finish(self) -> None:
        """Lets attempts end within the grace, gives up the rest, and commits what has been answered."""
        self._reason = "stopping"
        self._dispatcher.paused = True
        grace_ends = time.monotonic() + self._parts.options.shutdown_grace_seconds
        while any(run.attempts for run in self.view.runs()) and time.monotonic() < grace_ends:
            await asyncio.sleep(0.02)
        for life in self._lives.values():
            life.look()  # a validation stops at its next line
        for task in self._life_tasks.values():
            task.cancel()  # gives up attempts, and waits until what was answered is committed
        await asyncio.gather(*self._life_tasks.values(), return_exceptions=True)
        self._dispatcher.stop()
        await self._attempts.stop()
        await asyncio.to_thread(self._recorder.stop)

    # -- what happens on the loop -------------------------------------------------------------------

    def _look(self, task_id: str) -> None:
        life = self._lives.get(task_id)
        if life is not None:
            life.look()
            return
        life = self._lives[task_id] = TaskLife(task_id, self._tools)
        task = asyncio.get_running_loop().create_task(life.live())
        self._life_tasks[task_id] = task
        task.add_done_callback(lambda _: self._forget(task_id))

    def _forget(self, task_id: str) -> None:
        self._lives.pop(task_id, None)
        self._life_tasks.pop(task_id, None)
        self._recovering.pop(task_id, None)
        self._speeds.forget(task_id)

    def _on_done(self, done: BatchDone) -> None:
        """The recorder has finished a batch."""
        self._dispatcher.freed(done.size)
        for run, outcomes in done.committed.items():
            run.remaining -= outcomes
            run.uncommitted -= outcomes
            self._speeds.add(run.task.id, outcomes, run.cost.seconds)
            if run.settled or run.stopped or run.lost_count:
                run.changed.set()
        for run, outcomes in done.dropped.items():
            run.uncommitted -= outcomes
            run.fail(done.error or OSError("a commit failed"))
        if done.error is not None:
            self._pause(done.error)
        self._dispatcher.pump_all()

    def restored(self, life: TaskLife) -> None:
        """A task's files and events agree."""
        self._recovering.pop(life.task_id, None)

    async def storage_failed(self, life: TaskLife, error: BaseException) -> None:
        """What memory knew of a task is forgotten; returns when the storage takes writes again."""
        log.error("%s is read again: %s", life.task_id, error)
        self._recovering[life.task_id] = str(error)
        self._pause(error)
        await self._storage.passed()

    def _pause(self, error: object) -> None:
        """No attempt starts until the storage takes writes: its answer could not be kept."""
        self._dispatcher.paused = True
        self.view.storage_failed_since = self.view.storage_failed_since or self._parts.clock()
        self._storage.close(error)

    def _sound_again(self) -> None:
        """The storage takes writes again."""
        self.view.storage_failed_since = None
        self._resume()

    def _attempts_changed(self) -> None:
        """Attempts can be made again, or can't."""
        if self._attempts.trouble is None:
            self.view.engine_down_since = None
            self._resume()
        else:
            self._dispatcher.paused = True
            self.view.engine_down_since = self.view.engine_down_since or self._parts.clock()

    def _resume(self) -> None:
        view = self.view
        held = self._storage.reason or view.disk_full_since or view.engine_down_since
        if not (self._stopping.is_set() or held):
            self._dispatcher.paused = False
            self._dispatcher.pump_all()

    def ended(self, task: Task) -> None:
        """A task is settled."""
        status = task.status if task.settled else task.ending or "failed"
        self._parts.instruments.task_ended(task.workspace_id, task.model or "", status)
        self._parts.on_settled()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._dispatcher.review()
            try:
                self._watch_disk()
            except OSError as error:
                self._pause(error)
            if self._parts.store.trouble is not None:  # any write may have found it out
                self._pause(self._parts.store.trouble)

    def _watch_disk(self) -> None:
        """Pauses dispatch before the disk is full, and goes on when there is room again."""
        least = self._parts.min_free_bytes
        full = shutil.disk_usage(self._parts.data_dir).free < least
        if full and self.view.disk_full_since is None:
            log.error("the disk has less than %d bytes free: dispatch pauses", least)
            self.view.disk_full_since = self._parts.clock()
        elif not full and self.view.disk_full_since is not None:
            log.warning("the disk has room again: dispatch goes on")
            self.view.disk_full_since = None
        self._dispatcher.paused |= full
        self._resume()
