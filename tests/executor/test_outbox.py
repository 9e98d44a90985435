"""Notifications that wait: who is next, and when it is tried again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from executor.options import WebhookOptions
from executor.webhooks.outbox import Notification, Outbox, Outcome
from metering.options import StorageOptions
from metering.store import Store

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
REFUSED = Outcome(503, "it answered 503")
OPTIONS = WebhookOptions(first_retry_seconds=5, longest_retry_seconds=60, give_up_after_seconds=3600)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(StorageOptions(data_dir=tmp_path), packages=("metering", "executor"))
    yield store
    store.close()


@pytest.fixture
def outbox(store: Store) -> Outbox:
    return Outbox(store, OPTIONS)


def put(store: Store, *names: str, at: datetime = NOW) -> None:
    rows = [
        {"id": f"evt_{name}", "task_id": f"batch_{name}", "workspace_id": "default", "url": "https://h.example/",
         "type": "batch.completed", "created_at": at + timedelta(milliseconds=place)}
        for place, name in enumerate(names)
    ]  # fmt: skip
    store.write(lambda tx: tx.insert("webhook_outbox", rows))


def due(outbox: Outbox, now: datetime, rows: int = 10) -> list[Notification]:
    return outbox.due(now, rows)


def test_new_ones_go_before_those_that_failed(store: Store, outbox: Outbox) -> None:
    """However long these are due: receivers that never answer keep nobody else waiting."""
    put(store, "a", "b", "c")
    later = NOW + timedelta(seconds=1)
    for notification in due(outbox, later, 2):
        outbox.keep(notification, REFUSED, later)
    much_later = NOW + timedelta(hours=1)
    put(store, "d", at=much_later)
    found = [notification.task_id for notification in due(outbox, much_later + timedelta(seconds=1))]
    assert found[:2] == ["batch_c", "batch_d"]
    assert sorted(found[2:]) == ["batch_a", "batch_b"]


def test_waits_double_up_to_the_longest(store: Store, outbox: Outbox) -> None:
    """Each up to half shorter, by chance; nothing is due before."""
    put(store, "a")
    now = NOW + timedelta(seconds=1)
    for longest in (5, 10, 20, 40, 60, 60):
        [notification] = due(outbox, now)
        assert not outbox.keep(notification, REFUSED, now)
        assert due(outbox, now) == []
        due_at = outbox.next_due(now)
        assert due_at is not None
        assert longest / 2 <= (due_at - now).total_seconds() <= longest
        now = due_at
    assert notification.attempts == 5
    [delivery] = outbox.of_task("batch_a")
    assert (delivery.attempts, delivery.error, delivery.given_up_at) == (6, "it answered 503", None)


@pytest.mark.parametrize(("outcome", "after"), [(REFUSED, 3600), (Outcome(410, "it answered 410"), 1)])
def test_what_is_given_up_is_not_due_again(
    store: Store, outbox: Outbox, outcome: Outcome, after: int
) -> None:
    """After `give_up_after_seconds`, or at once if the receiver is gone."""
    put(store, "a")
    now = NOW + timedelta(seconds=after)
    [notification] = due(outbox, now)
    assert outbox.keep(notification, outcome, now)
    assert outbox.next_due(NOW) is None
    assert due(outbox, now + timedelta(days=9)) == []
    assert outbox.of_task("batch_a")[0].given_up_at == now


def test_what_was_taken_is_over(store: Store, outbox: Outbox) -> None:
    """With the moment; the reason of an attempt before is gone."""
    put(store, "a")
    now = NOW + timedelta(seconds=1)
    [notification] = due(outbox, now)
    outbox.keep(notification, REFUSED, now)
    later = now + timedelta(minutes=1)
    [notification] = due(outbox, later)
    assert outbox.keep(notification, Outcome(204, None), later)
    assert due(outbox, later + timedelta(days=1)) == []
    [delivery] = outbox.of_task("batch_a")
    assert (delivery.delivered_at, delivery.error) == (later, None)
