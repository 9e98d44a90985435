"""Statistics are added up from arrays that are kept; here the same is added up plainly, row by row."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metering import ended_hours, groups
from metering.access import ADMIN, Access
from metering.ended_tasks import SHOWN_COUNTS
from metering.histogram import histogram, merge, percentile
from metering.money import plain
from metering.options import StatisticsOptions
from metering.statistics import Statistics
from metering.store import Row, Store, Transaction
from tests.metering.billed import NOON, StandingClock, open_store
from tests.metering.counted import Night

MODELS = ("qwen-plus", "tiny", "org/large")
WORKSPACES = ("default", "ws_2", "ws_3")
TASKS, DAYS = 300, 2
SUMS = (*SHOWN_COUNTS, "tasks")


def rollup(draw: random.Random, number: int, ended_at: datetime) -> Row:
    durations = histogram(
        draw.lognormvariate(6, 2) * draw.choice((0, 1, 1)) for _ in range(draw.randint(0, 9))
    )
    firsts = histogram(draw.lognormvariate(4, 1) for _ in range(draw.randint(0, 5)))
    currency = draw.choice(("CNY", "USD", None))
    counts = {name: draw.randint(0, 10 ** draw.randint(1, 9)) for name in SHOWN_COUNTS}
    times = ("running_ms", "duration_ms_sum", "first_token_ms_sum", "output_token_ms_sum", "timed_output_ms")
    amount = Decimal(draw.randint(0, 10**22)).scaleb(-15) if currency else Decimal(0)
    return {
        "task_id": f"batch_{number}",
        "workspace_id": draw.choice(WORKSPACES),
        "model": draw.choice(MODELS),
        "currency": currency,
        "status": "completed",
        "ended_at": ended_at,
        "total": 1,
        **counts,
        "free_requests": 0,
        "succeeded": sum(durations.values()),
        **{name: draw.uniform(1, 1e6) for name in times},
        "duration_buckets": list(durations),
        "duration_counts": list(durations.values()),
        "first_token_calls": sum(firsts.values()),
        "first_token_buckets": list(firsts),
        "first_token_counts": list(firsts.values()),
        "output_token_calls": draw.randint(0, 3),
        "timed_output_tokens": draw.randint(0, 10**6),
        "list_amount": 2 * amount,
        "amount": amount,
    }


class Ledger:
    """A store and the rollups in it."""

    def __init__(self, store: Store, rows: list[Row]) -> None:
        self.store, self.rows = store, rows


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    """Tasks of four days, several an hour and some hours empty, and the ledger's clock at the last of them."""
    draw = random.Random(11)
    ends = sorted(NOON - timedelta(days=DAYS) * draw.random() ** 2 for _ in range(TASKS))
    made = [rollup(draw, number, end) for number, end in enumerate(ends)]
    store = open_store(tmp_path_factory.mktemp("fast"))

    def enter(tx: Transaction) -> None:
        tx.insert("task_rollups", made)
        tx.execute("ending.set_moment", at=made[-1]["ended_at"])

    store.write(enter)
    yield Ledger(store, made)
    store.close()


def percentiles(rows: list[Row], field: str) -> dict[str, float | None]:
    merged = merge(dict(zip(row[f"{field}_buckets"], row[f"{field}_counts"], strict=True)) for row in rows)
    return {f"p{p}_{field}_ms": percentile(merged, p) for p in (50, 95, 99)}


def plainly(rows: list[Row]) -> dict[str, Any]:
    """What is exact: counts, and percentiles of durations."""
    sums = {name: sum(row[name] for row in rows) for name in SHOWN_COUNTS}
    return {"tasks": len(rows), **sums, **percentiles(rows, "duration")}


MOMENT = st.integers(0, DAYS * 86_400).map(lambda s: (NOON - timedelta(seconds=s)).replace(microsecond=0))
ASKED = {
    "ends": st.tuples(MOMENT, MOMENT).map(sorted),
    "model": st.none() | st.sampled_from(MODELS),
    "workspace": st.none() | st.sampled_from(WORKSPACES),
    "cache_bytes": st.sampled_from((0, 20_000, 2**20)),
}
WITHOUT_FIXTURES = [HealthCheck.function_scoped_fixture]
MANY = settings(max_examples=30, suppress_health_check=WITHOUT_FIXTURES)


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(groups, "GROUPS_AT_ONCE", 10)
    monkeypatch.setattr(groups, "BLOCK", 100)
    monkeypatch.setattr(ended_hours, "_READ_HOURS", 7)


def within(rows: list[Row], ends: list[datetime], model: str | None, workspace: str | None) -> list[Row]:
    start, end = ends[0], ends[1] + timedelta(seconds=1)
    return [
        row
        for row in rows
        if start <= row["ended_at"] < end
        and model in (None, row["model"])
        and workspace in (None, row["workspace_id"])
    ]


def statistics(store: Store, cache_bytes: int) -> Statistics:
    return Statistics(store, StatisticsOptions(cache_bytes=cache_bytes), StandingClock())


@MANY
@given(**ASKED)
def test_models_are_what_their_rows_add_up_to(
    ledger: Ledger,
    ends: list[datetime],
    model: str | None,
    workspace: str | None,
    cache_bytes: int,
) -> None:
    """For every range and filter, the first time and from what is kept."""
    store, made = ledger.store, ledger.rows
    rows = within(made, ends, model, workspace)
    asked = {
        "start": ends[0].isoformat(),
        "end": ends[1].isoformat(),
        "model": model,
        "workspace_id": workspace,
    }
    service = statistics(store, cache_bytes)
    for _ in range(2):
        answer = service.models(ADMIN, **asked)
        whose = {(row["model"], row["workspace_id"], row["currency"]) for row in rows}
        assert len(answer["data"]) == len(whose)
        for line in answer["data"]:
            own = [r for r in rows if all(r[n] == line[n] for n in ("model", "workspace_id", "currency"))]
            assert {name: line[name] for name in plainly(own)} == plainly(own)
            assert line["avg_duration_ms"] == (
                pytest.approx(sum(r["duration_ms_sum"] for r in own) / line["succeeded"])
                if line["succeeded"]
                else None
            )
            assert line["amount"] == plain(sum((row["amount"] for row in own), Decimal(0)))
        totals = answer["totals"]
        assert {name: totals[name] for name in plainly(rows)} == plainly(rows)
        assert [line["currency"] for line in totals["amounts"]] == sorted(
            {r["currency"] for r in rows} - {None}
        )
        for line in totals["amounts"]:
            listed = sum(
                (row["list_amount"] for row in rows if row["currency"] == line["currency"]), Decimal(0)
            )
            assert line["list_amount"] == plain(listed)


@MANY
@given(
    **{**ASKED, "model": st.sampled_from(MODELS)},
    zone=st.sampled_from(("UTC", "Asia/Kolkata", "Asia/Shanghai", "America/St_Johns")),
    interval=st.sampled_from(("hour", "day")),
)
def test_points_are_what_their_rows_add_up_to(
    ledger: Ledger,
    ends: list[datetime],
    model: str,
    workspace: str | None,
    cache_bytes: int,
    zone: str,
    interval: str,
) -> None:
    """Wherever a zone's hours and days begin."""
    store, made = ledger.store, ledger.rows
    rows = within(made, ends, model, workspace)
    asked = {"start": ends[0].isoformat(), "end": ends[1].isoformat(), "workspace_id": workspace}
    points = statistics(store, cache_bytes).trend(ADMIN, model, **asked, timezone=zone, interval=interval)[
        "data"
    ]
    starts = [datetime.fromisoformat(point["time"]) for point in points]
    for point, start, end in zip(points, starts, [*starts[1:], NOON + timedelta(days=1)], strict=True):
        own = [row for row in rows if start <= row["ended_at"] < end]
        assert {name: point[name] for name in plainly(own)} == plainly(own)
        assert {name: point[name] for name in percentiles(own, "first_token")} == percentiles(
            own, "first_token"
        )


def test_a_task_counts_as_soon_as_it_ended(tmp_path: Path) -> None:
    """Whatever was asked and kept before; also where the clock was set back, and an hour gets more tasks."""
    night = Night(tmp_path)
    service = night.statistics()
    start = NOON - timedelta(hours=5)
    moments = (0, 10, 59, 60, 61, 30, 30, 130, 131)  # minutes; the ledger's clock does not go back with them
    for tasks, minutes in enumerate(moments, 1):
        night.task(start + timedelta(minutes=minutes), [{}] * tasks)
        calls = tasks * (tasks + 1) // 2
        for _ in range(2):
            assert service.models(ADMIN)["totals"]["calls"] == calls
            assert sum(p["calls"] for p in service.trend(ADMIN, "qwen-plus")["data"]) == calls
    night.store.close()


def test_what_is_kept_has_a_limit_and_hides_nothing(ledger: Ledger) -> None:
    """`statistics.cache_bytes`; a workspace sees its own, though all are kept together."""
    store, made = ledger.store, ledger.rows
    start = (NOON - timedelta(days=DAYS)).isoformat()
    answers = []
    for cache_bytes in (0, 30_000, 2**26):
        service = statistics(store, cache_bytes)
        answers += [service.models(ADMIN, start=start) for _ in range(2)]
        hours = service._hours
        assert hours._kept_bytes == sum(tasks.size_bytes for tasks in hours._kept.values()) <= cache_bytes
        own = service.models(Access("ws_2", "key"), start=start)
        assert {row["workspace_id"] for row in own["data"]} == {"ws_2"}
        assert own["totals"]["tasks"] == sum(row["workspace_id"] == "ws_2" for row in made)
    assert answers.count(answers[0]) == len(answers)
