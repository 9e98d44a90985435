"""How a task ends: closing lines, then one transaction with everything that becomes visible (SPEC §4)."""

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from executor.faults import FaultPoints
from executor.options import LimitOptions, RetentionOptions
from executor.recovery import Recovery
from executor.request import error_line
from executor.result_files import LineFile, ResultFiles, error_path, output_path, sha256_of
from executor.tasks import Ending, LineError, Task, kept_errors
from executor.validation import read_requests
from metering.clock import Clock
from metering.ending import EndedTask, TaskBill
from metering.store import Store, Transaction

_CLOSING: dict[Ending, tuple[str, str]] = {
    "cancelled": ("batch_cancelled", "This request could not be executed before the batch was cancelled."),
    "expired": (
        "batch_expired",
        "This request could not be executed before the completion window expired.",
    ),
}
_CLOSING_BLOCK_BYTES = 1 << 20
_BILLED = (
    "list_amount",
    "amount",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
)
"""The columns of a task's row that come from its bill."""


class Biller(Protocol):
    """What the ending transaction adds of metering."""

    def moment(self, tx: Transaction) -> datetime:
        """The moment of the ending, which never goes back."""
        ...

    def end_task(self, tx: Transaction, task: EndedTask, ended_at: datetime) -> TaskBill:
        """Charges, rollup and digests of the task's events."""
        ...


@dataclass(frozen=True, slots=True)
class _Output:
    """A finished file as it will be listed."""

    file_id: str
    path: str
    length: int
    sha256: str


class Endings:
    """Ends tasks whose last outcome is committed and that nothing is under way for any more."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        limits: LimitOptions,
        retention: RetentionOptions,
        recovery: Recovery,
        biller: Biller,
        clock: Clock,
        faults: FaultPoints,
    ) -> None:
        self._store = store
        self._data_dir = data_dir
        self._limits = limits
        self._retention = retention
        self._recovery = recovery
        self._biller = biller
        self._clock = clock
        self._reach = faults

    def claim(self, task: Task, ending: Ending) -> bool:
        """Commits how the task will end; False if a cancel was first, or it was claimed before."""
        now = self._clock()
        claimed = self._store.write(
            lambda tx: tx.execute("engine.claim_ending", id=task.id, ending=ending, now=now)
        )
        self._reach("ending.claimed")
        return claimed == 1

    def end(self, task: Task) -> None:
        """Ends a task that has `ending` set: afterwards it is completed, expired or cancelled."""
        assert task.ending is not None
        if task.in_progress_at is None:
            self._store.write(lambda tx: self._settle(tx, task, (None, None)))
            return
        files = self._recovery.restore(task)
        try:
            self._reach("ending.cut")
            if task.ending in _CLOSING:
                self._write_closing_lines(task, files.error, *_CLOSING[task.ending])
            self._reach("ending.synced")
            outputs = self._finished(task, files)
        finally:
            files.close()
        self._store.write(lambda tx: self._settle(tx, task, outputs))
        self._reach("ending.stored")

    def refuse(self, task: Task, errors: tuple[LineError, ...]) -> None:
        """The task is `failed` since its file is not acceptable; a cancel that came first wins."""
        self._fail("engine.refuse", task, errors)

    def lose(self, task: Task, reason: str) -> None:
        """The task is `failed` since its input is gone: no files, no bill, its events count nowhere."""
        error = LineError("storage_lost", f"The task could not go on: {reason}.", None, None)
        self._fail("engine.lose", task, (error,))
        for path in (output_path(task.id), error_path(task.id)):
            (self._data_dir / path).unlink(missing_ok=True)

    def _fail(self, statement: str, task: Task, errors: tuple[LineError, ...]) -> None:
        def write(tx: Transaction) -> None:
            now = self._clock()
            if tx.execute(statement, id=task.id, now=now, errors=kept_errors(errors)):
                self._announce(tx, task, "failed", now)

        self._store.write(write)

    def _write_closing_lines(self, task: Task, file: LineFile, code: str, message: str) -> None:
        """One line for each request without a final answer. They count with the ending, not before."""
        done = self._recovery.done_lines(task)
        block: list[bytes] = []
        size = 0
        for line in read_requests(self._recovery.input_path(task), done, self._limits):
            block.append(error_line(task.id, line.line_no, line.custom_id, code, message))
            size += len(block[-1])
            if size >= _CLOSING_BLOCK_BYTES:
                file.length = file.append(b"".join(block))
                block, size = [], 0
        file.length = file.append(b"".join(block))
        self._reach("ending.written")
        file.sync()

    def _finished(self, task: Task, files: ResultFiles) -> tuple[_Output | None, _Output | None]:
        def finished(file: LineFile, path: str) -> _Output | None:
            if file.length == 0:
                file.path.unlink(missing_ok=True)
                return None
            file_id = f"file-batch_output-{secrets.token_hex(12)}"
            return _Output(file_id, path, file.length, sha256_of(file.path, file.length))

        return (
            finished(files.output, output_path(task.id)),
            finished(files.error, error_path(task.id)),
        )

    def _settle(self, tx: Transaction, task: Task, outputs: tuple[_Output | None, _Output | None]) -> None:
        """The one transaction in which everything about the ended task becomes visible."""
        assert task.ending is not None
        ended_at = self._biller.moment(tx)
        bill = self._bill(tx, task, outputs, ended_at)
        self._reach("ending.rated")
        values: dict[str, Any] = {"id": task.id, "status": task.ending, "ended_at": ended_at, **bill}
        for kind, output in zip(("output", "error"), outputs, strict=True):
            values[f"{kind}_bytes"] = output.length if output else 0
            values[f"{kind}_sha256"] = output and output.sha256
            values[f"{kind}_file_id"] = output and output.file_id
            if output:
                tx.insert("files", [self._file_row(task, kind, output, ended_at)])
        if tx.execute("engine.end", **values) != 1:
            raise RuntimeError(f"{task.id} is not ending as {task.ending}")
        self._announce(tx, task, task.ending, ended_at)

    def _bill(
        self, tx: Transaction, task: Task, outputs: tuple[_Output | None, _Output | None], ended_at: datetime
    ) -> dict[str, Any]:
        """Amounts and token sums of the task's row; a task that was never validated has none of either."""
        if task.in_progress_at is None or task.model is None:
            return dict.fromkeys(_BILLED, 0)
        ended = EndedTask(
            task_id=task.id,
            workspace_id=task.workspace_id,
            api_key_id=task.api_key_id,
            model=task.model,
            currency=task.currency,
            free=task.currency is None,
            status=task.ending or "",
            in_progress_at=task.in_progress_at,
            total=task.total,
            output_sha256=outputs[0].sha256 if outputs[0] else None,
            error_sha256=outputs[1].sha256 if outputs[1] else None,
        )
        bill = self._biller.end_task(tx, ended, ended_at)
        return {name: getattr(bill, name) for name in _BILLED}

    def _file_row(self, task: Task, kind: str, output: _Output, ended_at: datetime) -> dict[str, Any]:
        kept = timedelta(days=self._retention.file_days)
        if task.output_expires_after is not None:
            kept = timedelta(seconds=task.output_expires_after)
        return {
            "id": output.file_id,
            "workspace_id": task.workspace_id,
            "api_key_id": task.api_key_id,
            "task_id": task.id,
            "purpose": "batch_output",
            "filename": f"{task.id}_{kind}.jsonl",
            "path": output.path,
            "bytes": output.length,
            "sha256": output.sha256,
            "created_at": ended_at,
            "expires_at": ended_at + kept,
        }

    def _announce(self, tx: Transaction, task: Task, status: str, now: datetime) -> None:
        """Puts a notification for each address that wants to know into the outbox."""
        rows = tx.query("engine.webhook_targets", workspace_id=task.workspace_id)
        urls = [row["webhook_url"] for row in rows] + ([task.callback_url] if task.callback_url else [])
        tx.insert(
            "webhook_outbox",
            [
                {
                    "id": f"evt_{secrets.token_hex(16)}",
                    "task_id": task.id,
                    "workspace_id": task.workspace_id,
                    "url": url,
                    "type": f"batch.{status}",
                    "created_at": now,
                }
                for url in urls
            ],
        )
