import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metering.access import ADMIN, Access
from metering.errors import InvalidParameter, NotFound
from tests.metering.billed import FAILED, NO_TOKENS, NOON, UNMETERED
from tests.metering.counted import Night

START = "2026-11-22T00:00:00Z"
FLOATS = ("duration_ms", "first_token_ms")


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    made.store.close()


def nearest_rank(values: list[float], per_cent: int) -> float:
    return sorted(values)[max(0, -(-per_cent * len(values) // 100) - 1)]


def test_a_row_has_every_figure_of_its_model(night: Night) -> None:
    """Counts of all calls, tokens of metered ones, times of succeeded ones, money as exact text."""
    night.task(
        NOON - timedelta(hours=1),
        [
            {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 11, "reasoning_tokens": 4, "duration_ms": 1000.0, "first_token_ms": 200.0},
            {"duration_ms": 3000.0, "rate_limited_attempts": 2, "finish_reason": "content_filter"},
            {**UNMETERED, "duration_ms": 2000.0},
            {**FAILED, "duration_ms": 90_000.0, "rate_limited_attempts": 1},
        ],
    )  # fmt: skip
    answer = night.statistics().models(ADMIN)
    (row,) = answer["data"]
    whose = {name: row[name] for name in ("model", "workspace_id", "currency", "tasks")}
    assert whose == {"model": "qwen-plus", "workspace_id": "default", "currency": "CNY", "tasks": 1}
    counts = {
        name: row[name]
        for name in ("calls", "succeeded", "failed", "rate_limited", "content_filtered", "unmetered")
    }
    assert counts == {
        "calls": 4,
        "succeeded": 3,
        "failed": 1,
        "rate_limited": 2,
        "content_filtered": 1,
        "unmetered": 1,
    }
    tokens = [row[f"{kind}_tokens"] for kind in ("input", "cached_input", "output", "reasoning", "total")]
    assert tokens == [110, 40, 16, 4, 126]
    assert row["failure_rate"] == 0.25
    assert row["avg_duration_ms"] == 2000
    assert row["avg_first_token_ms"] == 200
    assert row["p50_duration_ms"] == pytest.approx(2000, rel=0.01)
    assert row["p95_duration_ms"] == row["p99_duration_ms"] == pytest.approx(3000, rel=0.01)
    listed = (Decimal(110) * Decimal("0.8") + Decimal(16) * 2) / 10**6
    assert (row["list_amount"], row["amount"]) == (
        format(listed.normalize(), "f"),
        format((listed / 2).normalize(), "f"),
    )
    assert answer["totals"]["amounts"] == [
        {"currency": "CNY", "list_amount": row["list_amount"], "amount": row["amount"]}
    ]
    for name in row.keys() - {"model", "workspace_id", "currency", "list_amount", "amount"}:
        assert answer["totals"][name] == row[name]


def test_a_row_per_model_workspace_and_currency_and_their_totals(night: Night) -> None:
    """In this order; a free model has no currency and costs "0"; the totals give amounts by currency."""
    night.task(NOON - timedelta(hours=3), [{}, {}], model="tiny", currency="USD")
    night.task(NOON - timedelta(hours=2), workspace_id="ws_2")
    night.task(NOON - timedelta(hours=1), [{}, FAILED])
    night.task(NOON - timedelta(hours=1), model="batch-test-model", currency=None, free=True)
    answer = night.statistics().models(ADMIN)
    groups = [(row["model"], row["workspace_id"], row["currency"], row["calls"]) for row in answer["data"]]
    assert groups == [
        ("batch-test-model", "default", None, 1),
        ("qwen-plus", "default", "CNY", 2),
        ("qwen-plus", "ws_2", "CNY", 1),
        ("tiny", "default", "USD", 2),
    ]
    assert (answer["data"][0]["list_amount"], answer["data"][0]["amount"]) == ("0", "0")
    totals = answer["totals"]
    assert (totals["models"], totals["tasks"], totals["calls"], totals["failed"]) == (3, 4, 6, 1)
    assert totals["amounts"] == [
        {"currency": "CNY", "list_amount": "0.000036", "amount": "0.000018"},
        {"currency": "USD", "list_amount": "0.00000000005", "amount": "0.000000000025"},
    ]
    merged = night.statistics().models(ADMIN, merged=True)
    assert [(row["model"], row["calls"], row["tasks"]) for row in merged["data"]] == [
        ("batch-test-model", 1, 1), ("qwen-plus", 3, 2), ("tiny", 2, 1),
    ]  # fmt: skip
    assert merged["totals"]["calls"] == totals["calls"]
    only = night.statistics().models(ADMIN, model="tiny", inference_type="batch")
    assert [row["model"] for row in only["data"]] == ["tiny"]
    assert only["totals"]["calls"] == 2


def test_percentiles_over_any_range_are_within_one_per_cent(night: Night) -> None:
    """Of the exact nearest rank over all succeeded calls of all tasks in it, in rows, totals and points."""
    draw = random.Random(20)
    times: list[list[float]] = []
    for hour in range(4, 0, -1):
        calls = [
            {
                "duration_ms": draw.lognormvariate(7 + hour / 3, 1.2),
                "first_token_ms": draw.lognormvariate(4, 1),
                "model": "qwen-plus",
            }
            for _ in range(draw.randint(1, 400))
        ]
        night.task(NOON - timedelta(hours=hour), [*calls, {**FAILED, "duration_ms": 1e9}])
        times.append([call["duration_ms"] for call in calls])
    statistics = night.statistics()
    for first in range(4):
        start = (NOON - timedelta(hours=4 - first, minutes=1)).isoformat()
        values = [value for task in times[first:] for value in task]
        answer = statistics.models(ADMIN, start=start)
        for figures in (*answer["data"], answer["totals"]):
            for per_cent in (50, 95, 99):
                assert figures[f"p{per_cent}_duration_ms"] == pytest.approx(
                    nearest_rank(values, per_cent), rel=0.01
                )
            assert figures["avg_duration_ms"] == pytest.approx(sum(values) / len(values))
    points = [p for p in statistics.trend(ADMIN, "qwen-plus")["data"] if p["calls"]]
    for point, values in zip(points, times, strict=True):
        for per_cent in (50, 95, 99):
            assert point[f"p{per_cent}_duration_ms"] == pytest.approx(
                nearest_rank(values, per_cent), rel=0.01
            )


def test_a_task_belongs_to_the_second_in_which_it_ended(night: Night) -> None:
    """One that ended at 10:59:59.9 lies within 10:00:00–10:59:59 and not from 11:00:00 on."""
    night.task(datetime(2026, 11, 22, 10, 59, 59, 900_000, tzinfo=UTC))
    statistics = night.statistics()

    def tasks(start: str, end: str) -> int:
        found: int = statistics.models(ADMIN, start=start, end=end)["totals"]["tasks"]
        return found

    assert tasks("2026-11-22T10:00:00Z", "2026-11-22T10:59:59Z") == 1
    assert tasks("2026-11-22T10:59:59Z", "2026-11-22T10:59:59Z") == 1
    assert tasks("2026-11-22T10:00:00Z", "2026-11-22T10:59:58Z") == 0
    assert tasks("2026-11-22T11:00:00Z", "2026-11-22T12:00:00Z") == 0


def test_a_running_task_and_an_empty_range_show_nothing(night: Night) -> None:
    """Counts are 0, and what no call could tell is null."""
    totals = night.statistics().models(ADMIN)["totals"]
    assert (totals["calls"], totals["total_tokens"], totals["amounts"]) == (0, 0, [])
    assert totals["failure_rate"] is totals["avg_duration_ms"] is totals["p50_duration_ms"] is None


def test_a_workspace_sees_only_its_own(night: Night) -> None:
    """In all three answers; naming another one is 404."""
    night.task(NOON - timedelta(hours=1), [{}, FAILED])
    statistics, foreign = night.statistics(), Access("ws_2", "key_2")
    assert statistics.models(foreign)["data"] == []
    assert all(point["calls"] == 0 for point in statistics.trend(foreign, "qwen-plus")["data"])
    assert statistics.errors(foreign, "qwen-plus")["data"] == []
    own = Access("default", "key_1")
    assert statistics.models(own, workspace_id="default")["totals"]["calls"] == 2
    for ask in (
        statistics.models,
        lambda *a, **k: statistics.trend(*a, "qwen-plus", **k),
        lambda *a, **k: statistics.errors(*a, "qwen-plus", **k),
    ):
        with pytest.raises(NotFound):
            ask(foreign, workspace_id="default")  # type: ignore[operator]


def test_days_begin_in_the_requests_zone(night: Night) -> None:
    """23:30 in Shanghai and 00:30 are two days there, and one in UTC."""
    night.task(datetime(2026, 11, 20, 15, 30, tzinfo=UTC))
    night.task(datetime(2026, 11, 20, 16, 30, tzinfo=UTC), [{}, {}])
    statistics = night.statistics()
    asked: dict[str, Any] = {
        "start": "2026-11-20T15:00:00Z",
        "end": "2026-11-20T17:00:00Z",
        "interval": "day",
    }
    there = statistics.trend(ADMIN, "qwen-plus", timezone="Asia/Shanghai", **asked)
    assert [(p["time"], p["calls"]) for p in there["data"]] == [
        ("2026-11-20T00:00:00+08:00", 1),
        ("2026-11-21T00:00:00+08:00", 2),
    ]
    assert (there["timezone"], there["interval"]) == ("Asia/Shanghai", "day")
    here = statistics.trend(ADMIN, "qwen-plus", **asked)
    assert [(p["time"], p["calls"]) for p in here["data"]] == [("2026-11-20T00:00:00+00:00", 3)]


def test_a_point_has_call_statistics_and_performance(night: Night) -> None:
    """Rates are sums over the running minutes of the point's tasks; a call's pace needs two output tokens."""
    calls: list[dict[str, Any]] = [
        {"duration_ms": 1000.0, "first_token_ms": 100.0, "output_tokens": 10},
        {"duration_ms": 2000.0, "first_token_ms": 500.0, "output_tokens": 1},
        {"duration_ms": 3000.0, **NO_TOKENS, "unmetered": True},
        FAILED,
    ]
    began = NOON - timedelta(minutes=40)
    night.task(NOON - timedelta(minutes=30), calls, in_progress_at=began)
    night.task(NOON - timedelta(minutes=20), calls, in_progress_at=began)
    point = next(p for p in night.statistics().trend(ADMIN, "qwen-plus", start=START)["data"] if p["calls"])
    assert point["time"] == "2026-11-22T11:00:00+00:00"
    assert (point["tasks"], point["calls"], point["failed"], point["unmetered"]) == (2, 8, 2, 2)
    tokens = 2 * (10 + 10 + 10 + 1)
    assert point["total_tokens"] == tokens
    assert point["avg_tokens_per_request"] == tokens / 8
    assert point["requests_per_minute"] == pytest.approx(8 / 30)
    assert point["tokens_per_minute"] == pytest.approx(tokens / 30)
    assert point["avg_duration_ms"] == 2000
    assert point["avg_first_token_ms"] == 300
    assert point["p50_first_token_ms"] == pytest.approx(100, rel=0.01)
    assert point["p99_first_token_ms"] == pytest.approx(500, rel=0.01)
    assert point["avg_time_per_output_token_ms"] == pytest.approx(100)
    assert point["output_tokens_per_second"] == pytest.approx(11 / 3)


def test_a_trend_has_no_holes(night: Night) -> None:
    """A point without calls has 0 counts and null performance, whether a task ended in it or not."""
    night.task(NOON - timedelta(hours=5), [], status="expired")
    night.task(NOON - timedelta(hours=2))
    answer = night.statistics().trend(ADMIN, "qwen-plus", start=START)
    times = [datetime.fromisoformat(p["time"]) for p in answer["data"]]
    assert times == [datetime(2026, 11, 22, hour, tzinfo=UTC) for hour in range(13)]
    empty, without_calls = answer["data"][1], answer["data"][7]
    assert without_calls == {**empty, "time": without_calls["time"], "tasks": 1}
    counts = {name for name, value in empty.items() if value == 0}
    assert {"calls", "failed", "rate_limited", "content_filtered", "input_tokens", "total_tokens"} <= counts
    assert {name for name, value in empty.items() if value is None} == {
        "failure_rate",
        "avg_tokens_per_request",
        "requests_per_minute",
        "tokens_per_minute",
        *(f"{figure}_{field}" for figure in ("avg", "p50", "p95", "p99") for field in FLOATS),
        "avg_time_per_output_token_ms",
        "output_tokens_per_second",
    }


def test_hours_of_the_day_when_clocks_go_back_are_told_apart(tmp_path: Path) -> None:
    """02:30 happens twice in Berlin: two points, an hour apart."""
    night = Night(tmp_path, now=datetime(2026, 10, 25, 12, tzinfo=UTC))
    night.task(datetime(2026, 10, 25, 0, 30, tzinfo=UTC))
    night.task(datetime(2026, 10, 25, 1, 30, tzinfo=UTC), [{}, {}])
    answer = night.statistics().trend(
        ADMIN,
        "qwen-plus",
        start="2026-10-25T00:00:00+02:00",
        end="2026-10-25T03:59:59+01:00",
        timezone="Europe/Berlin",
    )
    assert [(p["time"][11:], p["calls"]) for p in answer["data"]] == [
        ("00:00:00+02:00", 0),
        ("01:00:00+02:00", 0),
        ("02:00:00+02:00", 1),
        ("02:00:00+01:00", 2),
        ("03:00:00+01:00", 0),
    ]
    night.store.close()


def test_failures_are_told_by_status_and_code_with_their_share(night: Night) -> None:
    """The most frequent first; a call without an answer has no status."""
    timeout = {**FAILED, "status_code": None, "error_code": "timeout"}
    night.task(NOON - timedelta(hours=2), [FAILED, timeout, {}])
    night.task(NOON - timedelta(hours=1), [FAILED, FAILED])
    answer = night.statistics().errors(ADMIN, "qwen-plus")
    assert answer["failed"] == 4
    assert answer["data"] == [
        {"status_code": 500, "error_code": "server_error", "calls": 3, "share": 0.75},
        {"status_code": None, "error_code": "timeout", "calls": 1, "share": 0.25},
    ]
    assert night.statistics().errors(ADMIN, "none")["data"] == []


def test_statistics_never_read_events(night: Night) -> None:
    """They are the same when the events are gone."""
    night.task(NOON - timedelta(hours=1), [{}, FAILED])
    statistics = night.statistics()

    def all_answers() -> list[Any]:
        return [
            statistics.models(ADMIN),
            statistics.trend(ADMIN, "qwen-plus"),
            statistics.errors(ADMIN, "qwen-plus"),
        ]

    before = all_answers()
    night.store.write(lambda tx: tx._connection.execute("DELETE FROM request_events"))
    assert all_answers() == before


def test_what_is_not_understood_is_refused_by_name(night: Night) -> None:
    """`batch` is the only inference type, and a trend has at most `max_points` points."""
    statistics = night.statistics(max_points=100)
    refusals = [
        ({"inference_type": "realtime"}, "inference_type"),
        ({"timezone": "Nowhere"}, "timezone"),
        ({"start": "2026-11-01T00:00:00Z"}, "start"),
        ({"interval": "minute"}, "interval"),
        ({"interval": "second"}, "interval"),
    ]
    for asked, param in refusals:
        with pytest.raises(InvalidParameter) as refused:
            statistics.trend(ADMIN, "qwen-plus", **asked)
        assert refused.value.param == param
    with pytest.raises(InvalidParameter, match="interval=hour"):
        statistics.trend(ADMIN, "qwen-plus", interval="minute")
