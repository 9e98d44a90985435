"""The audit as a service: over the tasks that were asked for, one by one, in constant memory."""

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import asdict

from metering.access import ADMIN, Access
from metering.audit.price_history import PriceHistory
from metering.audit.report import AuditRequest, Progress, Report, TaskResult
from metering.audit.task_audit import Surroundings, TaskAudit
from metering.clock import Clock
from metering.errors import Conflict, NotFound
from metering.options import BillingOptions
from metering.ranges import EARLIEST, LATEST, Range, month
from metering.statements import Statements
from metering.store import Reader, Row, Store
from metering.verification import Verification

log = logging.getLogger("nightrate.audit")

_PAGE_TASKS = 200


class Audit:
    """Audits the ledger of a data folder. One audit runs at a time."""

    def __init__(
        self,
        store: Store,
        billing: BillingOptions,
        event_days: int,
        in_book: Callable[[str], bool],
        clock: Clock,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        """`event_days` is how long events are kept, `in_book` whether the price book has a price's id.

        `on_done` is told after the result of an audit was stored.
        """
        self._store, self._zone, self._event_days = store, billing.zone, event_days
        self._in_book, self._clock, self._on_done = in_book, clock, on_done
        self._months = Verification(store, Statements(store, billing), billing.zone)
        self._running = threading.Lock()

    def run(self, access: Access, asked: AuditRequest) -> Iterator[Progress | Report]:
        """Audits; gives how far it is now and then, and at last the report, whose result is stored.

        Refused at once: a workspace's key (403), a bad period (400), an unknown task or workspace (404),
        an audit that runs already (409).
        """
        access.require_admin()
        span = month(asked.period, zone=self._zone) if asked.period is not None else Range(EARLIEST, LATEST)
        self._check_known(asked)
        if not self._running.acquire(blocking=False):
            raise Conflict("An audit is running; wait until it is done.", code="audit_running")
        return self._unlocking(self._run(asked, span))

    def report(self, access: Access, asked: AuditRequest) -> Report:
        """Audits to the end; refused as `run`."""
        *_, last = self.run(access, asked)
        assert isinstance(last, Report)
        return last

    def _unlocking(self, steps: Iterator[Progress | Report]) -> Iterator[Progress | Report]:
        return _Guarded(steps, self._running)

    def last(self, access: Access) -> Row | None:
        """The result of the last audit that came to its end, with its counts by verdict; the admin's alone."""
        access.require_admin()
        return self._store.one("audit.last")

    def _check_known(self, asked: AuditRequest) -> None:
        for what, value in (("workspace", asked.workspace_id), ("task", asked.task_id)):
            name = f"{what}_id"
            if value is not None and self._store.one(f"audit.{what}_exists", **{name: value}) is None:
                raise NotFound("batch" if what == "task" else what, value, param=name)

    def _run(self, asked: AuditRequest, span: Range) -> Generator[Progress | Report, None, None]:
        report = Report(asked, self._clock())
        values = {**asdict(asked), "start": span.start, "end": span.end}
        extent = self._store.one("audit.extent", **values) or {"tasks": 0, "bytes": 0}
        around = self._surroundings()

        def progress() -> Progress:
            return Progress(
                report.task_count,
                max(extent["tasks"], report.task_count),
                report.bytes,
                max(extent["bytes"], report.bytes),
            )

        yield progress()
        for page in self._pages(around, values):
            for audit in page:
                for read in audit.run():
                    report.bytes += read
                    if read:
                        yield progress()
                _take(report, audit)
            yield progress()
        self._prove_months(report)
        report.finished_at = self._clock()
        self._keep(report)
        yield report

    def _prove_months(self, report: Report) -> None:
        """Closed months are of all workspaces: an audit of one, or of a task, leaves them out."""
        asked = report.asked
        if asked.task_id is None and asked.workspace_id is None:
            for period in self._months.closed():
                if asked.period in (None, period):
                    report.add_month(period, self._months.verify(ADMIN, period)["differences"])

    def _surroundings(self) -> Surroundings:
        with self._store.reading() as read:
            used = frozenset(row["price_id"] for row in read.query("audit.used_prices"))
            prices = PriceHistory(read.query("audit.prices"), used, self._in_book)
        return Surroundings(self._store, prices, self._zone, self._clock(), self._event_days)

    def _pages(self, around: Surroundings, values: Row) -> Iterator[list[TaskAudit]]:
        after = ""
        while True:
            with self._store.reading() as read:
                tasks = read.query("audit.tasks", **values, after=after, rows=_PAGE_TASKS)
                page = _with_rows(read, around, tasks)
            if page:
                yield page
            if len(tasks) < _PAGE_TASKS:
                return
            after = tasks[-1]["task_id"]

    def _keep(self, report: Report) -> None:
        facts = {**asdict(report.asked), **report.totals, "differences": report.differences}
        row = {
            **facts,
            "audit_id": f"audit_{secrets.token_hex(12)}",
            "started_at": report.started_at,
            "finished_at": report.finished_at,
        }
        self._store.write(lambda tx: tx.execute("audit.keep", **row))
        if report.differences:
            log.error(
                "the audit found %d differences in %d tasks and %d closed months",
                report.differences,
                report.totals["different"],
                report.months["different"],
            )
        self._on_done()


class _Guarded(Iterator["Progress | Report"]):
    """The steps of an audit; whoever stops asking for them lets the next audit begin."""

    def __init__(self, steps: Iterator[Progress | Report], lock: threading.Lock) -> None:
        self._steps: Iterator[Progress | Report] | None = steps
        self._lock = lock

    def __next__(self) -> Progress | Report:
        if self._steps is None:
            raise StopIteration
        try:
            return next(self._steps)
        except BaseException:
            self._release()
            raise

    def _release(self) -> None:
        if self._steps is not None:
            self._steps = None
            self._lock.release()

    def __del__(self) -> None:
        self._release()


def _with_rows(read: Reader, around: Surroundings, tasks: list[Row]) -> list[TaskAudit]:
    ids = [task["task_id"] for task in tasks]
    charges, digests = (
        _by_task(read.query(f"audit.{name}", task_ids=ids)) for name in ("charges", "digests")
    )
    rollups = {row["task_id"]: row for row in read.query("audit.rollups", task_ids=ids)}
    wanted = [task[name] for task in tasks for name in ("output_file_id", "error_file_id") if task[name]]
    files = {row["id"]: row for row in read.query("audit.files", file_ids=wanted)}
    return [
        TaskAudit(
            around,
            task,
            charges[task["task_id"]],
            digests[task["task_id"]],
            rollups.get(task["task_id"]),
            files,
        )
        for task in tasks
    ]


def _by_task(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row["task_id"]].append(row)
    return found


def _take(report: Report, audit: TaskAudit) -> None:
    report.requests += audit.calls
    for charge in audit.charges:
        report.add_charge(charge["currency"], charge["list_amount"], charge["amount"])
    found = audit.findings
    result = TaskResult(audit.task["task_id"], found.workspace_id, audit.verdict, found.count)
    report.add(found, result)
