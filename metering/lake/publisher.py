"""Publishes what has ended on this node, each task exactly once (docs/decisions/0014-lake.md).

A round is one transaction of the lake. It takes what the lake does not have, by the ids of tasks and corrections, and
replaces the node's row in `progress`: of two rounds of one node that overlap, one that hangs and the one after a
restart, DuckLake lets only one commit. What was published is therefore known by the lake alone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from metering.clock import Clock
from metering.connection import Connection, DatabaseError, Row, Transaction
from metering.failures import LakeFailed, LakeRefused
from metering.lake.attached import Lake
from metering.lake.catalogue import without_password
from metering.options import StorageOptions
from metering.queries import load_queries
from metering.store import Reader, Store

VERSION = 1
"""Of the lake's tables."""
_OF_TASKS = ("rollups", "errors", "charges", "events")
_OTHERS = ("statements", "prices", "workspaces")
"""What belongs to no task: read only if it changed."""
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Published:
    """What a round did."""

    tasks: int
    corrections: int
    waiting: int
    """Tasks that the next round takes."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What a round publishes."""

    task_ids: Sequence[str]
    charge_ids: Sequence[str]
    """Of corrections."""
    until: datetime
    """Everything that was entered before is in the lake then."""
    waiting: int


class Publisher:
    """Not thread-safe: one thread makes the rounds."""

    def __init__(
        self,
        store: Store,
        lake: Lake,
        options: StorageOptions,
        timezone: str,
        node: str,
        clock: Clock,
        reached: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`reached` is told of places at which a test stops the process."""
        self._store, self._lake, self._options, self._timezone = store, lake, options, timezone
        self._node, self._clock, self._reached = node, clock, reached
        self._queries = load_queries(["metering"])
        self._cursor: Connection | None = None
        self._since: datetime | None = None
        """Everything before it is in the lake; unknown after a start and a failure."""
        self._state: Row = {}
        """Of the node's own tables, at the last round."""
        self._waiting = 0

    def publish(self) -> Published:
        """One round; raises `LakeFailed`, and the next round finds out what came of this one."""
        state = self._store.one("publication.state")
        assert state is not None
        if state == self._state and self._since is not None and not self._waiting:
            return Published(0, 0, 0)
        try:
            published, self._since = self._round(self._opened(), state)
        except DatabaseError as error:
            self._give_up()
            raise LakeFailed(without_password(str(error))) from None
        except BaseException:
            self._give_up()
            raise
        self._state, self._waiting = state, published.waiting
        return published

    def _give_up(self) -> None:
        """What the round did is unknown: the next one connects anew and compares."""
        cursor, self._cursor, self._since, self._state = self._cursor, None, None, {}
        if cursor is not None:
            cursor.close()
        self._lake.leave()

    def _opened(self) -> Connection:
        if self._cursor is None:
            self._cursor = self._lake.cursor()
            self._prepare(self._cursor)
        return self._cursor

    def _prepare(self, lake: Connection) -> None:
        """Makes what is not there yet, and looks whether it is for us."""
        lake.execute("BEGIN")
        lake.execute(f"CREATE SCHEMA IF NOT EXISTS lake.node_{self._node}")
        lake.execute(f"SET search_path = 'lake.node_{self._node}'")
        lake.execute(self._queries["lake.create"].text)
        tx = Transaction(lake, self._queries)
        tx.execute("lake.begin_progress", until=BEGINNING, at=self._clock())
        ours = {"version": VERSION, "timezone": self._timezone}
        terms = tx.one("lake.terms")
        if terms is None:
            tx.execute("lake.keep_terms", **ours)
        elif terms != ours:
            raise LakeRefused(
                f"the lake has version {terms['version']} and months in {terms['timezone']}, this node has "
                f"version {VERSION} and {self._timezone}: all nodes of a lake have the same billing.timezone"
            )
        lake.execute("COMMIT")

    def _round(self, lake: Connection, state: Row) -> tuple[Published, datetime]:
        lake.execute("BEGIN")
        tx = Transaction(lake, self._queries)
        [progress] = tx.query("lake.progress")
        batch = self._batch(tx, progress)
        self._reached("publication.compared")
        self._add(tx, batch, state)
        tx.execute("lake.forget_progress")
        tx.execute(
            "lake.keep_progress",
            until=batch.until,
            tasks=progress["tasks"] + len(batch.task_ids),
            corrections=progress["corrections"] + len(batch.charge_ids),
            at=self._clock(),
        )
        self._reached("publication.added")
        lake.execute("COMMIT")
        self._reached("publication.stored")
        return Published(len(batch.task_ids), len(batch.charge_ids), batch.waiting), batch.until

    # -- what to publish ---------------------------------------------------------------------------

    def _batch(self, tx: Transaction, progress: Row) -> _Batch:
        """The tasks that ended first of those that the lake has not, and the corrections made before the others."""
        with self._store.reading() as read:
            since = self._since or _since(read, progress)
            tasks = read.table("publication.tasks", since=since)
            corrections = read.table("publication.corrections", since=since)
            clock: datetime = read.query("publication.state")[0]["clock"]
        new = tx.compare("lake.new_tasks", tasks, since=since).to_pylist()
        made = tx.compare("lake.new_corrections", corrections, since=since).to_pylist()
        chosen = new[: _fitting([task["calls"] for task in new], self._options.lake_events_at_once)]
        if len(chosen) < len(new):
            clock = chosen[-1]["ended_at"]
            made = [correction for correction in made if correction["recorded_at"] < clock]
        return _Batch(
            [task["task_id"] for task in chosen],
            [correction["charge_id"] for correction in made],
            clock,
            len(new) - len(chosen),
        )

    def _add(self, tx: Transaction, batch: _Batch, state: Row) -> None:
        others = [name for name in _OTHERS if state[name] != self._state.get(name)]
        for name, table in self._rows(batch, others).items():
            if len(table):
                tx.pour(f"lake.add_{name}", table, node=self._node, at=self._clock())

    def _rows(self, batch: _Batch, others: Sequence[str]) -> dict[str, pa.Table]:
        """Read as a whole before the lake gets any of it: a lake that hangs must hold no snapshot of ours."""
        values: dict[str, Any] = {"task_ids": batch.task_ids, "charge_ids": batch.charge_ids}
        with self._store.reading() as read:
            values["began"] = read.query("publication.began", **values)[0]["at"] or BEGINNING
            return {name: read.table(f"publication.{name}", **values) for name in (*_OF_TASKS, *others)}


def _since(read: Reader, progress: Row) -> datetime:
    """From when on the lake is compared with the node: where it stood, if until there both have as many rows.

    They have not where either was put back to an older state, and where several tasks ended at that very moment.
    """
    until: datetime = progress["published_until"]
    here = read.query("publication.counted", until=until)[0]
    return until if all(here[name] == progress[name] for name in here) else BEGINNING


def _fitting(calls: Sequence[int], limit: int) -> int:
    """How many of the first tasks have no more calls together than that; one at least."""
    total = 0
    for number, count in enumerate(calls):
        total += count
        if total > limit and number:
            return number
    return len(calls)
