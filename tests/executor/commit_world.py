"""Recorder, recovery and endings on a real DuckDB and real files, driven step by step without an engine.

What `TaskLife` and `Engine` do between two steps is done here by hand, so that a test can order the
steps as it likes, let each fail at a fault point, and throw the memory away in the middle of one.
"""

import hashlib
import json
import shutil
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from executor.endings import Endings
from executor.faults import POINTS, FaultPoints
from executor.options import ExecutorOptions, LimitOptions, ModelOptions, RetentionOptions
from executor.recorder import Recorder
from executor.recovery import LinesLost, Recovery
from executor.request import Outcome, Request, answer_line, error_line
from executor.result_files import error_path, output_path
from executor.run import TaskRun
from executor.tasks import Ending, Task, task_of
from metering.ending import Meter
from metering.event import Event
from metering.options import BillingOptions, StorageOptions
from metering.prices import PriceBook
from metering.store import Store, Transaction
from tests.executor.power_cut import Disk

Kind = Literal["success", "thought", "unmetered", "refused", "unanswered"]
KINDS: tuple[Kind, ...] = ("success", "thought", "unmetered", "refused", "unanswered")
STEPS = tuple(point for point in POINTS if point != "validation.ended")
COMMIT_STEPS = tuple(point for point in STEPS if point.startswith("commit."))
MODEL = ModelOptions(name="m", upstreams=("http://127.0.0.1:9/v1",))
ENDPOINT = "/v1/chat/completions"
PRICES = """
[[prices]]
model = "m"
currency = "USD"
valid_from = 2020-01-01T00:00:00Z
source = "a test"
tiers = [{ input = "1", output = "2" }]
"""


class Crash(BaseException):
    """The process is gone at this place; nothing in it may catch that."""


class Fault(FaultPoints):
    """Raises at one place, once: an `OSError`, or the end of the process."""

    def __init__(self) -> None:
        super().__init__()
        self.armed: str | None = None
        self.error: type[BaseException] = OSError

    def __call__(self, name: str) -> None:
        if name == self.armed:
            self.armed = None
            raise self.error(f"fault point {name}")


class Clock:
    """A wall clock that can be set, back too."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(milliseconds=1)
        return self.now


class World:
    """One data folder, and the memory of the process that works on it."""

    def __init__(self, folder: Path, blank: Path) -> None:
        self.folder = folder / "data"
        self.clock, self.fault, self.disk = Clock(), Fault(), Disk(self.folder)
        shutil.copytree(blank, self.folder)
        (self.folder / "files").mkdir()
        (folder / "prices.toml").write_text(PRICES)
        self._book = PriceBook.load(folder / "prices.toml")
        self._asked = 0
        self.start()

    def start(self) -> None:
        """A process begins: nothing is known but what the folder holds."""
        self.store = Store(StorageOptions(data_dir=self.folder), ("metering", "executor"), self.clock)
        limits = LimitOptions()
        self.recorder = Recorder(
            self.store,
            ExecutorOptions(),
            self.fault,
            on_done=lambda done: None,
            on_seconds=lambda seconds, rows: None,
        )
        self.recovery = Recovery(self.store, self.folder, limits, self.fault)
        self.endings = Endings(
            self.store,
            self.folder,
            limits,
            RetentionOptions(),
            self.recovery,
            Meter(self._book, BillingOptions(), self.clock),
            self.clock,
            self.fault,
        )
        self.runs: dict[str, TaskRun] = {}
        self.queue: list[Outcome] = []

    def stop(self) -> None:
        """Gives back what the process held."""
        for run in self.runs.values():
            run.files.close()
        self.store.close()

    def crash(self) -> None:
        """The process is gone: what its files hold now, write-ahead log included, is what the next one finds."""
        self.fault.armed = None
        kept = self.folder.with_name("kept")
        shutil.copytree(self.folder, kept)
        self.stop()
        shutil.rmtree(self.folder)
        kept.rename(self.folder)

    def cut_power(self) -> None:
        """The machine is gone: the next process finds what was synced, and no byte more."""
        self.crash()
        self.disk.cut()

    # -- tasks -------------------------------------------------------------------------------------

    def create(self, task_id: str, requests: int) -> None:
        """A task as `POST /v1/batches` leaves it."""
        data = b"".join(map(_line, range(1, requests + 1)))
        file_id, now = f"file-{task_id}", self.clock()
        (self.folder / "files" / file_id).write_bytes(data)
        file = {
            "id": file_id,
            "workspace_id": "default",
            "purpose": "batch",
            "filename": "in.jsonl",
            "path": f"files/{file_id}",
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "created_at": now,
        }
        row = {
            "id": task_id,
            "workspace_id": "default",
            "endpoint": ENDPOINT,
            "input_file_id": file_id,
            "completion_window": "24h",
            "status": "validating",
            "created_at": now,
            "expires_at": now + timedelta(days=1),
            "currency": "USD",
            "model": "m",
        }

        def write(tx: Transaction) -> None:
            tx.insert("files", [file])
            tx.insert("tasks", [row])

        self.store.write(write)

    def accept(self, task_id: str, requests: int) -> None:
        """Validation found no fault."""
        values = {"id": task_id, "model": "m", "total": requests, "now": self.clock()}
        self.store.write(lambda tx: tx.execute("engine.accept", **values))

    def cancel(self, task_id: str) -> bool:
        """A cancel as the API commits it; False if it came too late."""
        now = self.clock()
        return self.store.write(lambda tx: tx.execute("tasks.cancel", id=task_id, now=now)) == 1

    def task(self, task_id: str) -> Task:
        row = self.store.one("engine.task", id=task_id)
        assert row is not None
        return task_of(row)

    # -- what lives do -----------------------------------------------------------------------------

    def load(self, task_id: str) -> None:
        """Begins to execute a task, or goes on with it; nothing happens if that fails."""
        with suppress(OSError, LinesLost):
            self.runs[task_id] = self.recovery.run_of(self.task(task_id), MODEL)

    def answer(self, task_id: str, kind: Kind) -> Outcome | None:
        """The next request of a task gets its final answer, which waits for its commit."""
        run = self.runs[task_id]
        request = run.next_request(time.monotonic(), fresh=True)
        if request is None:
            return None
        self._asked += 1
        outcome = _outcome(run, request, kind, self._asked, self.clock())
        run.uncommitted += 1
        self.queue.append(outcome)
        return outcome

    def commit(self, size: int) -> bool:
        """Commits the first outcomes of the queue; False if that failed: then their tasks are forgotten."""
        batch, self.queue = self.queue[:size], self.queue[size:]
        done = self.recorder.commit(batch)
        for run, outcomes in done.committed.items():
            run.remaining -= outcomes
            run.uncommitted -= outcomes
        for run in {outcome.run for outcome in batch if outcome.run.broken is not None}:
            if self.runs.get(run.task.id) is run:
                self.forget(run.task.id)
        return done.error is None

    def forget(self, task_id: str) -> None:
        """Memory knows nothing of the task any more; outcomes that still wait for their commit stay there."""
        run = self.runs.pop(task_id, None)
        if run is not None:
            run.files.close()

    def drain(self, task_id: str) -> None:
        """Nothing of the task is under way any more: what was answered is committed, or has failed to be."""
        run = self.runs.get(task_id)
        if run is not None and run.uncommitted:
            self.commit(len(self.queue))
        self.forget(task_id)

    def claim(self, task_id: str, ending: Ending) -> None:
        """Commits how a task will end; whether it was done is to be read if that fails."""
        with suppress(OSError):
            self.endings.claim(self.task(task_id), ending)

    def end(self, task_id: str) -> None:
        """The ending of a task whose `ending` is committed; nothing or a part of it happens if that fails."""
        self.drain(task_id)
        with suppress(OSError, LinesLost):
            self.endings.end(self.task(task_id))

    # -- what the disk holds -----------------------------------------------------------------------

    def paths(self, task_id: str) -> tuple[Path, Path]:
        """Result file and error file."""
        return self.folder / output_path(task_id), self.folder / error_path(task_id)

    def all_rows(self, *statements: str) -> list[list[dict[str, Any]]]:
        """Reads the database behind the store's back, all of it in one snapshot."""
        with self.store.reading() as read:
            run = read._connection.execute
            return [run(statement).to_arrow_table().to_pylist() for statement in statements]


def _line(number: int) -> bytes:
    body = {"model": "m", "messages": []}
    request = {"custom_id": f"r{number}", "method": "POST", "url": ENDPOINT, "body": body}
    return json.dumps(request).encode() + b"\n"


def _outcome(run: TaskRun, request: Request, kind: Kind, asked: int, now: datetime) -> Outcome:
    """The answer number `asked` of all: no two are alike, so that a line tells which one it delivers."""
    good = kind in ("success", "thought", "unmetered")
    metered = good and kind != "unmetered"
    usage = {"prompt_tokens": asked, "completion_tokens": 2 * asked + 1} if metered else None
    if kind == "unanswered":
        text = error_line(run.task.id, request.line_no, request.custom_id, "timeout", f"answer {asked}")
    else:
        body = json.dumps({"answer": asked, "usage": usage}).encode()
        text = answer_line(run.task.id, request, 200 if good else 400, None, body)
    event = Event(
        task_id=run.task.id,
        line_no=request.line_no,
        custom_id=request.custom_id,
        workspace_id=run.task.workspace_id,
        api_key_id=None,
        model="m",
        endpoint=ENDPOINT,
        outcome="succeeded" if good else "failed",
        status_code=None if kind == "unanswered" else 200 if good else 400,
        error_code="timeout" if kind == "unanswered" else None,
        finish_reason=None,
        unmetered=good and not metered,
        attempts=1,
        rate_limited_attempts=0,
        input_tokens=usage["prompt_tokens"] if usage else None,
        cached_input_tokens=0 if usage else None,
        output_tokens=usage["completion_tokens"] if usage else None,
        reasoning_tokens=1 if kind == "thought" else 0 if usage else None,
        thinking=kind == "thought",
        started_at=now,
        first_token_at=None,
        finished_at=now,
        duration_ms=1.0,
        first_token_ms=None,
        total_ms=1.0,
        upstream=None,
    )
    return Outcome(run, event, text)
