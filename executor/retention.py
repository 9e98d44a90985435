"""Removes what has been kept long enough: bytes of files, events of closed months, names of tasks (SPEC §12).

The ledger, rollups and digests stay for ever, so that bills and statistics can be proved without what is removed.
"""

import logging
import threading
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from executor.options import RetentionOptions
from metering.clock import Clock
from metering.failures import StoreError
from metering.store import Store

log = logging.getLogger("nightrate.retention")

_SECONDS_BETWEEN = 3600.0
_AT_ONCE = 500
_BYTES_MAY_BE_LEFT = timedelta(days=7)
"""Bytes of files that were deleted since then are looked for again: a crash may have come before they were removed."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What one round took away."""

    files: int
    tasks_events: int
    """Tasks whose events are gone."""
    tasks_names: int
    """Tasks whose name, description, metadata and errors are gone."""


class Retention:
    """Looks at start and once an hour, in a thread of its own; every step is a small transaction."""

    def __init__(self, store: Store, data_dir: Path, options: RetentionOptions, clock: Clock) -> None:
        self._store = store
        self._data_dir = data_dir
        self._options = options
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the step that is under way."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def remove(self) -> Removed:
        """One round; what it leaves since it was stopped is the next one's."""
        removed = Removed(self._files(), self._events(), self._names())
        if any((removed.files, removed.tasks_events, removed.tasks_names)):
            log.info(
                "removed: %d files, the events of %d tasks, the names of %d tasks",
                removed.files, removed.tasks_events, removed.tasks_names,
            )  # fmt: skip
        return removed

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.remove()
            except (StoreError, OSError) as error:
                log.warning("nothing more is removed for now: %s", error)
            self._stopping.wait(_SECONDS_BETWEEN)

    def _files(self) -> int:
        """Marked first, then removed: a row that says present must have its bytes."""
        for row in self._store.query("retention.lately_deleted", since=self._clock() - _BYTES_MAY_BE_LEFT):
            self._remove(row["path"])
        count = 0
        while not self._stopping.is_set():
            now = self._clock()
            rows = self._store.query(
                "retention.files", now=now, file_days=self._options.file_days, rows=_AT_ONCE
            )
            marked = [row for row in rows if self._execute("files.mark_deleted", id=row["id"], now=now)]
            for row in marked:
                self._remove(row["path"])
            count += len(marked)
            if not marked:
                break
        return count

    def _remove(self, path: str) -> None:
        (self._data_dir / path).unlink(missing_ok=True)

    def _events(self) -> int:
        """All of a task or none: the audit takes a task without events for an old one, with some for a damaged one."""
        before, count = self._clock() - timedelta(days=self._options.event_days), 0
        while not self._stopping.is_set():
            rows = self._store.query("retention.tasks_with_events", before=before, rows=_AT_ONCE)
            for row in rows:
                if self._stopping.is_set():
                    break
                self._execute("retention.forget_events", id=row["id"])
                count += 1
            if not rows:
                break
        return count

    def _names(self) -> int:
        before = self._clock() - timedelta(days=self._options.task_days)
        self._execute("retention.forget_notifications", before=before)
        return self._execute("retention.forget_names", before=before)

    def _execute(self, statement: str, **values: object) -> int:
        return self._store.write(lambda tx: tx.execute(statement, **values))
