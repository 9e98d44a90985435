"""Statistics of ended tasks, as the API gives them (SPEC §6). Reads rollups only, never events.

Figures are dated by the task's end. Durations are of succeeded calls, in milliseconds; percentiles are
nearest ranks of merged histograms, right to 1 %. A figure of no calls is null.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np

from metering.access import Access
from metering.clock import Clock
from metering.connection import Readable
from metering.ended_hours import EndedHours, microseconds
from metering.ended_tasks import AMOUNTS, COUNTS, SHOWN_COUNTS, TIMES, Whose
from metering.errors import InvalidParameter
from metering.groups import PER_CENTS, Group, grouped
from metering.histogram import value_of
from metering.money import EXACT, ZERO, plain
from metering.options import StatisticsOptions
from metering.points import interval_of, points
from metering.ranges import Range, parse_zone, windowed
from metering.spreads import Buckets, Numbers

INFERENCE_TYPE = "batch"
Json = dict[str, Any]


class Statistics:
    """Answers for a caller: what `Access` allows, within the window of the settings."""

    def __init__(self, store: Readable, options: StatisticsOptions, clock: Clock) -> None:
        self._store = store
        self._options = options
        self._clock = clock
        self._hours = EndedHours(options.cache_bytes)

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
        merged: bool = False,
    ) -> Json:
        """SPEC §6.1: a row per model, workspace and currency, and their totals.

        `merged` gives one row a model instead: of its workspace and currency only one is named, and its amounts
        mean nothing where it was charged in two currencies.
        """
        span = self._range(start, end, timezone, inference_type)
        visible = access.visible(workspace_id)

        with self._store.reading() as read:
            groups, together = grouped(
                self._hours.within(read, span.start, span.end),
                lambda ended_us, owners: self._only(self._rows(owners, merged), owners, model, visible),
                first_tokens=False,
            )
        known = self._hours.owners.known()
        named = {known[number]: group for number, group in groups.items()}
        data = [_model_row(whose, named[whose]) for whose in sorted(named, key=_in_order)]
        return {**_head(span), "data": data, "totals": _totals(data, together)}

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
        starts_us = np.array([microseconds(at) for at in starts])

        def point_of(ended_us: Numbers, owners: Numbers) -> Numbers:
            point = np.searchsorted(starts_us, ended_us, "right") - 1
            return self._only(point, owners, model, visible)

        with self._store.reading() as read:
            within = self._hours.within(read, span.start, span.end)
            groups, _ = grouped(within, point_of, first_tokens=True)
        found = {point: _point(group) for point, group in groups.items()}
        data = [
            {"time": at.astimezone(span.zone).isoformat(), **found.get(number, _EMPTY_POINT)}
            for number, at in enumerate(starts)
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

    def _rows(self, owners: Numbers, merged: bool) -> Numbers:
        """The row of each task: its owner's, or that of the first owner of its model."""
        if not merged:
            return owners
        first: dict[str, int] = {}
        known = self._hours.owners.known()
        return np.array([first.setdefault(its[0], number) for number, its in enumerate(known)])[owners]

    def _only(self, keys: Numbers, owners: Numbers, model: str | None, workspace_id: str | None) -> Numbers:
        """The keys of tasks of that model and workspace, any if none; -1 for the others."""
        known = self._hours.owners.known()
        chosen = [model in (None, its[0]) and workspace_id in (None, its[1]) for its in known]
        return np.where(np.array(chosen)[owners], keys, -1)

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


def _in_order(whose: Whose) -> tuple[str, str, bool, str]:
    """By model, workspace and currency; without a currency last."""
    model, workspace_id, currency = whose
    return model, workspace_id, currency is None, currency or ""


def _head(span: Range) -> Json:
    return {
        "start": span.first,
        "end": span.last,
        "timezone": span.zone.key,
        "inference_type": INFERENCE_TYPE,
    }


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _counts(sums: Mapping[str, Any]) -> Json:
    return {
        **{name: sums[name] for name in SHOWN_COUNTS},
        "total_tokens": sums["input_tokens"] + sums["output_tokens"],
        "failure_rate": _ratio(sums["failed"], sums["calls"]),
    }


def _spread(field: str, total_ms: float, calls: int, its: Buckets | None) -> Json:
    """Average and percentiles of a time."""
    values = map(value_of, its) if its else [None] * len(PER_CENTS)
    named = {f"p{per_cent}_{field}": value for per_cent, value in zip(PER_CENTS, values, strict=True)}
    return {f"avg_{field}": _ratio(total_ms, calls), **named}


def _figures(group: Group) -> Json:
    sums = group.sums
    return {
        **_counts(sums),
        **_spread("duration_ms", sums["duration_ms_sum"], sums["succeeded"], group.durations),
        "avg_first_token_ms": _ratio(sums["first_token_ms_sum"], sums["first_token_calls"]),
        "tasks": sums["tasks"],
    }


def _model_row(whose: Whose, group: Group) -> Json:
    names = dict(zip(("model", "workspace_id", "currency"), whose, strict=True))
    return {**names, **_figures(group), **{name: plain(group.sums[name]) for name in AMOUNTS}}


def _totals(rows: Sequence[Json], together: Group) -> Json:
    amounts: dict[str, dict[str, Decimal]] = {}
    for row in rows:
        if row["currency"] is not None:
            of_currency = amounts.setdefault(row["currency"], dict.fromkeys(AMOUNTS, ZERO))
            for name in AMOUNTS:
                of_currency[name] = EXACT.add(of_currency[name], Decimal(row[name]))
    return {
        "models": len({row["model"] for row in rows}),
        **_figures(together),
        "amounts": [
            {"currency": currency, **{name: plain(amount) for name, amount in amounts[currency].items()}}
            for currency in sorted(amounts)
        ],
    }


def _point(group: Group) -> Json:
    """A point's call statistics and performance; without calls its performance is null."""
    sums = group.sums
    total = sums["input_tokens"] + sums["output_tokens"]
    minutes = sums["running_ms"] / 60_000 if sums["calls"] else 0
    return {
        "tasks": sums["tasks"],
        **_counts(sums),
        "avg_tokens_per_request": _ratio(total, sums["calls"]),
        "requests_per_minute": _ratio(sums["calls"], minutes),
        "tokens_per_minute": _ratio(total, minutes),
        **_spread("duration_ms", sums["duration_ms_sum"], sums["succeeded"], group.durations),
        **_spread(
            "first_token_ms", sums["first_token_ms_sum"], sums["first_token_calls"], group.first_tokens
        ),
        "avg_time_per_output_token_ms": _ratio(sums["output_token_ms_sum"], sums["output_token_calls"]),
        "output_tokens_per_second": _ratio(sums["timed_output_tokens"], sums["timed_output_ms"] / 1000),
    }


_EMPTY_POINT = _point(Group(dict.fromkeys((*COUNTS, *TIMES, "tasks"), 0), None, None))
