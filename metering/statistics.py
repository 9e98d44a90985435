"""Statistics of ended tasks, as the API gives them (SPEC §6). Reads rollups only, never events.

Figures are dated by the task's end. Durations are of succeeded calls, in milliseconds; percentiles are
nearest ranks of merged histograms, right to 1 %. A figure of no calls is null.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from metering.access import Access
from metering.clock import Clock
from metering.errors import InvalidParameter
from metering.histogram import value_of
from metering.money import plain
from metering.options import StatisticsOptions
from metering.points import interval_of, points
from metering.ranges import Range, parse_zone, windowed
from metering.store import Row, Store

INFERENCE_TYPE = "batch"
COUNTS = (
    "calls",
    "succeeded",
    "failed",
    "rate_limited",
    "content_filtered",
    "unmetered",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
)
_SUMS = (*COUNTS, "tasks", "duration_ms_sum", "first_token_calls", "first_token_ms_sum")
_PERCENTILES = ("p50", "p95", "p99")
Json = dict[str, Any]


class Statistics:
    """Answers for a caller: what `Access` allows, within the window of the settings."""

    def __init__(self, store: Store, options: StatisticsOptions, clock: Clock) -> None:
        self._store = store
        self._options = options
        self._clock = clock

    def models(
        self,
        access: Access,
        *,
        start: str | None = None,
        end: str | None = None,
        timezone: str | None = None,
        model: str | None = None,
        workspace_id: str | None = None,
        inference_type: str | None = None,
    ) -> Json:
        """SPEC §6.1: a row per model, workspace and currency, and their totals."""
        span = self._range(start, end, timezone, inference_type)
        chosen = {
            "start": span.start,
            "end": span.end,
            "model": model,
            "workspace_id": access.visible(workspace_id),
        }
        with self._store.reading() as read:
            rows = read.query("statistics.models", **chosen)
            ranks = {row["key"]: row for row in read.query("statistics.models_percentiles", **chosen)}
            amounts = read.query("statistics.amounts", **chosen)
        data = [_model_row(row, ranks.get(row["key"])) for row in rows]
        return {**_head(span), "data": data, "totals": _totals(rows, ranks.get(0), amounts)}

    def trend(
        self,
        access: Access,
        model: str,
        *,
        start: str | None = None,
        end: str | None = None,
        timezone: str | None = None,
        interval: str | None = None,
        workspace_id: str | None = None,
        inference_type: str | None = None,
    ) -> Json:
        """SPEC §6.2: one model's calls and performance, a point per minute, hour or day, with no holes."""
        span = self._range(start, end, timezone, inference_type)
        visible = access.visible(workspace_id)
        step = interval_of(interval, span, self._options.max_points)
        starts = points(span, step, self._options.max_points)
        chosen = {
            "start": span.start,
            "end": span.end,
            "model": model,
            "workspace_id": visible,
            "points": ",".join(str(_microseconds(at)) for at in starts),
        }
        with self._store.reading() as read:
            sums = {row["point"]: row for row in read.query("statistics.trend", **chosen)}
            ranks = {
                (row["point"], row["first_token"]): row
                for row in read.query("statistics.trend_percentiles", **chosen)
            }
        data = [
            {"time": at.astimezone(span.zone).isoformat()}
            | _point(sums.get(i, _NOTHING), ranks.get((i, False)), ranks.get((i, True)))
            for i, at in enumerate(starts)
        ]
        return {"model": model, **_head(span), "interval": step, "data": data}

    def errors(
        self,
        access: Access,
        model: str,
        *,
        start: str | None = None,
        end: str | None = None,
        timezone: str | None = None,
        workspace_id: str | None = None,
        inference_type: str | None = None,
    ) -> Json:
        """One model's failed calls by HTTP status and error code, the most frequent first."""
        span = self._range(start, end, timezone, inference_type)
        rows = self._store.query(
            "statistics.errors",
            start=span.start,
            end=span.end,
            model=model,
            workspace_id=access.visible(workspace_id),
        )
        failed = sum(row["calls"] for row in rows)
        data = [{**row, "share": row["calls"] / failed} for row in rows]
        return {"model": model, **_head(span), "failed": failed, "data": data}

    def _range(
        self, start: str | None, end: str | None, timezone: str | None, inference_type: str | None
    ) -> Range:
        if inference_type not in (None, INFERENCE_TYPE):
            raise InvalidParameter(
                f"{inference_type!r} is not an inference type that is counted here. Write batch, or leave it out.",
                param="inference_type",
            )
        return windowed(
            start,
            end,
            zone=parse_zone(timezone),
            now=self._clock(),
            window_days=self._options.window_days,
        )


_NOTHING: Mapping[str, Any] = dict.fromkeys(
    (
        *_SUMS,
        "running_ms",
        "output_token_calls",
        "output_token_ms_sum",
        "timed_output_tokens",
        "timed_output_ms",
    ),
    0,
)


def _head(span: Range) -> Json:
    return {
        "start": span.first,
        "end": span.last,
        "timezone": span.zone.key,
        "inference_type": INFERENCE_TYPE,
    }


def _microseconds(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _counts(sums: Mapping[str, Any]) -> Json:
    return {
        **{name: sums[name] for name in COUNTS},
        "total_tokens": sums["input_tokens"] + sums["output_tokens"],
        "failure_rate": _ratio(sums["failed"], sums["calls"]),
    }


def _spread(field: str, total_ms: float, calls: int, ranks: Row | None) -> Json:
    """Average and percentiles of a time."""
    values = {f"{p}_{field}": value_of(ranks[p]) if ranks else None for p in _PERCENTILES}
    return {f"avg_{field}": _ratio(total_ms, calls), **values}


def _figures(sums: Mapping[str, Any], ranks: Row | None) -> Json:
    return {
        **_counts(sums),
        **_spread("duration_ms", sums["duration_ms_sum"], sums["succeeded"], ranks),
        "avg_first_token_ms": _ratio(sums["first_token_ms_sum"], sums["first_token_calls"]),
        "tasks": sums["tasks"],
    }


def _money(row: Row) -> Json:
    return {name: plain(row[name]) for name in ("list_amount", "amount")}


def _model_row(row: Row, ranks: Row | None) -> Json:
    whose = {name: row[name] for name in ("model", "workspace_id", "currency")}
    return {**whose, **_figures(row, ranks), **_money(row)}


def _totals(rows: Iterable[Row], ranks: Row | None, amounts: Iterable[Row]) -> Json:
    rows = list(rows)
    sums = {name: sum(row[name] for row in rows) for name in _SUMS}
    return {
        "models": len({row["model"] for row in rows}),
        **_figures(sums, ranks),
        "amounts": [{"currency": row["currency"], **_money(row)} for row in amounts],
    }


def _point(sums: Mapping[str, Any], durations: Row | None, first_tokens: Row | None) -> Json:
    """A point's call statistics and performance; without calls its performance is null."""
    total = sums["input_tokens"] + sums["output_tokens"]
    minutes = sums["running_ms"] / 60_000 if sums["calls"] else 0
    return {
        "tasks": sums["tasks"],
        **_counts(sums),
        "avg_tokens_per_request": _ratio(total, sums["calls"]),
        "requests_per_minute": _ratio(sums["calls"], minutes),
        "tokens_per_minute": _ratio(total, minutes),
        **_spread("duration_ms", sums["duration_ms_sum"], sums["succeeded"], durations),
        **_spread("first_token_ms", sums["first_token_ms_sum"], sums["first_token_calls"], first_tokens),
        "avg_time_per_output_token_ms": _ratio(sums["output_token_ms_sum"], sums["output_token_calls"]),
        "output_tokens_per_second": _ratio(sums["timed_output_tokens"], sums["timed_output_ms"] / 1000),
    }
