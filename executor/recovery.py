"""After a start or a failure: make files and events agree with each other, and know what is left to do.

What the store holds decides. Files are cut back to their stored lengths; where a file is shorter than
that, the events whose lines are gone are forgotten in one transaction and their requests run again.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from executor.faults import FaultPoints
from executor.options import LimitOptions, ModelOptions
from executor.request import Request, outgoing_body
from executor.result_files import LineFile, ResultFiles, sha256_of, whole_lines
from executor.run import TaskRun
from executor.tasks import Task
from executor.validation import read_requests
from metering.store import Store, Transaction

log = logging.getLogger("nightrate.recovery")


class StorageLost(Exception):
    """A task's input file is missing or not the one that was uploaded."""


@dataclass(frozen=True, slots=True)
class _Line:
    line_no: int


class Recovery:
    """Brings one task's files and events together."""

    def __init__(self, store: Store, data_dir: Path, limits: LimitOptions, faults: FaultPoints) -> None:
        self._store = store
        self._data_dir = data_dir
        self._limits = limits
        self._reach = faults

    def input_path(self, task: Task) -> Path:
        """The task's input file, checked against what was uploaded; raises `StorageLost`."""
        row = self._store.one("engine.input_file", id=task.input_file_id)
        if row is None or row["deleted_at"] is not None:
            raise StorageLost(f"the input file {task.input_file_id} was deleted")
        path = self._data_dir / str(row["path"])
        try:
            changed = path.stat().st_size != row["bytes"] or sha256_of(path, row["bytes"]) != row["sha256"]
        except FileNotFoundError:
            raise StorageLost(f"the input file {task.input_file_id} is missing on disk") from None
        if changed:
            raise StorageLost(f"the input file {task.input_file_id} is not what was uploaded")
        return path

    def restore(self, task: Task) -> ResultFiles:
        """Both files, cut to what counts. Events whose lines are gone are forgotten first.

        Raises `LinesLost` where that changed the task's row, which must then be read again.
        """
        files = ResultFiles.of(self._data_dir, task.id, task.output_bytes, task.error_bytes)
        try:
            if any(_size(file) < file.length for file in files.both()):
                self._forget_lost(task, files)
                raise LinesLost(task.id)
            for file in files.both():
                file.cut()
            self._reach("recovery.cut")
        except BaseException:
            files.close()
            raise
        return files

    def done_lines(self, task: Task) -> frozenset[int]:
        """The lines that have their final answer."""
        return frozenset(row["line_no"] for row in self._store.query("engine.done_lines", task_id=task.id))

    def run_of(self, task: Task, model: ModelOptions) -> TaskRun:
        """All that memory needs to go on with a task."""
        path = self.input_path(task)
        files = self.restore(task)
        try:
            done = self.done_lines(task)
            self._reach("recovery.done")
        except BaseException:
            files.close()
            raise
        return TaskRun(task, model, files, self._requests(path, done, model, task.endpoint), len(done))

    def _requests(
        self, path: Path, done: frozenset[int], model: ModelOptions, endpoint: str
    ) -> Iterator[Request]:
        for line in read_requests(path, done, self._limits):
            yield Request(line.line_no, line.custom_id, outgoing_body(line.body, model, endpoint))

    def _forget_lost(self, task: Task, files: ResultFiles) -> None:
        """Keeps the whole lines that are left, and of the events only those whose lines are."""
        kept = [whole_lines(file.path, file.length) for file in files.both()]
        lost = self.done_lines(task) - kept[0][1] - kept[1][1]
        log.warning("%s: files are shorter than stored, %d requests run again", task.id, len(lost))

        def forget(tx: Transaction) -> None:
            if lost:
                tx.merge("engine.forget_lines", [_Line(line_no) for line_no in lost], task_id=task.id)
            tx.execute("engine.restore_lengths", id=task.id, output_bytes=kept[0][0], error_bytes=kept[1][0])
            tx.execute("engine.reopen_completed", id=task.id)

        self._store.write(forget)
        self._reach("recovery.forgot")


class LinesLost(Exception):
    """A file was shorter than stored; the task's row has changed and must be read again."""


def _size(file: LineFile) -> int:
    try:
        return file.path.stat().st_size
    except FileNotFoundError:
        return 0
