"""A rig for the tests of statements, closing, corrections and budgets: the services over one small ledger."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from metering.access import ADMIN
from metering.budgets import Budgets
from metering.closing import Closing
from metering.corrections import Corrections
from metering.ledger import ChargeFilter, Ledger
from metering.options import BillingOptions
from metering.statements import Statements
from metering.verification import Verification
from tests.metering.billed import BOOK, NOON, StandingClock, book, end, ended, event, meter, open_store, rows


class Rig:
    """Everything over one data folder; the clock is moved by hand."""

    def __init__(
        self,
        folder: Path,
        now: datetime = NOON,
        zone: str = "UTC",
        text: str = BOOK,
        currency: str | None = None,
    ) -> None:
        self.clock = StandingClock(now)
        self.store = open_store(folder)
        self.prices = book(folder, text, self.clock)
        self.prices.remember(self.store)
        self.billing = BillingOptions(timezone=zone, currency=currency, issuer_name="House & Co")
        self.meter = meter(self.prices, self.clock, zone)
        self.statements = Statements(self.store, self.billing)
        self.closing = Closing(self.store, self.statements, self.meter, self.billing, self.clock)
        self.verification = Verification(self.store, self.statements, self.billing.zone)
        self.told: list[str] = []
        self.corrections = Corrections(
            self.store, self.meter, self.billing, lambda: self.told.append("changed")
        )
        self.budgets = Budgets(self.store, self.prices, self.billing, self.clock)
        self.ledger = Ledger(self.store, self.billing, self.clock)
        self.tasks = 0

    def workspace(self, identity: str, **more: Any) -> None:
        row = {"id": identity, "name": f"The {identity}", "created_at": self.clock()} | more
        self.store.write(lambda tx: tx.insert("workspaces", [row]))

    def task(self, *calls: dict[str, Any], **changes: Any) -> str:
        """Ends a task now with one call for each dict of changes; gives its id."""
        self.tasks += 1
        task = ended(f"batch_{self.tasks}", **changes)
        end(
            self.store, self.meter, task, [event(task, n, **call) for n, call in enumerate(calls or ({},), 1)]
        )
        return task.task_id

    def charges(self, **wanted: Any) -> list[dict[str, Any]]:
        return self.ledger.charges(ADMIN, ChargeFilter(limit=10_000, order="asc", **wanted)).data

    def row(self, table: str, **equal: Any) -> dict[str, Any]:
        found = [row for row in rows(self.store, table) if equal.items() <= row.items()]
        assert len(found) == 1, found
        return found[0]


def total(charges: list[dict[str, Any]], field: str = "amount") -> Decimal:
    return sum((Decimal(row[field]) for row in charges), Decimal(0))
