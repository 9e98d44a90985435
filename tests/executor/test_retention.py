"""What is kept long enough goes; what bills, statistics and running tasks need stays."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from executor.files import Files
from executor.options import LimitOptions, ModelOptions, RetentionOptions
from executor.retention import Removed, Retention
from metering.access import ADMIN
from metering.audit import Audit, AuditRequest
from metering.clock import utc_now
from metering.errors import NotFound
from metering.options import BillingOptions
from metering.prices import PriceBook
from tests.executor.engine_rig import Rig
from tests.upstream import Upstream

OPTIONS = RetentionOptions(file_days=30, event_days=400, task_days=500)
NOTHING = Removed(0, 0, 0)


class Later:
    """The time of day, and as many days later as one likes."""

    def __init__(self) -> None:
        self.days = 0.0

    def __call__(self) -> datetime:
        return utc_now() + timedelta(days=self.days)


@pytest.fixture
def clock() -> Later:
    return Later()


@pytest.fixture
def rig(clock: Later, tmp_path: Path) -> Iterator[Rig]:
    with Upstream() as upstream:
        model = ModelOptions(name="m", upstreams=(upstream.url,), max_concurrency=8)
        with Rig(tmp_path, [model], clock=clock) as made:
            yield made


@pytest.fixture
def retention(rig: Rig, clock: Later) -> Retention:
    return Retention(rig.store, rig.data_dir, OPTIONS, clock)


def kept(rig: Rig) -> set[str]:
    return {path.name for folder in ("files", "outputs") for path in (rig.data_dir / folder).iterdir()}


def events(rig: Rig, task_id: str) -> int:
    return len(rig.store.query("engine.done_lines", task_id=task_id))


def close_months(rig: Rig, until: datetime) -> None:
    row = {"period": "2026-01", "ends_at": until, "closed_at": until}
    rig.store.write(lambda tx: tx.insert("billing_periods", [row]))


def test_files_go_after_their_days_and_the_bill_stays_provable(
    rig: Rig, retention: Retention, clock: Later
) -> None:
    """Input and outputs, from the end of their task; the audit then has the digests and the events."""
    task = rig.wait(rig.submit(["a", "b @status=400"]))
    clock.days = 29.9
    assert retention.remove() == NOTHING
    assert len(kept(rig)) == 3
    clock.days = 30.1
    assert retention.remove() == Removed(3, 0, 0)
    assert kept(rig) == set()
    assert retention.remove() == NOTHING
    with pytest.raises(NotFound):
        Files(rig.store, rig.data_dir, LimitOptions(), clock).get(ADMIN, task.input_file_id)
    prices = PriceBook.load(rig.data_dir / "prices.toml")
    prices.remember(rig.store)
    report = Audit(rig.store, BillingOptions(), OPTIONS.event_days, prices.has, clock)
    totals = report.report(ADMIN, AuditRequest()).as_json()["totals"]
    assert (totals["digest_only"], totals["different"]) == (1, 0)


def test_what_a_task_still_reads_stays(rig: Rig, retention: Retention, clock: Later) -> None:
    """However old: a running task's input, and the lines that it has so far."""
    task_id = rig.submit(["a", "b @hang"], window=timedelta(days=100))
    rig.until(lambda: rig.task(task_id), lambda task: task.completed == 1)
    clock.days = 60
    assert retention.remove() == NOTHING
    assert len(kept(rig)) == 2
    rig.cancel(task_id)


def test_a_file_read_again_is_kept_from_its_last_task_on(
    rig: Rig, retention: Retention, clock: Later
) -> None:
    """The input of a task that was repeated on day 20 is there on day 45."""
    first = rig.wait(rig.submit(["a"]))
    clock.days = 20
    second = rig.wait(rig.submit(["a"]))
    again = {"id": second.id, "input_file_id": first.input_file_id}
    sql = "UPDATE tasks SET input_file_id = $input_file_id WHERE id = $id"
    rig.store.write(lambda tx: tx._connection.execute(sql, again))
    clock.days = 45
    retention.remove()
    assert first.input_file_id in kept(rig)
    clock.days = 50.1
    retention.remove()
    assert kept(rig) == set()


def test_bytes_that_a_crash_left_go_too(rig: Rig, retention: Retention, clock: Later) -> None:
    """Marked as deleted, and then the process was killed."""
    task = rig.wait(rig.submit(["a"]))
    rig.store.write(lambda tx: tx.execute("files.mark_deleted", id=task.input_file_id, now=clock()))
    assert task.input_file_id in kept(rig)
    retention.remove()
    assert task.input_file_id not in kept(rig)


def test_events_go_with_closed_months_only(rig: Rig, retention: Retention, clock: Later) -> None:
    """All of a task at once; charges, rollup and counts stay, and the audit finds nothing wrong."""
    task = rig.wait(rig.submit(["a", "b"]))
    clock.days = 401
    assert retention.remove().tasks_events == 0, "no month is closed"
    close_months(rig, clock())
    assert retention.remove().tasks_events == 1
    assert events(rig, task.id) == 0
    young = rig.wait(rig.submit(["a"]))
    assert retention.remove().tasks_events == 0
    assert events(rig, young.id) == 1
    assert rig.task(task.id).completed == 2
    prices = PriceBook.load(rig.data_dir / "prices.toml")
    prices.remember(rig.store)
    audit = Audit(rig.store, BillingOptions(), OPTIONS.event_days, prices.has, clock)
    totals = audit.report(ADMIN, AuditRequest()).as_json()["totals"]
    assert totals["different"] == 0


def test_names_go_and_the_task_stays(rig: Rig, retention: Retention, clock: Later) -> None:
    """Name, description, metadata, callback and errors; its model, times and amounts are the ledger's business."""
    named = {
        "name": "Night",
        "description": "All of it",
        "metadata": '{"team": "x"}',
        "callback_url": "http://x/",
    }
    done = rig.wait(rig.submit(["a"], **named))
    refused = rig.wait(rig.submit([], **named))
    clock.days = 499
    assert retention.remove().tasks_names == 0
    clock.days = 501
    assert retention.remove().tasks_names == 2
    assert retention.remove().tasks_names == 0
    for task in (rig.task(done.id), rig.task(refused.id)):
        assert (task.name, task.description, task.metadata, task.callback_url) == (None, None, None, None)
        assert not task.errors
    assert (rig.task(done.id).completed, rig.task(done.id).model) == (1, "m")
