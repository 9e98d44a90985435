"""`/metrics` (SPEC §8): live figures, and the ledger's, on a registry of their own.

The live part counts from 0 at each start and is written at the scrape. The ledger's part is read from the
store off the scrape, at start and after a task end, and kept as text: a scrape costs the same whatever
the number of events and charges.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from platform import python_version
from typing import NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import InfoMetricFamily
from prometheus_client.openmetrics import exposition as openmetrics_exposition

from metering.access import DEFAULT_WORKSPACE
from metering.event import Event
from metering.label_cap import LabelCap
from metering.live_figures import BUILT_IN, LiveFigures, gauges, upstream_label
from metering.metric_ledger import EOF, Collected, LedgerPart, rendered
from metering.series import CounterFamily, HistogramFamily, Spread, Value, gauge_text
from metering.store import Store

log = logging.getLogger("nightrate.metrics")

TOKEN_TYPES = ("input", "cached_input", "output", "reasoning")
DURATION_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 60, 120, 300, 600, 1800)
FIRST_TOKEN_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
COMMIT_BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
UNKNOWN_MODEL = "unknown"
"""The model of a task whose file named none."""


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
        self._lake: Callable[[], str] = str
        self._declare()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Build(version))
        ProcessCollector(registry=self._registry)
        self._begin_at_zero()
        self._ledger = LedgerPart(store, self._cap)

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

    def outcomes(self, events: Sequence[Event]) -> None:
        """Requests have their final answers."""
        with self._lock:
            for event in events:
                key = event.workspace_id, event.model
                _count(self._calls.get(key) or self._calls_of(*key), event)

    def task_ended(self, workspace_id: str, model: str, status: str) -> None:
        """A task is settled; the ledger's part is read anew soon."""
        with self._lock:
            names = (
                self._cap.shown("workspace", workspace_id),
                self._cap.shown("model", model or UNKNOWN_MODEL),
            )
            self._tasks_ended.at(*names, status).number += 1
        self.ledger_changed()

    def ledger_changed(self) -> None:
        """The ledger's part is read anew soon."""
        self._ledger.changed.set()

    def watch_budgets(self, ratios: Callable[[], Mapping[str, float]]) -> None:
        """Gives the source of the gauge of budgets: used ÷ budget, by workspace."""
        self._ledger.budgets = ratios

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

    def watch_lake(self, figures: Callable[[], str]) -> None:
        """Gives the source of the lake's gauges, where there is a lake."""
        self._lake = figures

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
        live.append(self._lake())
        body = rendered(self._registry, openmetrics) + "".join(live).encode() + self._ledger.text[openmetrics]
        if openmetrics:
            return body + EOF, openmetrics_exposition.CONTENT_TYPE_LATEST
        return body, CONTENT_TYPE_PLAIN_0_0_4


def _count(calls: _Calls, event: Event) -> None:
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


class _Build(Collected):
    """What is running."""

    def __init__(self, version: str) -> None:
        facts = {"version": version, "python": python_version()}
        super().__init__([InfoMetricFamily("nightrate_build", "What is running.", facts)])
