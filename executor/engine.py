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
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

import uvloop

from executor.dispatch import Dispatcher, Instruments
from executor.endings import Biller, Endings
from executor.faults import FaultPoints
from executor.intake import Intake
from executor.lane import Lane
from executor.life import TaskLife, Tools, Waiting
from executor.limiter import FixedLimit
from executor.models import ModelCatalog
from executor.options import TEST_MODEL, ExecutorOptions, LimitOptions, ModelOptions, RetentionOptions
from executor.recorder import BatchDone, Recorder
from executor.recovery import Recovery
from executor.run import TaskRun
from executor.tasks import Task
from executor.upstream import Client, HttpUpstream, TestModel, http_client
from metering.clock import Clock
from metering.store import Store

log = logging.getLogger("nightrate.engine")

_RATE_SECONDS = 30.0
_TICK_SECONDS = 1.0


class EngineInstruments(Instruments, Protocol):
    """What wants to know of what the engine does."""

    def commit(self, seconds: float, rows: int) -> None:
        """A batch of outcomes became durable."""
        ...

    def validation_error(self, code: str, n: int) -> None:
        """A file had faults of this kind."""
        ...

    def task_ended(self, workspace_id: str, model: str, status: str) -> None:
        """A task is settled."""
        ...


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of a running task beside its row."""

    requests_per_second: float
    estimated_end_at: datetime | None
    waiting: Waiting | None


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What the engine is made of."""

    store: Store
    catalog: ModelCatalog
    biller: Biller
    instruments: EngineInstruments
    options: ExecutorOptions
    limits: LimitOptions
    retention: RetentionOptions
    data_dir: Path
    min_free_bytes: int
    api_keys: Mapping[str, str | None]
    """The upstream key of each model that needs one."""
    clock: Clock
    faults: FaultPoints


class Engine:
    """Runs every task that isn't settled."""

    def __init__(self, parts: EngineParts) -> None:
        self._parts = parts
        self._lives: dict[str, TaskLife] = {}
        self._life_tasks: dict[str, asyncio.Task[None]] = {}
        self._recovering: dict[str, str] = {}
        self._speeds: dict[str, deque[tuple[float, int]]] = {}
        self._reason = "starting"
        self._disk_since: datetime | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._stopping = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._dispatcher: Dispatcher | None = None
        self._recorder: Recorder | None = None

    # -- for everyone, from any thread -----------------------------------------------------------------

    def start(self) -> None:
        """Begins with every task that isn't settled; returns when they have been found."""
        self._thread.start()
        self._started.wait()

    def stop(self) -> None:
        """Starts nothing more, waits `shutdown_grace_seconds` for what is under way, commits, ends."""
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def wake(self, task_id: str) -> None:
        """A task is new, or its row has changed."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the next start will see the row
                self._loop.call_soon_threadsafe(self._look, task_id)

    def ready(self) -> tuple[bool, str]:
        """Whether work goes on, and if not, why."""
        if self._reason:
            return False, self._reason
        if self._recovering:
            return (
                False,
                f"recovering {len(self._recovering)} tasks: {next(iter(self._recovering.values()), '')}",
            )
        return True, "ready"

    def live(self, task_id: str) -> Live | None:
        """Speed, estimated end and why it waits, of a task that isn't settled."""
        life = self._lives.get(task_id)
        if life is None:
            return None
        run, rate = life.run, self._rate(task_id)
        end = None
        if run is not None and rate > 0:
            end = self._parts.clock() + timedelta(seconds=run.remaining / rate)
        return Live(round(rate, 3), end, self._waiting(life))

    # -- figures for /metrics ----------------------------------------------------------------------

    def in_flight(self) -> dict[str, int]:
        """Requests under way, per model."""
        return {model: sum(lane.limit.in_flight for lane in lanes) for model, lanes in self._lanes().items()}

    def pending(self) -> dict[str, int]:
        """Requests of running tasks that are not under way, per model."""
        counts = dict.fromkeys(self._lanes(), 0)
        for run in self._runs():
            counts[run.model.name] += run.pending
        return counts

    def oldest_pending_seconds(self) -> float:
        """Age of the oldest task that has requests waiting."""
        ages = [self._parts.clock() - run.task.created_at for run in self._runs() if run.pending]
        return max((age.total_seconds() for age in ages), default=0.0)

    def concurrency_limits(self) -> dict[tuple[str, str], int]:
        """How many requests may be under way, per model and upstream."""
        return {
            (lane.model, lane.label): lane.limit.limit for lanes in self._lanes().values() for lane in lanes
        }

    def upstreams_up(self) -> dict[tuple[str, str], int]:
        """1 for every upstream, 0 during its outage."""
        return {(lane.model, lane.label): int(lane.up) for lanes in self._lanes().values() for lane in lanes}

    def recorder_queue(self) -> int:
        """Outcomes that wait for their commit."""
        return self._recorder.backlog if self._recorder else 0

    def tasks_by_status(self) -> dict[str, int]:
        """How many tasks have each status."""
        return {row["status"]: row["tasks"] for row in self._parts.store.query("engine.statuses")}

    # -- the loop's thread -------------------------------------------------------------------------

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
        parts = self._parts
        self._recorder = Recorder(
            parts.store,
            parts.options,
            parts.faults,
            on_done=lambda done: self._call(self._on_done, done),
            on_seconds=parts.instruments.commit,
        )
        client = http_client(parts.options.connect_timeout_seconds)
        lanes = {model.name: self._make_lanes(client, model) for model in self._models()}
        self._dispatcher = Dispatcher(lanes, self._recorder, parts.options, parts.instruments, parts.clock)
        self._recorder.start()
        with ThreadPoolExecutor(8, "engine-disk") as threads:
            self._tools = self._make_tools(threads)
            rows = await self._loop.run_in_executor(threads, lambda: parts.store.query("engine.unsettled"))
            self._recovering = {row["id"]: "starting" for row in rows}
            self._reason = ""
            for row in rows:
                self._look(row["id"])
            self._started.set()
            ticks = self._loop.create_task(self._tick())
            await self._stopping.wait()
            ticks.cancel()
            await self._finish()
        await client.close()

    async def _finish(self) -> None:
        """Lets attempts end within the grace, gives up the rest, and commits what has been answered."""
        assert self._dispatcher is not None
        assert self._recorder is not None
        self._reason = "stopping"
        self._dispatcher.paused = True
        grace_ends = time.monotonic() + self._parts.options.shutdown_grace_seconds
        while any(run.attempts for run in self._runs()) and time.monotonic() < grace_ends:
            await asyncio.sleep(0.02)
        for life in self._lives.values():
            life.look()  # a validation stops at its next line
        for task in self._life_tasks.values():
            task.cancel()  # gives up attempts, and waits until what was answered is committed
        await asyncio.gather(*self._life_tasks.values(), return_exceptions=True)
        self._dispatcher.stop()
        await asyncio.to_thread(self._recorder.stop)

    def _models(self) -> list[ModelOptions]:
        names = self._parts.catalog.allowed(None)
        return [model for name in names if (model := self._parts.catalog.get(name)) is not None]

    def _make_lanes(self, client: Client, model: ModelOptions) -> Sequence[Lane]:
        limit = model.initial_concurrency or model.max_concurrency
        if model.name == TEST_MODEL:
            return [Lane(model.name, TestModel(), FixedLimit(limit))]
        key = self._parts.api_keys.get(model.name)
        size = self._parts.limits.response_bytes
        return [
            Lane(model.name, HttpUpstream(client, url, key, size), FixedLimit(limit))
            for url in model.upstreams
        ]

    def _make_tools(self, threads: ThreadPoolExecutor) -> Tools:
        parts = self._parts
        assert self._dispatcher is not None
        assert self._recorder is not None
        recovery = Recovery(parts.store, parts.data_dir, parts.limits, parts.faults)
        endings = Endings(
            parts.store,
            parts.data_dir,
            parts.limits,
            parts.retention,
            recovery,
            parts.biller,
            parts.clock,
            parts.faults,
        )
        intake = Intake(
            parts.store,
            parts.catalog,
            parts.limits,
            recovery,
            endings,
            parts.instruments.validation_error,
            parts.clock,
            parts.faults,
        )
        return Tools(
            store=parts.store,
            catalog=parts.catalog,
            dispatcher=self._dispatcher,
            recorder=self._recorder,
            recovery=recovery,
            intake=intake,
            endings=endings,
            options=parts.options,
            clock=parts.clock,
            threads=threads,
            validations=asyncio.Semaphore(parts.limits.validations_at_once),
            on_storage_failure=self._storage_failed,
            on_restored=self._restored,
            on_ended=self._ended,
        )

    def _call(self, function: object, *arguments: object) -> None:
        """Runs a function on the loop, from another thread."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(function, *arguments)  # type: ignore[arg-type]

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
        self._speeds.pop(task_id, None)
        self._recovering.pop(task_id, None)

    def _on_done(self, done: BatchDone) -> None:
        """The recorder has finished a batch."""
        assert self._dispatcher is not None
        self._dispatcher.freed(done.size)
        for run, outcomes in done.committed.items():
            run.remaining -= outcomes
            run.uncommitted -= outcomes
            self._speeds.setdefault(run.task.id, deque(maxlen=256)).append((time.monotonic(), outcomes))
            if run.settled or run.stopped or run.lost_count:
                run.changed.set()
        for run in done.broken:
            run.uncommitted = 0
            run.fail(done.error or OSError("a commit failed"))
        self._dispatcher.pump_all()

    def _restored(self, life: TaskLife) -> None:
        self._recovering.pop(life.task_id, None)

    def _storage_failed(self, life: TaskLife, error: BaseException) -> None:
        log.error("%s is read again: %s", life.task_id, error)
        self._recovering[life.task_id] = str(error)
        try:
            self._parts.store.reopen()
        except Exception as error:
            log.exception("the database can't be reopened")
            self._reason = f"the database can't be reopened: {error}"
        else:
            self._reason = ""

    def _ended(self, task: Task) -> None:
        status = task.status if task.settled else task.ending or "failed"
        self._parts.instruments.task_ended(task.workspace_id, task.model or "", status)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            self._watch_disk()

    def _watch_disk(self) -> None:
        """Pauses dispatch before the disk is full, and goes on when there is room again."""
        assert self._dispatcher is not None
        full = shutil.disk_usage(self._parts.data_dir).free < self._parts.min_free_bytes
        if full and self._disk_since is None:
            log.error("the disk has less than %d bytes free: dispatch pauses", self._parts.min_free_bytes)
            self._disk_since = self._parts.clock()
        elif not full and self._disk_since is not None:
            log.warning("the disk has room again: dispatch goes on")
            self._disk_since = None
        self._dispatcher.paused = full
        if not full:
            self._dispatcher.pump_all()

    # -- derived -----------------------------------------------------------------------------------

    def _lanes(self) -> Mapping[str, Sequence[Lane]]:
        return self._dispatcher.lanes if self._dispatcher else {}

    def _runs(self) -> list[TaskRun]:
        return [run for life in list(self._lives.values()) if (run := life.run) is not None]

    def _rate(self, task_id: str) -> float:
        """Outcomes per second over the last half minute."""
        speeds = self._speeds.get(task_id)
        if not speeds:
            return 0.0
        now = time.monotonic()
        recent = [(at, count) for at, count in speeds.copy() if now - at <= _RATE_SECONDS]
        if not recent:
            return 0.0
        return sum(count for _, count in recent) / max(1.0, now - recent[0][0])

    def _waiting(self, life: TaskLife) -> Waiting | None:
        run = life.run
        if run is None or run.attempts or not run.pending:
            return life.waiting
        since = run.task.in_progress_at or run.task.created_at
        if self._disk_since is not None:
            return Waiting("disk", self._disk_since)
        outages = [(lane.down_since, lane.label) for lane in self._lanes()[run.model.name] if lane.down_since]
        if len(outages) == len(self._lanes()[run.model.name]):
            return Waiting("outage", *max(outages))
        return Waiting("rate_limit" if run.pushed_back else "queue", since)
