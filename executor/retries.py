"""What of an ended task may run again, and the lines that a retry takes from its input file (SPEC §3.4)."""

import hashlib
import json
import threading
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any

from executor.files import Files, StoredFile
from executor.making import TaskMaker
from executor.new_batch import NewBatch
from executor.owners import enabled_owner
from executor.result_files import sha256_of
from executor.tasks import Task
from metering.access import Access
from metering.errors import Conflict, NotFound, Refused, TooMany
from metering.store import Reader, Store, Transaction

RETRY_WAIT_SECONDS = 10
"""How long a retry waits for the copy of another before it is refused."""

_BLOCK_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


class Retries:
    """Makes retries: a file and a task that appear together or not at all. Thread-safe."""

    def __init__(self, store: Store, files: Files, maker: TaskMaker) -> None:
        self._store = store
        self._files = files
        self._maker = maker
        self._copying = threading.Lock()

    def retry(self, access: Access, before: Task, key: str | None) -> Task:
        """A new task on what is left of `before`, or the one that this idempotency key made of it."""
        asked = _sha256(before.id)
        with self._store.reading() as reader:
            enabled_owner(reader, access, before.workspace_id)
            if (made := self._maker.made_before(reader, before.workspace_id, key, asked)) is not None:
                return made
            _check_retryable(reader, before)
            done = _done_lines(reader, before)
        # One copy at a time: whoever asks for many retries fills the disk with one file, not with many.
        if not self._copying.acquire(timeout=RETRY_WAIT_SECONDS):
            raise TooMany("Another retry is being made; try again soon.", code="too_many_retries")
        try:
            return self._make(access, before, done, asked, key)
        finally:
            self._copying.release()

    def _make(self, access: Access, before: Task, done: frozenset[int], asked: str, key: str | None) -> Task:
        source = self._source(access, before)
        with self._store.reading() as reader:
            owner = enabled_owner(reader, access, before.workspace_id)
        # A model that lost its price is refused before anything is copied.
        row = self._maker.row(access, owner, _like(before), source, retry_of=before.id)
        file = self._copy(access, before, source, done)
        row["input_file_id"] = file.id

        def write(tx: Transaction) -> Task:
            return self._write(tx, access, before, file, row, asked, key)

        try:
            task = self._store.write(write)
        except Refused:  # nothing was written; after any other fault that is not known
            self._files.drop(file)
            raise
        if task.id != row["id"]:
            self._files.drop(file)
        return task

    def _source(self, access: Access, before: Task) -> StoredFile:
        try:
            source = self._files.get(access, before.input_file_id, before.workspace_id)
        except NotFound:
            raise _input_deleted(before.input_file_id) from None
        _check_unchanged(source, self._files.path_of(source))
        return source

    def _copy(self, access: Access, before: Task, source: StoredFile, done: frozenset[int]) -> StoredFile:
        """The new file, in its place but without a row; it expires as long after its making as the old one."""
        path = self._files.path_of(source)
        kept = None if source.expires_at is None else source.expires_at - source.created_at
        with self._files.receive(
            access,
            filename=f"{before.id}_retry.jsonl",
            expires_after_seconds=None if kept is None else round(kept.total_seconds()),
            workspace_id=before.workspace_id,
        ) as upload:
            try:
                pieces = sum(1 for _ in map(upload.write, _pieces(path, before, done)))
            except FileNotFoundError:
                raise _input_deleted(source.id) from None
            if pieces == 0:
                raise _nothing_to_retry(before)
            return upload.place()

    def _write(
        self,
        tx: Transaction,
        access: Access,
        before: Task,
        file: StoredFile,
        row: dict[str, Any],
        asked: str,
        key: str | None,
    ) -> Task:
        if (made := self._maker.made_before(tx, before.workspace_id, key, asked)) is not None:
            return made
        _check_no_retry_runs(tx, before)
        tx.insert("files", [file])
        return self._maker.make(tx, access, row, asked, key)


def _like(before: Task) -> NewBatch:
    """What a caller would ask for to get such a task again."""
    return NewBatch(
        before.input_file_id,
        before.endpoint,
        before.completion_window,
        before.metadata,
        before.output_expires_after,
    )


def _sha256(task_id: str) -> str:
    """Tells an idempotency key's retry from a retry of another task, and from a new batch."""
    return hashlib.sha256(json.dumps(["retry", task_id]).encode()).hexdigest()


def _check_retryable(reader: Reader, task: Task) -> None:
    """Refuses a task that has not ended, was never acceptable, or has nothing left to ask; and a second retry."""
    if not task.settled:
        raise Conflict(
            f"The batch {task.id!r} is {task.status}; it can be retried when it has ended. "
            "Cancel it or wait for its end.",
            code="batch_not_ended",
        )
    if task.status == "failed":
        raise Conflict(
            f"The batch {task.id!r} failed: its input file is not acceptable or was lost. "
            "See its 'errors', upload a good file and make a new batch.",
            code="batch_failed",
        )
    if task.in_progress_at is not None and task.completed == task.total:
        raise _nothing_to_retry(task)
    _check_no_retry_runs(reader, task)


def _check_no_retry_runs(reader: Reader, task: Task) -> None:
    """Two retries of one task at once would run its requests twice."""
    if (running := reader.one("tasks.running_retry", id=task.id)) is not None:
        raise Conflict(
            f"The batch {running['id']!r} is a retry of {task.id!r} and has not ended; "
            "wait for its end or cancel it.",
            code="retry_running",
        )


def _nothing_to_retry(task: Task) -> Conflict:
    """Every request of the task succeeded, or it never had one."""
    return Conflict(f"Every request of the batch {task.id!r} succeeded.", code="nothing_to_retry")


def _input_deleted(file_id: str) -> Conflict:
    """Without its input nothing can be asked again."""
    return Conflict(
        f"The input file {file_id!r} expired or was deleted; upload it again and make a new batch.",
        param="input_file_id",
        code="input_file_deleted",
    )


def _done_lines(reader: Reader, task: Task) -> frozenset[int]:
    """The lines that succeeded and are not asked again."""
    rows = reader.query("tasks.succeeded_lines", id=task.id)
    if len(rows) != task.completed:
        raise Conflict(
            f"Which requests of the batch {task.id!r} succeeded is no longer known; make a new batch.",
            code="outcomes_expired",
        )
    return frozenset(row["line_no"] for row in rows)


def _check_unchanged(file: StoredFile, path: Path) -> None:
    """Refuses an input file that is missing on disk or not what was uploaded."""
    try:
        same = path.stat().st_size == file.bytes and sha256_of(path, file.bytes) == file.sha256
    except FileNotFoundError:
        raise _input_deleted(file.id) from None
    if not same:
        raise Conflict(
            f"The input file {file.id!r} is not what was uploaded; upload it again and make a new batch.",
            param="input_file_id",
            code="input_file_changed",
        )


def _pieces(path: Path, task: Task, done: Container[int]) -> Iterator[bytes]:
    """What a retry's file consists of, byte for byte, in bounded memory."""
    if task.in_progress_at is None:  # nobody knows its lines: it ended before they were all checked
        return _blocks(path)
    return _lines_but(path, done)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _lines_but(path: Path, done: Container[int]) -> Iterator[bytes]:
    """The lines of an accepted file, so that none is longer than one may be; the blank ones are left out."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.removeprefix(_BOM) if number == 1 else line
            if number not in done and text.strip():
                yield text
