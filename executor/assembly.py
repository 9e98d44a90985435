"""What the engine is made of, and how it is put together."""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from executor.dispatch import Dispatcher, Instruments
from executor.endings import Biller, Endings
from executor.engines.attempts import Attempts, AttemptsHere
from executor.engines.away import AttemptsAway
from executor.faults import FaultPoints
from executor.intake import Intake
from executor.lane import Lane
from executor.life import TaskLife, Tools
from executor.limiter import AdaptiveLimit
from executor.models import ModelCatalog
from executor.options import TEST_MODEL, ExecutorOptions, LimitOptions, ModelOptions, RetentionOptions
from executor.quota import quota_of
from executor.recorder import Recorder
from executor.recovery import Recovery
from executor.tasks import Task
from executor.upstream import TestModel
from metering.clock import Clock
from metering.store import Store


class EngineInstruments(Instruments, Protocol):
    """What wants to know of what the engine does."""

    def commit(self, seconds: float, rows: int) -> None:
        """A batch of outcomes became durable."""
        ...

    def validation_error(self, code: str, n: int) -> None:
        """A file had faults of this kind."""
        ...

    def task_ended(self, workspace_id: str, model: str, status: str) -> None:
        """A task is settled."""
        ...


@dataclass(frozen=True, slots=True)
class EngineParts:
    """What the engine is made of."""

    store: Store
    catalog: ModelCatalog
    biller: Biller
    instruments: EngineInstruments
    options: ExecutorOptions
    limits: LimitOptions
    retention: RetentionOptions
    data_dir: Path
    min_free_bytes: int
    api_keys: Mapping[str, str | None]
    """The upstream key of each model that needs one."""
    clock: Clock
    faults: FaultPoints
    on_settled: Callable[[], None] = lambda: None
    """Is told that a task is settled, on the dispatch loop."""


class Listener(Protocol):
    """Who is told what becomes of tasks, on the dispatch loop."""

    async def storage_failed(self, life: TaskLife, error: BaseException) -> None:
        """What memory knew of a task is forgotten; returns when it may be read again."""
        ...

    def restored(self, life: TaskLife) -> None:
        """A task's files and events agree."""
        ...

    def ended(self, task: Task) -> None:
        """A task is settled."""
        ...


def attempts_of(parts: EngineParts) -> Attempts:
    """Where attempts are made, as `executor.engine` says."""
    connections = sum(model.max_concurrency * len(model.upstreams) for model in _models(parts))
    if parts.options.engine == "local":
        return AttemptsHere(connections, parts.options, parts.limits)
    name = hashlib.sha256(str(parts.data_dir.resolve()).encode()).hexdigest()[:8]
    folder = Path(tempfile.gettempdir()) / f"nightrate-ray-{name}"  # short: Ray's sockets lie below it
    return AttemptsAway(connections, parts.options, parts.limits, "executor.engines.ray", str(folder))


def lanes_of(parts: EngineParts, attempts: Attempts) -> dict[str, Sequence[Lane]]:
    """The upstreams of every model, by its name."""
    return {model.name: _lanes(parts, attempts, model) for model in _models(parts)}


def _models(parts: EngineParts) -> list[ModelOptions]:
    found = [parts.catalog.get(name) for name in parts.catalog.allowed(None)]
    return [model for model in found if model is not None]


def _lanes(parts: EngineParts, attempts: Attempts, model: ModelOptions) -> Sequence[Lane]:
    quota = quota_of(model.requests_per_minute, model.tokens_per_minute)
    most, first = model.max_concurrency, model.initial_concurrency
    if model.name == TEST_MODEL:
        return [Lane(model.name, TestModel(), AdaptiveLimit(most, first), quota)]
    key = parts.api_keys.get(model.name)
    upstreams = [attempts.upstream(model, url, key) for url in model.upstreams]
    return [Lane(model.name, upstream, AdaptiveLimit(most, first), quota) for upstream in upstreams]


def tools_of(
    parts: EngineParts, dispatcher: Dispatcher, recorder: Recorder, threads: Executor, listener: Listener
) -> Tools:
    """What every task's life needs."""
    recovery = Recovery(parts.store, parts.data_dir, parts.limits, parts.faults)
    endings = Endings(
        parts.store,
        parts.data_dir,
        parts.limits,
        parts.retention,
        recovery,
        parts.biller,
        parts.clock,
        parts.faults,
    )
    intake = Intake(
        parts.store,
        parts.catalog,
        parts.limits,
        recovery,
        endings,
        parts.instruments.validation_error,
        parts.clock,
        parts.faults,
    )
    return Tools(
        store=parts.store,
        catalog=parts.catalog,
        dispatcher=dispatcher,
        recorder=recorder,
        recovery=recovery,
        intake=intake,
        endings=endings,
        options=parts.options,
        clock=parts.clock,
        threads=threads,
        validations=asyncio.Semaphore(parts.limits.validations_at_once),
        on_storage_failure=listener.storage_failed,
        on_restored=listener.restored,
        on_ended=listener.ended,
    )
