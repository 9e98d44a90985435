"""Tasks as callers make, see and cancel them. What runs them is told by `on_change` after each commit."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from executor.files import Files
from executor.making import BudgetLimit, Prices, TaskMaker, check_key
from executor.models import ModelCatalog
from executor.new_batch import NewBatch
from executor.owners import enabled_owner, owner_of
from executor.result_files import error_path, output_path, whole_lines
from executor.retries import Retries
from executor.tasks import Status, Task, task_of
from metering.access import Access
from metering.clock import Clock
from metering.errors import Conflict, InvalidParameter, NotFound, Refused
from metering.pages import Page, page_of
from metering.store import Reader, Row, Store, Transaction


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows; None is no condition."""

    limit: int = 20
    after: str | None = None
    """The id that the last page ended with."""
    skip: int = 0
    """How many of the newest are left out; for pages that are numbered."""
    statuses: tuple[Status, ...] | None = None
    ds_name: str | None = None
    """A part of the name."""
    search: str | None = None
    """A part of the name or of the id."""
    input_file_ids: tuple[str, ...] | None = None
    created_from: datetime | None = None
    """Inclusive."""
    created_before: datetime | None = None
    """Exclusive."""
    workspace_id: str | None = None


class ResultsGone(Refused):
    """The task is there, but its results no longer are."""

    status = 404

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"The results of the batch {task_id!r} are gone: their file expired or was deleted.",
            param="batch_id",
            code="results_gone",
        )


class Batches:
    """Everything that callers do to tasks. Thread-safe: each change is one transaction."""

    def __init__(
        self,
        store: Store,
        files: Files,
        catalog: ModelCatalog,
        prices: Prices,
        clock: Clock,
        on_change: Callable[[str], None],
        budgets: BudgetLimit | None = None,
    ) -> None:
        self._store = store
        self._files = files
        self._catalog = catalog
        self._clock = clock
        self._on_change = on_change
        self._maker = TaskMaker(files, catalog, prices, clock, budgets)
        self._retries = Retries(store, files, self._maker)

    # -- making ------------------------------------------------------------------------------------

    def create(
        self,
        access: Access,
        new: NewBatch,
        *,
        idempotency_key: str | None = None,
        workspace_id: str | None = None,
    ) -> Task:
        """Makes a task in status `validating`, or gives the one that this idempotency key made before."""
        check_key(idempotency_key)
        asked = new.sha256()
        with self._store.reading() as reader:
            owner = enabled_owner(reader, access, workspace_id)
            made = self._maker.made_before(reader, owner.id, idempotency_key, asked)
        if made is not None:
            return made
        file = self._maker.input_file(access, new.input_file_id, owner.id)
        row = self._maker.row(access, owner, new, file)
        task = self._store.write(lambda tx: self._maker.make(tx, access, row, asked, idempotency_key))
        self._on_change(task.id)
        return task

    def retry(
        self,
        access: Access,
        task_id: str,
        *,
        idempotency_key: str | None = None,
        workspace_id: str | None = None,
    ) -> Task:
        """A task on a new file with the failed and never-executed lines of an ended one (SPEC §3.4).

        `Conflict` tells why it can't be; the same idempotency key gives the same task again.
        """
        check_key(idempotency_key)
        with self._store.reading(snapshot=False) as reader:
            before = self._read(reader, task_id, access.visible(workspace_id))
        task = self._retries.retry(access, before, idempotency_key)
        self._on_change(task.id)
        return task

    # -- seeing ------------------------------------------------------------------------------------

    def get(self, access: Access, task_id: str, workspace_id: str | None = None) -> Task:
        """A task that the caller may see."""
        with self._store.reading(snapshot=False) as reader:
            return self._read(reader, task_id, access.visible(workspace_id))

    def list(self, access: Access, asked: TaskFilter) -> Page[Task]:
        """Tasks, newest first."""
        scope = access.visible(asked.workspace_id)
        with self._store.reading() as reader:
            place: Row | None = None
            if asked.after is not None:
                place = reader.one("tasks.one", id=asked.after, workspace_id=scope)
                if place is None:
                    raise InvalidParameter(f"No such batch: {asked.after!r}.", param="after")
            rows = reader.query(
                "tasks.page",
                **_conditions(asked, scope),
                after_at=place and place["created_at"],
                after_id=asked.after,
                rows=asked.limit + 1,
                skip=asked.skip,
            )
        return page_of([task_of(row) for row in rows], asked.limit)

    def count(self, access: Access, asked: TaskFilter) -> int:
        """How many tasks the filter finds on all its pages."""
        row = self._store.one("tasks.number", **_conditions(asked, access.visible(asked.workspace_id)))
        return int(row["tasks"]) if row else 0

    def usable_models(self, access: Access, workspace_id: str | None = None) -> tuple[str, ...]:
        """The names of the models that the caller may use."""
        scope = access.visible(workspace_id)
        if scope is None:
            return tuple(self._catalog.allowed(None))
        with self._store.reading() as reader:
            return tuple(self._catalog.allowed(owner_of(reader, scope).allowed_models))

    def results_so_far(
        self, access: Access, task_id: str, workspace_id: str | None = None
    ) -> tuple[Path, int]:
        """Where a task's result lines lie and how many bytes of them count; 0 while there is nothing.

        They are whole lines. The file of an ended task that expired or was deleted is `NotFound`.
        """
        task = self.get(access, task_id, workspace_id)
        path = self._store.data_dir / output_path(task.id)
        if task.settled:
            return path, self._length_of_results(access, task, path)
        if task.output_bytes and not _has(path, task.output_bytes):
            return path, whole_lines(path, task.output_bytes)[0]  # damaged; it is about to be mended
        return path, task.output_bytes

    def errors_so_far(
        self, access: Access, task_id: str, workspace_id: str | None = None
    ) -> tuple[Path, int]:
        """The same of the error lines of a task that still runs; 0 once it ended and the file is one of `Files`."""
        task = self.get(access, task_id, workspace_id)
        return self._store.data_dir / error_path(task.id), 0 if task.settled else task.error_bytes

    def _length_of_results(self, access: Access, task: Task, path: Path) -> int:
        if task.output_file_id is None:
            return 0
        try:
            file = self._files.get(access, task.output_file_id, task.workspace_id)
        except NotFound:
            raise ResultsGone(task.id) from None
        if not _has(path, file.bytes):
            raise ResultsGone(task.id)
        return file.bytes

    def _read(self, reader: Reader, task_id: str, scope: str | None) -> Task:
        row = reader.one("tasks.one", id=task_id, workspace_id=scope)
        if row is None:
            raise NotFound("batch", task_id, param="batch_id")
        return task_of(row)

    # -- cancelling --------------------------------------------------------------------------------

    def cancel(self, access: Access, task_id: str, workspace_id: str | None = None) -> Task:
        """Asks a task to stop; it is durable before this returns. A cancelled one stays as it is."""
        scope = access.visible(workspace_id)
        task, changed = self._store.write(lambda tx: self._cancel(tx, task_id, scope))
        if changed:
            self._on_change(task.id)
        return task

    def _cancel(self, tx: Transaction, task_id: str, scope: str | None) -> tuple[Task, bool]:
        before = self._read(tx, task_id, scope)
        if before.status in ("cancelling", "cancelled"):
            return before, False
        if tx.execute("tasks.cancel", id=task_id, now=self._clock()) == 0:
            raise Conflict(
                f"Cannot cancel a batch with status '{before.status}'.", code="batch_not_cancellable"
            )
        return self._read(tx, task_id, scope), True

    def cancel_workspace(self, workspace_id: str) -> tuple[str, ...]:
        """Cancels whatever a workspace has running, when it is disabled; gives the ids."""

        def cancel_all(tx: Transaction) -> list[str]:
            ids = [str(row["id"]) for row in tx.query("tasks.cancellable", workspace_id=workspace_id)]
            for task_id in ids:
                tx.execute("tasks.cancel", id=task_id, now=self._clock())
            return ids

        cancelled = self._store.write(cancel_all)
        for task_id in cancelled:
            self._on_change(task_id)
        return tuple(cancelled)


def _conditions(asked: TaskFilter, scope: str | None) -> dict[str, Any]:
    return {
        "workspace_id": scope,
        "statuses": None if asked.statuses is None else list(asked.statuses),
        "ds_name": asked.ds_name,
        "search": asked.search,
        "input_file_ids": None if asked.input_file_ids is None else list(asked.input_file_ids),
        "created_from": asked.created_from,
        "created_before": asked.created_before,
    }


def _has(path: Path, length: int) -> bool:
    try:
        return path.stat().st_size >= length
    except FileNotFoundError:
        return False
