"""Tasks as callers make, see and cancel them. What runs them is told by `on_change` after each commit."""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from executor.files import Files, StoredFile
from executor.models import ModelCatalog, may_use
from executor.new_batch import NewBatch
from executor.options import TEST_MODEL
from executor.owners import Owner, enabled_owner, owner_of
from executor.tasks import Status, Task, task_of
from executor.validation import peek_model
from metering.access import Access
from metering.clock import Clock
from metering.errors import Conflict, InvalidParameter, NotFound, TooMany
from metering.pages import Page, page_of
from metering.store import Reader, Row, Store, Transaction

IDEMPOTENCY_KEPT = timedelta(hours=24)
IDEMPOTENCY_KEY_CHARACTERS = 255


class Prices(Protocol):
    """What intake asks of the price book."""

    def currency_for(self, model: str, workspace_currency: str | None = None) -> str:
        """The currency of a new task; without a price in force it is refused (`no_price`)."""
        ...


@dataclass(frozen=True, slots=True)
class TaskFilter:
    """Which tasks a list shows; None is no condition."""

    limit: int = 20
    after: str | None = None
    """The id that the last page ended with."""
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
    ) -> None:
        self._store = store
        self._files = files
        self._catalog = catalog
        self._prices = prices
        self._limits = files.limits
        self._clock = clock
        self._on_change = on_change

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
        _check_key(idempotency_key)
        with self._store.reading() as reader:
            owner = enabled_owner(reader, access, workspace_id)
            made = self._made_before(reader, owner.id, idempotency_key, new)
        if made is not None:
            return made
        file = self._input_file(access, new.input_file_id, owner.id)
        model = self._model_of(file)
        currency = self._currency(model, owner)
        row = self._row(access, owner, new, model, currency)
        task = self._store.write(lambda tx: self._make(tx, access, row, new, idempotency_key))
        self._on_change(task.id)
        return task

    def _input_file(self, access: Access, file_id: str, workspace_id: str) -> StoredFile:
        try:
            file = self._files.get(access, file_id, workspace_id)
        except NotFound:
            raise _no_input_file(file_id) from None
        if file.purpose != "batch":
            raise InvalidParameter(
                f"The file {file_id!r} has the purpose '{file.purpose}'; upload one with the purpose 'batch'.",
                param="input_file_id",
            )
        return file

    def _model_of(self, file: StoredFile) -> str | None:
        try:
            model = peek_model(self._files.path_of(file), self._limits)
        except OSError:
            return None  # its task will end as `failed`, with the reason
        # A name that nobody knows may be megabytes long, and makes the task fail anyway.
        return model if model is not None and self._catalog.get(model) is not None else None

    def _currency(self, model: str | None, owner: Owner) -> str | None:
        options = self._catalog.get(model) if model is not None else None
        if options is None or options.free or not may_use(options.name, owner.allowed_models):
            return None
        return self._prices.currency_for(options.name, owner.currency)

    def _row(
        self, access: Access, owner: Owner, new: NewBatch, model: str | None, currency: str | None
    ) -> dict[str, Any]:
        now = self._clock()
        return {
            "id": f"batch_{uuid.uuid4().hex}",
            "workspace_id": owner.id,
            "api_key_id": access.key_id,
            "endpoint": new.endpoint,
            "input_file_id": new.input_file_id,
            "completion_window": new.completion_window,
            "metadata": None if new.metadata is None else json.dumps(dict(new.metadata), ensure_ascii=False),
            "name": new.name,
            "description": new.description,
            "callback_url": new.callback_url,
            "model": model,
            "currency": currency,
            "output_expires_after": new.output_expires_after,
            "created_at": now,
            "expires_at": now + new.window,
        }

    def _make(
        self, tx: Transaction, access: Access, row: dict[str, Any], new: NewBatch, key: str | None
    ) -> Task:
        # All that was read before is asked again: this is the only place where nothing can change meanwhile.
        workspace_id = row["workspace_id"]
        enabled_owner(tx, access, workspace_id)
        if (made := self._made_before(tx, workspace_id, key, new)) is not None:
            return made
        now = self._clock()
        if tx.one("files.one", id=new.input_file_id, workspace_id=workspace_id, now=now) is None:
            raise _no_input_file(new.input_file_id)
        if row["model"] == TEST_MODEL:
            self._check_test_tasks(tx, workspace_id)
        tx.execute("tasks.insert", **row)
        if key is not None:
            tx.execute("tasks.forget_keys", since=now - IDEMPOTENCY_KEPT, workspace_id=workspace_id, key=key)
            tx.execute(
                "tasks.keep_key",
                workspace_id=workspace_id,
                key=key,
                body_sha256=new.sha256(),
                task_id=row["id"],
                now=now,
            )
        return self._read(tx, row["id"], workspace_id)

    def _made_before(self, reader: Reader, workspace_id: str, key: str | None, new: NewBatch) -> Task | None:
        if key is None:
            return None
        since = self._clock() - IDEMPOTENCY_KEPT
        made = reader.one("tasks.made_with_key", workspace_id=workspace_id, key=key, since=since)
        if made is None:
            return None
        if made["body_sha256"] != new.sha256():
            raise Conflict(
                "This Idempotency-Key was used with another body within the last 24 hours; use a new key.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        return self._read(reader, made["task_id"], workspace_id)

    def _check_test_tasks(self, reader: Reader, workspace_id: str) -> None:
        running = reader.one("tasks.running_of_model", workspace_id=workspace_id, model=TEST_MODEL)
        if running is not None and running["tasks"] >= self._limits.test_tasks:
            raise TooMany(
                f"{self._limits.test_tasks} tasks of '{TEST_MODEL}' are running, more are not allowed at once; "
                "wait for one to end, or cancel it.",
                code="too_many_test_tasks",
            )

    # -- seeing ------------------------------------------------------------------------------------

    def get(self, access: Access, task_id: str, workspace_id: str | None = None) -> Task:
        """A task that the caller may see."""
        with self._store.reading() as reader:
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


def _check_key(key: str | None) -> None:
    if key is not None and not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS:
        raise InvalidParameter(
            f"The header Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_CHARACTERS} characters.",
            param="Idempotency-Key",
        )


def _no_input_file(file_id: str) -> InvalidParameter:
    return InvalidParameter(
        f"No such file: {file_id!r}. Give the id of a file of this workspace that was uploaded with the "
        "purpose 'batch', and neither expired nor was deleted.",
        param="input_file_id",
    )
