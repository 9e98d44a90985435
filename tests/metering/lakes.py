"""Doubles for the tests of the lake: nodes over real data folders, and the lake as another program would read it."""

from pathlib import Path
from typing import Any

from metering.access import ADMIN
from metering.corrections import Corrections
from metering.lake.attached import Lake
from metering.lake.publisher import Publisher
from metering.options import BillingOptions, StorageOptions
from metering.store import Store
from tests.metering.billed import FAILED, StandingClock, book, end, ended, event, meter


class Shared(Lake):
    """A lake that the nodes of a test share, so that DuckDB's extensions are loaded once."""

    def __init__(self, folder: Path, catalogue: str) -> None:
        self.options = StorageOptions(data_dir=folder, lake=catalogue, lake_data=str(folder / "lake"))
        super().__init__(self.options)

    def find(self, sql: str) -> list[tuple[Any, ...]]:
        """What a query finds in the lake."""
        cursor = self.cursor()
        try:
            cursor.execute("SET search_path = 'lake.main'")
            return cursor.execute(sql).fetchall()
        finally:
            cursor.close()


class Node:
    """One Nightrate without its web and its engine: tasks end when the test says."""

    def __init__(self, folder: Path, lake: "Shared", name: str, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.options = lake.options.model_copy(update={"data_dir": folder / "data", **options})
        self.name, self.lake = name, lake
        self.clock = StandingClock()
        self.store = Store(self.options, packages=("metering",), clock=self.clock)
        self.meter = meter(book(folder), self.clock)
        self.publisher = self.another()

    def another(self, **how: Any) -> Publisher:
        """A publisher as the next start of this node would have."""
        return Publisher(self.store, self.lake, self.options, "UTC", self.name, self.clock, **how)

    def end(self, task: object, calls: int = 2, failed: int = 1, **facts: Any) -> None:
        """Ends a task a second later; its id begins with the node's name."""
        self.clock.advance(seconds=1)
        self.end_now(task, calls, failed, **facts)

    def end_now(self, task: object, calls: int = 2, failed: int = 1, **facts: Any) -> None:
        value = ended(f"{self.name}_{task}", total=calls + failed, **facts)
        events = [event(value, line) for line in range(1, calls + 1)]
        events += [event(value, calls + line, **FAILED) for line in range(1, failed + 1)]
        end(self.store, self.meter, value, events)

    def correct(self, task: object) -> None:
        """Reverses a task's charge of input tokens."""
        self.clock.advance(seconds=1)
        of_task = f"task_id = '{self.name}_{task}' AND sku = 'input_tokens' AND kind = 'usage'"
        [(charge_id,)] = self.rows(f"SELECT charge_id FROM charges WHERE {of_task}")
        Corrections(self.store, self.meter, BillingOptions()).correct(ADMIN, charge_id, "a test")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.store.reading() as read:
            return read._connection.execute(sql).fetchall()

    def close(self) -> None:
        self.store.close()
