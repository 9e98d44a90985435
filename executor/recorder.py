"""Makes outcomes durable, in this order: lines, fsync, then one transaction that makes them count (SPEC §4).

A batch that fails, or whose outcome is unknown, is forgotten together with all that memory knows of its
tasks; what the store holds decides what was done.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from executor.faults import FaultPoints
from executor.options import ExecutorOptions
from executor.request import Outcome
from executor.run import TaskRun
from metering.store import Store, Transaction, WriteFailed

log = logging.getLogger("nightrate.recorder")


@dataclass(frozen=True, slots=True)
class BatchDone:
    """What became of a batch of outcomes."""

    committed: Mapping[TaskRun, int]
    """How many outcomes of each task are durable now."""
    dropped: Mapping[TaskRun, int]
    """How many outcomes were forgotten, of tasks that memory is not to be trusted about any more."""
    size: int
    """Bytes of memory that are free again."""
    error: BaseException | None = None


class LengthsChanged(WriteFailed):
    """The stored lengths were not the ones that memory believed in."""


@dataclass(frozen=True, slots=True)
class _Lengths:
    task_id: str
    output_before: int
    output_after: int
    error_before: int
    error_after: int
    succeeded: int
    failed: int
    started_at: datetime | None


class Recorder:
    """One thread that drains a queue of outcomes.

    `on_done` is called from that thread; `on_seconds` gets each commit's duration and rows.
    """

    def __init__(
        self,
        store: Store,
        options: ExecutorOptions,
        faults: FaultPoints,
        *,
        on_done: Callable[[BatchDone], None],
        on_seconds: Callable[[float, int], None],
    ) -> None:
        self._store = store
        self._options = options
        self._reach = faults
        self._on_done = on_done
        self._on_seconds = on_seconds
        self._queue: list[Outcome] = []
        self._filled = threading.Condition()
        self._urgent = False
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)

    def start(self) -> None:
        """Begins to commit."""
        self._thread.start()

    def stop(self) -> None:
        """Commits what is queued and ends the thread."""
        with self._filled:
            self._stopping = True
            self._filled.notify()
        self._thread.join()

    def add(self, outcomes: Sequence[Outcome]) -> None:
        """Queues outcomes; they are committed within `commit_interval_ms`."""
        with self._filled:
            before = len(self._queue)
            self._queue.extend(outcomes)
            if before == 0 or before < self._options.commit_rows <= len(self._queue):
                self._filled.notify()

    def hurry(self) -> None:
        """Commits what is queued without waiting for the interval."""
        with self._filled:
            self._urgent = True
            self._filled.notify()

    @property
    def backlog(self) -> int:
        """Outcomes that wait for their commit to begin."""
        return len(self._queue)

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            self._on_done(self.commit(batch))

    def _take(self) -> list[Outcome] | None:
        """Waits for a first outcome, then until the interval is over or the batch is large."""
        with self._filled:
            while not self._queue:
                if self._stopping:
                    return None
                self._urgent = False
                self._filled.wait()
            end = time.monotonic() + self._options.commit_interval_ms / 1000
            while len(self._queue) < self._options.commit_rows and not (self._urgent or self._stopping):
                left = end - time.monotonic()
                if left <= 0 or not self._filled.wait(left):
                    break
            self._urgent = False
            batch, self._queue = self._queue, []
            return batch

    def commit(self, batch: Sequence[Outcome]) -> BatchDone:
        """Makes outcomes durable, all or none of them; those of tasks that are broken already are dropped.

        Called by the recorder's own thread alone, or where that was never started.
        """
        size = sum(len(outcome.line) for outcome in batch)
        by_run: dict[TaskRun, list[Outcome]] = {}
        dropped = Counter[TaskRun]()
        for outcome in batch:
            if outcome.run.broken is None:
                by_run.setdefault(outcome.run, []).append(outcome)
            else:
                dropped[outcome.run] += 1
        if not by_run:
            return BatchDone({}, dropped, size)
        counts = {run: len(outcomes) for run, outcomes in by_run.items()}
        begun = time.monotonic()
        try:
            self._make_durable(by_run)
        except Exception as error:  # noqa: BLE001  (whatever it was, memory is not to be trusted now)
            log.error("a commit failed, %d tasks are read again: %s", len(by_run), error)
            for run in by_run:
                run.broken = run.broken or error
            return BatchDone({}, {**dropped, **counts}, size, error)
        self._on_seconds(time.monotonic() - begun, sum(counts.values()))
        return BatchDone(counts, dropped, size)

    def _make_durable(self, by_run: Mapping[TaskRun, list[Outcome]]) -> None:
        self._reach("commit.begun")
        lengths = [_append(run, outcomes) for run, outcomes in by_run.items()]
        self._reach("commit.appended")
        for run in by_run:
            for file in run.files.both():
                file.sync()
        self._reach("commit.synced")
        events = [outcome.event for outcomes in by_run.values() for outcome in outcomes]

        def make_count(tx: Transaction) -> None:
            if tx.merge("engine.commit_lengths", lengths) != len(lengths):
                raise LengthsChanged("a stored length is not what was expected")
            tx.insert("request_events", events)

        self._store.write(make_count)
        self._reach("commit.stored")
        for run, after in zip(by_run, lengths, strict=True):
            run.files.output.length = after.output_after
            run.files.error.length = after.error_after


def _append(run: TaskRun, outcomes: list[Outcome]) -> _Lengths:
    """Writes the lines of one task behind what counts; returns where both files will end."""
    good = [o.line for o in outcomes if o.event.outcome == "succeeded"]
    bad = [o.line for o in outcomes if o.event.outcome == "failed"]
    output, error = run.files.both()
    return _Lengths(
        task_id=run.task.id,
        output_before=output.length,
        output_after=output.append(b"".join(good)) if good else output.length,
        error_before=error.length,
        error_after=error.append(b"".join(bad)) if bad else error.length,
        succeeded=len(good),
        failed=len(bad),
        started_at=run.started_at,
    )
