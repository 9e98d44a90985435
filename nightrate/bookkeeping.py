"""What is done with the ledger beyond metering it, wired once: statements, closing, corrections, budgets, audit."""

from dataclasses import dataclass

from metering.audit import Audit
from metering.budgets import Budgets
from metering.clock import Clock
from metering.closing import Closing
from metering.corrections import Corrections
from metering.ending import Meter
from metering.metrics import Metrics
from metering.options import BillingOptions
from metering.prices import PriceBook
from metering.statements import Statements
from metering.store import Store


@dataclass(frozen=True, slots=True)
class Books:
    """The services over the ledger."""

    meter: Meter
    statements: Statements
    closing: Closing
    corrections: Corrections
    budgets: Budgets
    audit: Audit


def open_books(
    store: Store, prices: PriceBook, billing: BillingOptions, event_days: int, clock: Clock, metrics: Metrics
) -> Books:
    """Wires them; corrections, budgets and audits show in the metrics from now on."""
    meter = Meter(prices, billing, clock)
    statements = Statements(store, billing)
    budgets = Budgets(store, prices, billing, clock)
    metrics.watch_budgets(budgets.ratios)
    return Books(
        meter=meter,
        statements=statements,
        closing=Closing(store, statements, meter, billing, clock),
        corrections=Corrections(store, meter, billing, metrics.ledger_changed),
        budgets=budgets,
        audit=Audit(store, billing, event_days, prices.has, clock, metrics.ledger_changed),
    )
