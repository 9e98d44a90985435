"""Runs a plan through the services of an installation, as its people would: the clock alone is moved."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from functools import partial

from executor.batches import TaskFilter
from executor.new_batch import NewBatch
from executor.tasks import Status, Task
from metering.access import ADMIN, DEFAULT_WORKSPACE, Access
from metering.ledger import ChargeFilter
from metering.pages import Page
from nightrate.demo.clock import MovedClock
from nightrate.demo.jobs import HOME, WORKSPACES, input_file, long_file, unacceptable_file
from nightrate.demo.plan import Action, Close, Correct, Down, Submit, Up, Wave
from nightrate.demo.upstream_process import UpstreamProcess
from nightrate.services import Services

RUNNING: tuple[Status, ...] = ("validating", "in_progress", "finalizing", "cancelling")
_LOOK_SECONDS = 0.02
_BESIDE, _BESIDE_SECONDS = 2, 0.6
"""So many tasks may still run when the next wave comes: those of slow models take until then."""
_NIGHT, _NIGHT_SECONDS = timedelta(hours=9), 2.5
"""Before a pause everything ends, but for what an outage keeps. Slow machines are not waited for."""
_PATIENCE_SECONDS = 60.0
_HANDS = 4
_BUDGET_PART = Decimal("0.86")
_BUDGETED = "Support desk"


class FillingFailed(Exception):
    """The engine does not come to an end; the message says with what."""


class Filling:
    """One run of a plan."""

    def __init__(self, services: Services, clock: MovedClock, upstream: UpstreamProcess) -> None:
        self._services = services
        self._clock = clock
        self._upstream = upstream
        self._callers = _callers(services)
        self._hands = ThreadPoolExecutor(_HANDS, "demo-people")
        self._down: set[str] = set()
        self._open = {task.id: task for task in self._unsettled()}
        self._left = set(self._open)
        self._to_retry: dict[str, Access] = {}
        self.tasks = 0
        """How many were made."""

    def run(self, waves: Sequence[Wave], progressed: Callable[[int], None]) -> None:
        """Everything that the plan says; `progressed` is told how many waves are through."""
        for number, wave in enumerate(waves, 1):
            self._clock.move_to(wave.at)
            self._wake()
            self._submit([action for action in wave.actions if isinstance(action, Submit)])
            for action in wave.actions:
                self._do(action)
            pause = waves[number].at - wave.at if number < len(waves) else _NIGHT
            self._settle(*((0, _NIGHT_SECONDS) if pause >= _NIGHT else (_BESIDE, _BESIDE_SECONDS)))
            self._retry()
            progressed(number)
        self._until(lambda: not self._running(), "tasks")
        self._retry()
        self._until(lambda: not self._running(), "retries")
        self._set_budget()
        self._hands.shutdown()

    def _do(self, action: Action) -> None:
        match action:
            case Down(model, after):
                self._until(lambda: self._done_of(model) >= after, model)
                self._down.add(model)
                self._upstream.down(model)
            case Up(model):
                self._upstream.up(model)
                self._down.discard(model)
            case Correct(reason):
                self._correct(reason)
            case Close():
                self._close()

    # -- what people do ----------------------------------------------------------------------------

    def _submit(self, submits: Sequence[Submit]) -> None:
        """Makes the tasks of a wave, all at once; what an earlier filling left running is enough of that."""
        wanted = [submit for submit in submits if not (submit.left_running and self._left)]
        for submit, task in zip(wanted, self._hands.map(self._make, wanted), strict=True):
            self._follow(task)
            caller = self._callers[submit.job.workspace]
            if submit.left_running:
                self._left.add(task.id)
            if submit.cancelled_after is not None:
                self._until(partial(self._has_done, task.id, submit.cancelled_after), task.id)
                self._services.batches.cancel(caller, task.id)
            if submit.retried:
                self._to_retry[task.id] = caller

    def _make(self, submit: Submit) -> Task:
        job, caller = submit.job, self._callers[submit.job.workspace]
        lines = long_file if submit.left_running else input_file if submit.acceptable else unacceptable_file
        name = f"{job.name.lower().replace(' ', '-')}-{submit.number}.jsonl"
        with self._services.files.receive(caller, filename=name) as upload:
            upload.write(b"".join(lines(job, submit.requests, submit.number)))
            file = upload.commit()
        metadata = {"ds_name": f"{job.name}, {self._clock():%d %b}"}
        metadata |= {"ds_description": job.system} if job.system else {}
        return self._services.batches.create(caller, NewBatch(file.id, job.endpoint, submit.window, metadata))

    def _has_done(self, task_id: str, requests: int) -> bool:
        return self._get(task_id).completed >= requests

    def _retry(self) -> None:
        for task_id, caller in list(self._to_retry.items()):
            task = self._get(task_id)
            if task.settled:
                del self._to_retry[task_id]
                if task.status != "failed" and task.completed < task.total:
                    self._follow(self._services.batches.retry(caller, task_id))

    def _follow(self, task: Task) -> None:
        self._open[task.id] = task
        self.tasks += 1

    def _correct(self, reason: str) -> None:
        wanted = ChargeFilter(workspace_id=self._callers[_BUDGETED].workspace_id, kind="usage", limit=1)
        for charge in self._services.ledger.charges(ADMIN, wanted).data:
            self._services.books.corrections.correct(ADMIN, charge["charge_id"], reason)

    def _close(self) -> None:
        now = self._clock()
        last = now.replace(day=1) - timedelta(days=1)
        self._services.books.closing.close(ADMIN, f"{last:%Y-%m}")

    def _set_budget(self) -> None:
        """One workspace has used most of what it may, so that its notice can be seen."""
        workspace_id = str(self._callers[_BUDGETED].workspace_id)
        spent = self._spent(workspace_id)
        if spent > 0:
            budget = (spent / _BUDGET_PART).quantize(Decimal("0.01"), ROUND_UP)
            self._services.workspaces.change(workspace_id, {"budget": budget})

    def _spent(self, workspace_id: str) -> Decimal:
        period = f"{self._clock():%Y-%m}"
        charges = self._services.ledger.charges(
            ADMIN, ChargeFilter(workspace_id=workspace_id, period=period, limit=10_000)
        )
        return sum((Decimal(charge["amount"]) for charge in charges.data), Decimal(0))

    # -- waiting -----------------------------------------------------------------------------------

    def _wake(self) -> None:
        """Tells the engine to look at the clock again: a window may have passed in the jump."""
        for task in self._open.values():
            if task.expires_at <= self._clock():
                self._services.engine.wake(task.id)

    def _settle(self, beside: int, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while len(self._running()) > beside and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def _until(self, good: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not good():
            if time.monotonic() > deadline:
                raise FillingFailed(f"{what} did not come to an end within {_PATIENCE_SECONDS:g} s")
            time.sleep(_LOOK_SECONDS)

    def _running(self) -> list[Task]:
        """What runs and can come to its end now."""
        for task_id in list(self._open):
            # the engine knows without a query, but of a new task not at once
            if self._services.engine.live(task_id) is None and self._get(task_id).settled:
                del self._open[task_id]
        return [t for t in self._open.values() if t.model not in self._down and t.id not in self._left]

    def _unsettled(self) -> list[Task]:
        """What an earlier filling or its people left."""
        page: Page[Task] = self._services.batches.list(ADMIN, TaskFilter(limit=1000, statuses=RUNNING))
        return page.data

    def _done_of(self, model: str) -> int:
        return sum(self._get(task.id).completed for task in self._open.values() if task.model == model)

    def _get(self, task_id: str) -> Task:
        return self._services.batches.get(ADMIN, task_id)


def _callers(services: Services) -> dict[str, Access]:
    """A key of each workspace; both are made if they are not there yet."""
    known = {space.name: space.id for space in services.workspaces.list().data} | {HOME: DEFAULT_WORKSPACE}
    return {name: _caller(services, known.get(name) or _made(services, name)) for name in WORKSPACES}


def _made(services: Services, name: str) -> str:
    return services.workspaces.create(name)[0].id


def _caller(services: Services, workspace_id: str) -> Access:
    keys = [key for key in services.workspaces.keys(workspace_id).data if key.revoked_at is None]
    key = keys[0] if keys else services.workspaces.create_key(workspace_id, "nightly jobs")[0]
    return Access(workspace_id, key.id)


@contextmanager
def working(services: Services) -> Iterator[Services]:
    """The services at work."""
    services.start()
    try:
        yield services
    finally:
        services.stop()


def story_time(start: datetime, end: datetime) -> MovedClock:
    """The clock of a filling: within a wave twenty minutes pass in a second."""
    return MovedClock(start, end, 1200)
