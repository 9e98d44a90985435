"""Notifications that wait for their delivery: rows that the ending transaction has left (SPEC §4, §9)."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

import msgspec

from executor.options import WebhookOptions
from metering.store import Store

_GONE = 410
_ERROR_CHARACTERS = 300


@dataclass(frozen=True, slots=True)
class Notification:
    """One task's end, for one address."""

    id: str
    """Tells the receiver that a second one is the same."""
    task_id: str
    url: str
    type: str
    """`batch.completed`, `batch.failed`, `batch.expired` or `batch.cancelled`."""
    created_at: datetime
    attempts: int
    """Those that failed so far."""
    secret: str | None
    """Signs it; none if the workspace has no webhook and so no secret."""

    def body(self) -> bytes:
        """OpenAI's event, the same bytes in every attempt."""
        event = {
            "id": self.id,
            "object": "event",
            "created_at": int(self.created_at.timestamp()),
            "type": self.type,
            "data": {"id": self.task_id},
        }
        return msgspec.json.encode(event)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one attempt."""

    status: int | None
    """HTTP status; none if there was no answer."""
    error: str | None
    """Why it counts for nothing; none if it was delivered."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """How far one of a task's notifications is."""

    url: str
    delivered_at: datetime | None
    attempts: int
    """Those that failed."""
    due_at: datetime
    """Of the next attempt, unless it is over."""
    given_up_at: datetime | None
    error: str | None
    """Why the last attempt failed."""


class Outbox:
    """Reads what is due and keeps what came of it."""

    def __init__(self, store: Store, options: WebhookOptions) -> None:
        self._store = store
        self._options = options

    def due(self, now: datetime, rows: int) -> list[Notification]:
        """Those whose time has come: new ones first, then the one that waits longest."""
        found = self._store.query("outbox.due", now=now, rows=rows)
        return [Notification(**row) for row in found]

    def of_task(self, task_id: str) -> list[Delivery]:
        """The notifications of a task that has ended."""
        return [Delivery(**row) for row in self._store.query("outbox.of_task", task_id=task_id)]

    def next_due(self, now: datetime) -> datetime | None:
        """When the next one is due that isn't yet; none if none waits."""
        row = self._store.one("outbox.next_due", now=now)
        return row["due_at"] if row else None

    def keep(self, notification: Notification, outcome: Outcome, now: datetime) -> bool:
        """Delivered, to be tried again later, or given up: true if nothing more comes of it."""
        if outcome.error is None:
            self._store.write(lambda tx: tx.execute("outbox.delivered", id=notification.id, now=now))
            return True
        given_up = outcome.status == _GONE or now - notification.created_at >= self._patience
        due_at = now + timedelta(seconds=self._wait(notification.attempts + 1))
        error = outcome.error[:_ERROR_CHARACTERS]
        self._store.write(
            lambda tx: tx.execute(
                "outbox.failed",
                id=notification.id,
                error=error,
                due_at=due_at,
                given_up_at=now if given_up else None,
            )
        )
        return given_up

    @property
    def _patience(self) -> timedelta:
        return timedelta(seconds=self._options.give_up_after_seconds)

    def _wait(self, failures: int) -> float:
        """Seconds until the next attempt: they double up to the longest, less up to half at random."""
        doubled = self._options.first_retry_seconds * 2.0 ** min(failures - 1, 30)
        longest = min(doubled, self._options.longest_retry_seconds)
        return longest * random.uniform(0.5, 1)  # noqa: S311
