"""The ledger's part of `/metrics`: read from the store off the scrape, and kept as text."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from metering.label_cap import LabelCap
from metering.price import instant
from metering.store import Store, StoreClosed, StoreError

log = logging.getLogger("nightrate.metrics")

EOF = b"# EOF\n"
_IDLE_SECONDS = 60.0
_LEAST_PAUSE_SECONDS = 0.2


class LedgerPart:
    """The text of the figures that come from the ledger, kept up to date off the scrape."""

    def __init__(self, store: Store, cap: LabelCap) -> None:
        self._store = store
        self._cap = cap
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.budgets: Callable[[], Mapping[str, float]] = dict
        """Asked whenever the ledger is read."""
        self.changed = threading.Event()
        """Set when something of it may have changed."""
        self.text: dict[bool, bytes] = {}
        """The text format under False, OpenMetrics under True."""
        self.read()

    def start(self) -> None:
        """Follows the ledger from now on."""
        self.changed.set()  # the default workspace may have been made meanwhile
        self._thread = threading.Thread(target=self._follow, name="metrics-ledger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends that."""
        self._stopping.set()
        self.changed.set()
        if self._thread is not None:
            self._thread.join()

    def _follow(self) -> None:
        while not self._stopping.is_set():
            self.changed.wait(_IDLE_SECONDS)
            self.changed.clear()
            began = time.monotonic()
            try:
                self.read()
            except StoreClosed:
                return
            except StoreError as error:
                log.warning("the ledger can't be read for /metrics: %s", error)
                self.changed.set()
            # However large the ledger is, reading it takes a tenth of a core at most.
            self._stopping.wait(max(_LEAST_PAUSE_SECONDS, 9 * (time.monotonic() - began)))

    def read(self) -> None:
        """Reads and renders; raises `StoreError`, and the text stays what it was."""
        budgets = self.budgets()
        with self._store.reading() as read:
            figures = _LedgerFigures(
                self._cap,
                tokens=read.query("metrics.tokens"),
                amounts=read.query("metrics.amounts"),
                unmetered=read.query("metrics.unmetered"),
                workspaces=read.query("metrics.workspaces"),
                prices=read.query("metrics.prices"),
                audits=read.query("audit.last"),
                budgets=[{"workspace": name, "ratio": ratio} for name, ratio in budgets.items()],
            )
        families = list(figures.collect())
        self._cap.save()  # before anything is shown under a name
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collected(families))
        self.text = {form: rendered(registry, form) for form in (False, True)}


class Collected:
    """Families as a collector."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._families


class _LedgerFigures:
    """Rows of the ledger as families; what is over the cap is summed."""

    def __init__(self, cap: LabelCap, **rows: list[dict[str, object]]) -> None:
        self._cap = cap
        self._rows = rows

    def collect(self) -> Iterator[Metric]:
        """Every family of the ledger's part."""
        yield self._counter("billed_requests", "Requests that were billed.", "tokens", "requests")
        yield self._counter("billed_tokens", "Tokens that were billed.", "tokens", "tokens", "sku")
        for name, about, field in (
            ("billed_amount", "What was charged; not reduced by credits.", "amount"),
            ("list_amount", "The same at real-time list prices.", "list_amount"),
            ("credited_amount", "What was credited by reversals.", "credited"),
        ):
            yield self._counter(name, about, "amounts", field, "currency")
        yield self._counter(
            "unmetered_requests", "Succeeded without usable usage: charged zero.", "unmetered", "unmetered"
        )
        yield self._workspaces()
        yield self._prices()
        yield self._budgets()
        yield from self._audit()

    def _counter(self, name: str, about: str, rows: str, field: str, *more: str) -> Metric:
        family = CounterMetricFamily(f"nightrate_{name}", about, labels=("workspace", "model", *more))
        sums: dict[tuple[str, ...], Decimal] = {}
        for row in self._rows[rows]:
            pair = self._shown("workspace", row["workspace_id"]), self._shown("model", row["model"])
            key = (*pair, *(str(row[label]) for label in more))
            sums[key] = sums.get(key, Decimal(0)) + Decimal(str(row[field]))
        for key, value in sums.items():
            # Prometheus knows doubles alone: the exact sum is rounded last, and nothing computes with it.
            family.add_metric(key, float(value))
        return family

    def _audit(self) -> Iterator[Metric]:
        last = next(iter(self._rows["audits"]), None)
        found = GaugeMetricFamily("nightrate_audit_differences", "Differences that the last audit found.")
        found.add_metric((), float(str(last["differences"])) if last else 0)
        when = GaugeMetricFamily(
            "nightrate_audit_timestamp_seconds", "When the last audit was done; 0: there was none."
        )
        finished = last["finished_at"] if last else None
        when.add_metric((), finished.timestamp() if isinstance(finished, datetime) else 0)
        yield found
        yield when

    def _workspaces(self) -> Metric:
        family = InfoMetricFamily("nightrate_workspace", "Names of workspaces.", labels=())
        for row in self._rows["workspaces"]:
            shown = self._shown("workspace", row["id"])
            if shown == row["id"]:
                family.add_metric((), {"workspace": shown, "name": str(row["name"])})
        return family

    def _prices(self) -> Metric:
        family = InfoMetricFamily("nightrate_price_book", "Every price that was loaded.", labels=())
        for row in self._rows["prices"]:
            facts = {name: str(row[name]) for name in ("price_id", "model", "currency")}
            family.add_metric((), {**facts, "valid_from": instant(row["valid_from"])})  # type: ignore[arg-type]
        return family

    def _budgets(self) -> Metric:
        about = "Used part of the month's budget, running tasks included."
        family = GaugeMetricFamily("nightrate_budget_used_ratio", about, labels=("workspace",))
        highest: dict[str, float] = {}  # ratios can't be summed: of those over the cap the highest is shown
        for row in self._rows["budgets"]:
            shown = self._shown("workspace", row["workspace"])
            highest[shown] = max(highest.get(shown, 0.0), float(str(row["ratio"])))
        for shown, ratio in highest.items():
            family.add_metric((shown,), ratio)
        return family

    def _shown(self, label: Literal["workspace", "model"], value: object) -> str:
        return self._cap.shown(label, str(value))


def rendered(registry: CollectorRegistry, openmetrics: bool) -> bytes:
    """The text of a registry; that of OpenMetrics without its last line."""
    if openmetrics:
        text: bytes = openmetrics_exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text.removesuffix(EOF)
    return generate_latest(registry)
