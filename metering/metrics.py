"""`/metrics` (SPEC §8): live figures, and the ledger's, on a registry of their own.

The live part counts from 0 at each start and is written at the scrape. The ledger's part is read from the
store off the scrape, at start and after a task end, and kept as text: a scrape costs the same whatever
the number of events and charges.
"""

import logging
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from platform import python_version
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import CounterMetricFamily, InfoMetricFamily, Metric
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from metering.access import DEFAULT_WORKSPACE
from metering.event import Event
from metering.label_cap import LabelCap
from metering.live_figures import BUILT_IN, LiveFigures, gauges, upstream_label
from metering.price import instant
from metering.series import CounterFamily, HistogramFamily, Spread, Value, gauge_text
from metering.store import Store, StoreClosed, StoreError

log = logging.getLogger("nightrate.metrics")

TOKEN_TYPES = ("input", "cached_input", "output", "reasoning")
DURATION_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800)
FIRST_TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
COMMIT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
UNKNOWN_MODEL = "unknown"
"""The model of a task whose file named none."""
_EOF = b"# EOF\n"
_IDLE_SECONDS = 60.0
_LEAST_PAUSE_SECONDS = 0.2


class _Calls(NamedTuple):
    """The series that an outcome of one workspace and model adds to."""

    succeeded: Value
    failed: Value
    tokens: tuple[Value, Value, Value, Value]
    duration: Spread
    first_token: Spread


class Metrics:
    """Counts what happens and renders all of it. Every method may be called from any thread."""

    def __init__(
        self,
        models: Sequence[tuple[str, Sequence[str]]],
        store: Store,
        version: str,
        *,
        max_label_values: int = 200,
    ) -> None:
        """`models` are the configured ones with their upstreams' URLs; raises `StoreError`.

        Of each label `workspace` and `model`, `max_label_values` values have series of their own.
        """
        self._store = store
        self._models = [(name, [upstream_label(url) for url in urls] or [BUILT_IN]) for name, urls in models]
        self._cap = LabelCap(store, max_label_values)
        self._lock = threading.Lock()
        self._calls: dict[tuple[str, str], _Calls] = {}
        self._attempts_by: dict[tuple[str, str, str], Value] = {}
        self._live: LiveFigures | None = None
        self._declare()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Build(version))
        ProcessCollector(registry=self._registry)
        self._begin_at_zero()
        self._ledger = _LedgerPart(store, self._cap)

    def _declare(self) -> None:
        ended, pair = ("workspace", "model", "status"), ("workspace", "model")
        self._tasks_ended = CounterFamily("nightrate_tasks_ended", "Tasks that were settled.", ended)
        self._requests = CounterFamily(
            "nightrate_requests", "Calls with their final answer.", (*pair, "outcome")
        )
        self._attempts = CounterFamily(
            "nightrate_attempts",
            "HTTP calls to upstreams, by status or error.",
            ("model", "upstream", "code"),
        )
        self._tokens = CounterFamily(
            "nightrate_tokens", "Tokens of succeeded calls; cached is part of input, reasoning of output.",
            (*pair, "type"),
        )  # fmt: skip
        self._validation_errors = CounterFamily(
            "nightrate_validation_errors", "Faults found in input files.", ("code",)
        )
        self._committed = CounterFamily(
            "nightrate_recorder_committed_events", "Events made durable by the recorder."
        )
        self._durations = HistogramFamily(
            "nightrate_request_duration_seconds", "Duration of succeeded calls.", DURATION_BOUNDS, ("model",)
        )
        self._first_tokens = HistogramFamily(
            "nightrate_time_to_first_token_seconds", "Time to the first token of succeeded calls that streamed.",
            FIRST_TOKEN_BOUNDS, ("model",),
        )  # fmt: skip
        self._commits = HistogramFamily(
            "nightrate_recorder_commit_seconds", "Time to make a batch of outcomes durable.", COMMIT_BOUNDS
        )

    def _begin_at_zero(self) -> None:
        with self._lock:
            self._committed.at()
            self._commits.at()
            for model, upstreams in self._models:
                self._calls_of(DEFAULT_WORKSPACE, model)
                for upstream in upstreams:
                    self._attempts.at(self._cap.shown("model", model), upstream, "200")

    # -- what the executor tells -------------------------------------------------------------------

    def attempt(self, model: str, upstream: str, code: str) -> None:
        """An HTTP call ended; `code` is its status or what went wrong ("timeout", "connection_error" …)."""
        key = (model, upstream, code)
        with self._lock:
            found = self._attempts_by.get(key)
            if found is None:
                shown = self._cap.shown("model", model)
                found = self._attempts_by[key] = self._attempts.at(shown, upstream_label(upstream), code)
            found.number += 1

    def outcome(self, event: Event) -> None:
        """A request has its final answer."""
        with self._lock:
            calls = self._calls.get((event.workspace_id, event.model)) or self._calls_of(
                event.workspace_id, event.model
            )
            if event.outcome != "succeeded":
                calls.failed.number += 1
                return
            calls.succeeded.number += 1
            calls.duration.observe(event.duration_ms / 1000)
            if event.first_token_ms is not None:
                calls.first_token.observe(event.first_token_ms / 1000)
            if event.input_tokens is not None:
                given, cached, made, reasoning = calls.tokens
                given.number += event.input_tokens
                cached.number += event.cached_input_tokens or 0
                made.number += event.output_tokens or 0
                reasoning.number += event.reasoning_tokens or 0

    def task_ended(self, workspace_id: str, model: str, status: str) -> None:
        """A task is settled; the ledger's part is read anew soon."""
        with self._lock:
            names = (
                self._cap.shown("workspace", workspace_id),
                self._cap.shown("model", model or UNKNOWN_MODEL),
            )
            self._tasks_ended.at(*names, status).number += 1
        self._ledger.changed.set()

    def validation_error(self, code: str, n: int) -> None:
        """A file had `n` faults of this code."""
        with self._lock:
            self._validation_errors.at(code).number += n

    def commit(self, seconds: float, rows: int) -> None:
        """A batch of outcomes became durable."""
        with self._lock:
            self._commits.at().observe(seconds)
            self._committed.at().number += rows

    def watch(self, live: LiveFigures) -> None:
        """Gives the source of the gauges, and begins to follow the ledger in a thread of its own."""
        self._live = live
        self._ledger.start()

    def refresh(self) -> None:
        """Reads the ledger's part now. Raises `StoreError`."""
        self._ledger.read()

    def stop(self) -> None:
        """Ends the thread that follows the ledger."""
        self._ledger.stop()

    def _calls_of(self, workspace_id: str, model: str) -> _Calls:
        """Finds or makes the series of a pair; the lock is held."""
        pair = (self._cap.shown("workspace", workspace_id), self._cap.shown("model", model))
        first, second, third, fourth = (self._tokens.at(*pair, kind) for kind in TOKEN_TYPES)
        calls = self._calls[workspace_id, model] = _Calls(
            self._requests.at(*pair, "succeeded"),
            self._requests.at(*pair, "failed"),
            (first, second, third, fourth),
            self._durations.at(pair[1]),
            self._first_tokens.at(pair[1]),
        )
        return calls

    # -- the scrape --------------------------------------------------------------------------------

    def render(self, openmetrics: bool) -> tuple[bytes, str]:
        """The body of `/metrics` and its content type, in the text format or in OpenMetrics."""
        families = (
            self._tasks_ended,
            self._requests,
            self._attempts,
            self._tokens,
            self._validation_errors,
            self._committed,
            self._durations,
            self._first_tokens,
            self._commits,
        )
        live = [family.text(openmetrics) for family in families]
        live.append(
            gauge_text(
                "nightrate_database_bytes",
                "Size of the database on disk.",
                (),
                {(): self._store.size_bytes()},
            )
        )
        if self._live is not None:
            live.append(gauges(self._live, self._models))
        body = (
            _rendered(self._registry, openmetrics) + "".join(live).encode() + self._ledger.text[openmetrics]
        )
        if openmetrics:
            return body + _EOF, openmetrics_exposition.CONTENT_TYPE_LATEST
        return body, CONTENT_TYPE_PLAIN_0_0_4


class _LedgerPart:
    """The text of the figures that come from the ledger, kept up to date off the scrape."""

    def __init__(self, store: Store, cap: LabelCap) -> None:
        self._store = store
        self._cap = cap
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
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
        with self._store.reading() as read:
            figures = _LedgerFigures(
                self._cap,
                tokens=read.query("metrics.tokens"),
                amounts=read.query("metrics.amounts"),
                unmetered=read.query("metrics.unmetered"),
                workspaces=read.query("metrics.workspaces"),
                prices=read.query("metrics.prices"),
            )
        families = list(figures.collect())
        self._cap.save()  # before anything is shown under a name
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collected(families))
        self.text = {form: _rendered(registry, form) for form in (False, True)}


class _Collected:
    """Families as a collector."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """The families."""
        return self._families


class _Build(_Collected):
    """What is running."""

    def __init__(self, version: str) -> None:
        facts = {"version": version, "python": python_version()}
        super().__init__([InfoMetricFamily("nightrate_build", "What is running.", facts)])


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

    def _counter(self, name: str, about: str, rows: str, field: str, *more: str) -> Metric:
        family = CounterMetricFamily(f"nightrate_{name}", about, labels=("workspace", "model", *more))
        sums: dict[tuple[str, ...], Decimal] = {}
        for row in self._rows[rows]:
            pair = self._shown("workspace", row["workspace_id"]), self._shown("model", row["model"])
            key = (*pair, *(str(row[label]) for label in more))
            sums[key] = sums.get(key, Decimal(0)) + Decimal(str(row[field]))
        for key, value in sums.items():
            family.add_metric(key, float(value))
        return family

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

    def _shown(self, label: Literal["workspace", "model"], value: object) -> str:
        return self._cap.shown(label, str(value))


def _rendered(registry: CollectorRegistry, openmetrics: bool) -> bytes:
    if openmetrics:
        text: bytes = openmetrics_exposition.generate_latest(registry)  # type: ignore[no-untyped-call]
        return text.removesuffix(_EOF)
    return generate_latest(registry)
