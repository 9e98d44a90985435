"""What is done with the ledger beyond metering it, wired once: statements, closing, corrections, budgets, audit."""

from collections.abc import Iterable
from dataclasses import dataclass

from metering.audit import Audit
from metering.budgets import Budgets
from metering.clock import Clock
from metering.closing import Closing
from metering.corrections import Corrections
from metering.ending import Meter
from metering.metrics import Metrics
from metering.options import BillingOptions
from metering.price_check import PriceCheck
from metering.prices import PriceBook
from metering.statements import Statements
from metering.store import Store
from metering.unbilled import UnbilledRequests
from metering.verification import Verification


@dataclass(frozen=True, slots=True)
class Books:
    """The services over the ledger."""

    meter: Meter
    statements: Statements
    closing: Closing
    verification: Verification
    corrections: Corrections
    budgets: Budgets
    unbilled: UnbilledRequests
    audit: Audit
    price_check: PriceCheck


def open_books(
    store: Store,
    prices: PriceBook,
    billing: BillingOptions,
    models: Iterable[tuple[str, bool]],
    event_days: int,
    clock: Clock,
    metrics: Metrics,
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
        verification=Verification(store, statements, billing.zone),
        corrections=Corrections(store, meter, billing, metrics.ledger_changed),
        budgets=budgets,
        unbilled=UnbilledRequests(store, billing.zone),
        audit=Audit(store, billing, event_days, prices.has, clock, metrics.ledger_changed),
        price_check=PriceCheck(store, billing, models, clock),
    )
