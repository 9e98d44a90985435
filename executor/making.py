"""How a task comes to be: its file, its model's currency, its row, and the key that makes it only once."""

import json
import uuid
from datetime import timedelta
from typing import Any, Protocol

from executor.files import Files, StoredFile
from executor.models import ModelCatalog, may_use
from executor.new_batch import NewBatch
from executor.options import TEST_MODEL
from executor.owners import Owner, enabled_owner
from executor.tasks import Task, task_of
from executor.validation import peek_model
from metering.access import Access
from metering.clock import Clock
from metering.errors import Conflict, InvalidParameter, NotFound, TooMany
from metering.store import Reader, Transaction

IDEMPOTENCY_KEPT = timedelta(hours=24)
IDEMPOTENCY_KEY_CHARACTERS = 255


class Prices(Protocol):
    """What intake asks of the price book."""

    def currency_for(self, model: str, workspace_currency: str | None = None) -> str:
        """The currency of a new task; without a price in force it is refused (`no_price`)."""
        ...


class BudgetLimit(Protocol):
    """What intake asks of the budgets."""

    def check(self, workspace_id: str) -> None:
        """Refuses (`TooMany`, `budget_exceeded`) a new task of a workspace whose budget is used up."""
        ...


class TaskMaker:
    """The steps that a new task and a retry have in common. Thread-safe."""

    def __init__(
        self,
        files: Files,
        catalog: ModelCatalog,
        prices: Prices,
        clock: Clock,
        budgets: BudgetLimit | None = None,
    ) -> None:
        """Without `budgets` nothing is limited by them."""
        self._files = files
        self._catalog = catalog
        self._prices = prices
        self._limits = files.limits
        self._clock = clock
        self._budgets = budgets

    def input_file(self, access: Access, file_id: str, workspace_id: str) -> StoredFile:
        """The uploaded file of that id; what can't be run is `InvalidParameter`."""
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

    def row(
        self, access: Access, owner: Owner, new: NewBatch, source: StoredFile, retry_of: str | None = None
    ) -> dict[str, Any]:
        """The task's row, with the model that `source` asks and its currency.

        Refused: a workspace whose budget is used up, a model without a price.
        """
        if self._budgets is not None:
            self._budgets.check(owner.id)
        model = self._model_of(source)
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
            "currency": self._currency(model, owner),
            "output_expires_after": new.output_expires_after,
            "retry_of": retry_of,
            "created_at": now,
            "expires_at": now + new.window,
        }

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

    def make(
        self, tx: Transaction, access: Access, row: dict[str, Any], body_sha256: str, key: str | None
    ) -> Task:
        """Writes the row, or gives the task that the idempotency key made before."""
        # All that was read before is asked again: this is the only place where nothing can change meanwhile.
        workspace_id = row["workspace_id"]
        enabled_owner(tx, access, workspace_id)
        if (made := self.made_before(tx, workspace_id, key, body_sha256)) is not None:
            return made
        now = self._clock()
        if tx.one("files.one", id=row["input_file_id"], workspace_id=workspace_id, now=now) is None:
            raise _no_input_file(row["input_file_id"])
        if row["model"] == TEST_MODEL:
            self._check_test_tasks(tx, workspace_id)
        tx.execute("tasks.insert", **row)
        if key is not None:
            tx.execute("tasks.forget_keys", since=now - IDEMPOTENCY_KEPT, workspace_id=workspace_id, key=key)
            tx.execute(
                "tasks.keep_key",
                workspace_id=workspace_id,
                key=key,
                body_sha256=body_sha256,
                task_id=row["id"],
                now=now,
            )
        return _task(tx, row["id"], workspace_id)

    def made_before(
        self, reader: Reader, workspace_id: str, key: str | None, body_sha256: str
    ) -> Task | None:
        """The task that this idempotency key made within 24 hours; with another body it is a `Conflict`."""
        if key is None:
            return None
        since = self._clock() - IDEMPOTENCY_KEPT
        made = reader.one("tasks.made_with_key", workspace_id=workspace_id, key=key, since=since)
        if made is None:
            return None
        if made["body_sha256"] != body_sha256:
            raise Conflict(
                "This Idempotency-Key was used with another body within the last 24 hours; use a new key.",
                param="Idempotency-Key",
                code="idempotency_key_reused",
            )
        return _task(reader, made["task_id"], workspace_id)

    def _check_test_tasks(self, reader: Reader, workspace_id: str) -> None:
        running = reader.one("tasks.running_of_model", workspace_id=workspace_id, model=TEST_MODEL)
        if running is not None and running["tasks"] >= self._limits.test_tasks:
            raise TooMany(
                f"{self._limits.test_tasks} tasks of '{TEST_MODEL}' are running, more are not allowed at once; "
                "wait for one to end, or cancel it.",
                code="too_many_test_tasks",
            )


def check_key(key: str | None) -> None:
    """Refuses an idempotency key that is empty or too long."""
    if key is not None and not 0 < len(key) <= IDEMPOTENCY_KEY_CHARACTERS:
        raise InvalidParameter(
            f"The header Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_CHARACTERS} characters.",
            param="Idempotency-Key",
        )


def _task(reader: Reader, task_id: str, workspace_id: str) -> Task:
    row = reader.one("tasks.one", id=task_id, workspace_id=workspace_id)
    if row is None:
        raise NotFound("batch", task_id, param="batch_id")
    return task_of(row)


def _no_input_file(file_id: str) -> InvalidParameter:
    return InvalidParameter(
        f"No such file: {file_id!r}. Give the id of a file of this workspace that was uploaded with the "
        "purpose 'batch', and neither expired nor was deleted.",
        param="input_file_id",
    )
