"""The figures that are read at a scrape, and how they are written."""

import logging
from collections.abc import Mapping, Sequence
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

from metering.series import gauge_text
from metering.store import StoreError

log = logging.getLogger("nightrate.metrics")

STATUSES = (
    "validating",
    "in_progress",
    "finalizing",
    "cancelling",
    "completed",
    "failed",
    "expired",
    "cancelled",
)
BUILT_IN = "built-in"
"""The upstream of a model that needs none."""

PerUpstream = dict[tuple[str, str], int]
Models = Sequence[tuple[str, Sequence[str]]]
"""Configured models with the labels of their upstreams."""


class LiveFigures(Protocol):
    """What is true right now; asked at every scrape, so each answer is cheap."""

    def in_flight(self) -> dict[str, int]:
        """Requests under way, per model."""
        ...

    def pending(self) -> dict[str, int]:
        """Requests of running tasks that are not under way, per model."""
        ...

    def oldest_pending_seconds(self) -> float:
        """Age of the request that waits longest, 0 if none waits."""
        ...

    def concurrency_limits(self) -> PerUpstream:
        """How many requests may be under way, per model and upstream."""
        ...

    def upstreams_up(self) -> PerUpstream:
        """1, or 0 in an outage, per model and upstream."""
        ...

    def recorder_queue(self) -> int:
        """Outcomes that wait for their commit."""
        ...

    def tasks_by_status(self) -> dict[str, int]:
        """How many tasks have each status."""
        ...


def gauges(live: LiveFigures, models: Models) -> str:
    """The text of every live gauge, with a series for each configured model and upstream."""
    none = dict.fromkeys((name for name, _ in models), 0)
    up: dict[tuple[str, ...], float] = {
        (name, upstream): 1 for name, upstreams in models for upstream in upstreams
    }
    per_model, per_upstream = ("model",), ("model", "upstream")
    parts = (
        _tasks(live),
        gauge_text(
            "nightrate_requests_in_flight", "Requests under way.", per_model, _keyed(none | live.in_flight())
        ),
        gauge_text(
            "nightrate_requests_pending",
            "Requests of running tasks that are not under way.",
            per_model,
            _keyed(none | live.pending()),
        ),
        gauge_text(
            "nightrate_oldest_pending_request_seconds",
            "Age of the request that waits longest.",
            (),
            {(): live.oldest_pending_seconds()},
        ),
        gauge_text(
            "nightrate_concurrency_limit",
            "How many requests may be under way.",
            per_upstream,
            _labelled(live.concurrency_limits()),
        ),
        gauge_text(
            "nightrate_upstream_up",
            "1, or 0 in an outage.",
            per_upstream,
            up | _labelled(live.upstreams_up()),
        ),
        gauge_text(
            "nightrate_recorder_queue_events",
            "Outcomes that wait for their commit.",
            (),
            {(): live.recorder_queue()},
        ),
    )
    return "".join(parts)


def _tasks(live: LiveFigures) -> str:
    try:
        counts = dict.fromkeys(STATUSES, 0) | live.tasks_by_status()
    except StoreError as error:  # the rest can still be told while the database is reopened
        log.warning("tasks can't be counted: %s", error)
        return ""
    return gauge_text("nightrate_tasks", "Tasks by status.", ("status",), _keyed(counts))


def _keyed(counts: Mapping[str, int]) -> dict[tuple[str, ...], float]:
    return {(name,): count for name, count in counts.items()}


def _labelled(counts: PerUpstream) -> dict[tuple[str, ...], float]:
    return {(model, upstream_label(upstream)): count for (model, upstream), count in counts.items()}


def upstream_label(url: str) -> str:
    """An upstream's URL without user info."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])) if "@" in parts.netloc else url
