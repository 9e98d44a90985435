"""A new task's file is checked as a whole; then its requests may run, or the task has failed."""

import json
import threading
from collections.abc import Callable
from datetime import datetime

from executor.endings import Endings
from executor.faults import FaultPoints
from executor.models import ModelCatalog
from executor.options import LimitOptions
from executor.recovery import Recovery, StorageLost
from executor.tasks import LineError, Task
from executor.validation import Report, ValidationStopped, validate
from metering.clock import Clock
from metering.store import Store

_NOT_OFFERED = LineError(
    "model_not_found",
    "The model was not offered when the task was created, so that it has no price; create the task again.",
    "body.model",
    None,
)


class Intake:
    """Validates and decides. A crash before the decision is stored starts it again."""

    def __init__(
        self,
        store: Store,
        catalog: ModelCatalog,
        limits: LimitOptions,
        recovery: Recovery,
        endings: Endings,
        on_errors: Callable[[str, int], None],
        clock: Clock,
        faults: FaultPoints,
    ) -> None:
        self._store = store
        self._catalog = catalog
        self._limits = limits
        self._recovery = recovery
        self._endings = endings
        self._on_errors = on_errors
        self._clock = clock
        self._reach = faults

    def validate(self, task: Task, stop: threading.Event) -> Task | None:
        """Accepts the task or fails it, and then returns it; a cancel meanwhile leaves it as it is."""
        try:
            path = self._recovery.input_path(task)
            report = validate(
                path, task.endpoint, self._catalog, self._allowed(task), self._limits, stop=stop
            )
        except ValidationStopped:
            return None
        except StorageLost as lost:
            self._endings.lose(task, str(lost))
            return task
        self._reach("validation.ended")
        if report.errors:
            self._fail(task, report)
            return task
        if self._unpriced(task, report):
            self._endings.refuse(task, (_NOT_OFFERED,))
            return task
        self._accept(task, report, self._clock())
        return None

    def _unpriced(self, task: Task, report: Report) -> bool:
        """Whether its model must be paid for, but was not known when the task was made and got no currency."""
        model = self._catalog.get(report.model or "")
        return task.currency is None and not (model is not None and model.free)

    def _accept(self, task: Task, report: Report, now: datetime) -> None:
        self._store.write(
            lambda tx: tx.execute(
                "engine.accept", id=task.id, model=report.model, total=report.total, now=now
            )
        )

    def _fail(self, task: Task, report: Report) -> None:
        self._endings.refuse(task, report.errors)
        for code, found in report.by_code.items():
            self._on_errors(code, found)

    def _allowed(self, task: Task) -> frozenset[str] | None:
        row = self._store.one("engine.allowed_models", workspace_id=task.workspace_id)
        if row is None or row["allowed_models"] is None:
            return None
        return frozenset(json.loads(row["allowed_models"]))
