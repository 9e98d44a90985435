"""A real engine on a real DuckDB with a scripted upstream, without the web API in front of it."""

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from executor.engine import Engine, EngineParts
from executor.faults import FaultPoints
from executor.models import ModelCatalog
from executor.options import ExecutorOptions, LimitOptions, ModelOptions, RetentionOptions
from executor.tasks import Task, task_of
from metering.clock import Clock, utc_now
from metering.ending import Meter
from metering.event import Event
from metering.options import BillingOptions, StorageOptions
from metering.prices import PriceBook
from metering.store import Store

PRICES = """
[[prices]]
model = "m"
currency = "USD"
valid_from = 2020-01-01T00:00:00Z
source = "a test"
tiers = [{ input = "1", output = "2" }]
[[prices]]
model = "other"
currency = "USD"
valid_from = 2020-01-01T00:00:00Z
source = "a test"
tiers = [{ input = "1", output = "2" }]
"""


@dataclass
class Instruments:
    """Remembers what the engine told."""

    attempts: list[tuple[str, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    def attempt(self, model: str, upstream: str, code: str) -> None:
        self.attempts.append((model, code))

    def outcomes(self, events: Sequence[Event]) -> None:
        self.events.extend(events)

    def commit(self, seconds: float, rows: int) -> None: ...

    def validation_error(self, code: str, n: int) -> None: ...

    def task_ended(self, workspace_id: str, model: str, status: str) -> None:
        self.ended.append(status)


class Rig:
    """An engine that can be stopped and started again on the same folder."""

    def __init__(
        self,
        data_dir: Path,
        models: Sequence[ModelOptions],
        *,
        options: ExecutorOptions | None = None,
        limits: LimitOptions | None = None,
        clock: Clock = utc_now,
        fault: str | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.models = models
        self.options = options or ExecutorOptions(
            commit_interval_ms=20, backoff_first_seconds=0.02, recovery_first_seconds=0.05
        )
        self.limits = limits or LimitOptions()
        self.clock = clock
        self.fault = fault
        self.instruments = Instruments()
        (data_dir / "files").mkdir(exist_ok=True)
        (data_dir / "prices.toml").write_text(PRICES)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        self.store = Store(StorageOptions(data_dir=self.data_dir), packages=("metering", "executor"))
        book = PriceBook.load(self.data_dir / "prices.toml")
        parts = EngineParts(
            store=self.store,
            catalog=ModelCatalog(self.models),
            biller=Meter(book, BillingOptions(), self.clock),
            instruments=self.instruments,
            options=self.options,
            limits=self.limits,
            retention=RetentionOptions(),
            data_dir=self.data_dir,
            min_free_bytes=0,
            api_keys={},
            clock=self.clock,
            faults=FaultPoints(self.fault),
        )
        self.engine = Engine(parts)
        self.engine.start()
        return self

    def stop(self) -> None:
        self.engine.stop()
        self.store.close()

    def submit(self, prompts: Sequence[str], *, window: timedelta = timedelta(days=1), **task: Any) -> str:
        """Puts a task there as `POST /v1/batches` would."""
        task_id, file_id = f"batch_{secrets.token_hex(16)}", f"file-batch-{secrets.token_hex(12)}"
        model = task.get("model", "m")
        data = b"".join(line(number, prompt, model) for number, prompt in enumerate(prompts, 1))
        (self.data_dir / "files" / file_id).write_bytes(data)
        now = self.clock()
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
            "endpoint": "/v1/chat/completions",
            "input_file_id": file_id,
            "completion_window": "24h",
            "status": "validating",
            "created_at": now,
            "expires_at": now + window,
            "currency": "USD",
            "model": "m",
            **task,
        }

        def write(tx: Any) -> None:
            tx.insert("files", [file])
            tx.insert("tasks", [row])

        self.store.write(write)
        self.engine.wake(task_id)
        return task_id

    def cancel(self, task_id: str) -> None:
        """Asks for a cancel as the API does: committed first, then said."""
        sql = "UPDATE tasks SET ending = 'cancelled', status = 'cancelling', cancelling_at = $now WHERE id = $id"

        def write(tx: Any) -> None:
            tx._connection.execute(sql, {"id": task_id, "now": datetime.now(UTC)})

        self.store.write(write)
        self.engine.wake(task_id)

    def task(self, task_id: str) -> Task:
        row = self.store.one("engine.task", id=task_id)
        assert row is not None
        return task_of(row)

    def wait(self, task_id: str, seconds: float = 60) -> Task:
        """Until the task is settled."""
        return self.until(lambda: self.task(task_id), lambda task: task.settled, seconds)

    def until(self, read: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not good(value := read()):
            assert time.monotonic() < deadline, f"still {value}"
            time.sleep(0.01)
        return value

    def lines(self, task: Task) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """What stands in the result file and in the error file."""
        return tuple(  # type: ignore[return-value]
            [json.loads(text) for text in path.read_text().splitlines()] if path.exists() else []
            for path in (
                self.data_dir / f"outputs/{task.id}.output.jsonl",
                self.data_dir / f"outputs/{task.id}.error.jsonl",
            )
        )

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Reads the database behind the store's back."""
        with self.store.reading() as read:
            found: list[tuple[Any, ...]] = read._connection.execute(sql).fetchall()
            return found


def line(number: int, prompt: str, model: str = "m") -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": prompt}]}
    request = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(request).encode() + b"\n"
