"""How fast statistics are answered, beside a plain scan of the events in the same run (SPEC §13).

    python benchmarks/statistics.py --tasks 5000 --calls-per-task 10000

Fills the rollups of ended tasks over 15 days, starts the real service on them and measures GET
/v1/statistics and trends; then again with ten times the calls per task. The reference asks the same of raw
events, as one would without rollups, over as many events as `--events` says. Prints figures and ratios,
judges nothing.
"""

import sys
from pathlib import Path

# As a script too: from the root, where a module called statistics hides none of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import numpy as np

from benchmarks.surroundings import our_server
from metering.histogram import histogram
from metering.options import StorageOptions
from metering.store import Store, Transaction

MODELS, WORKSPACES, DAYS, SHAPE = 10, 20, 15, 20_000

EVENTS = """
CREATE TABLE events AS SELECT 'model-' || (i % 10) AS model, now() - INTERVAL 1 SECOND * (i % 1296000) AS ended_at,
  CASE WHEN hash(i) % 100 = 0 THEN 'failed' ELSE 'succeeded' END AS outcome,
  exp(6 + (hash(i + 1) % 1000) / 400.0) AS duration_ms, hash(i + 2) % 3000 AS input_tokens,
  hash(i + 3) % 900 AS output_tokens FROM range($events) AS r(i)
"""
SCAN = """
SELECT model, count(*), count(*) FILTER (outcome = 'failed'), sum(input_tokens), sum(output_tokens),
  avg(duration_ms), quantile_disc(duration_ms, [0.5, 0.95, 0.99]) FROM events
WHERE ended_at > now() - INTERVAL 15 DAY AND outcome = 'succeeded' GROUP BY model
"""


def shape(dice: np.random.Generator, middle: float) -> tuple[list[int], list[float]]:
    """Buckets of lognormal durations around a middle, and how likely each is."""
    drawn = histogram(dice.lognormal(middle, 0.8, SHAPE).tolist())
    return list(drawn), [count / SHAPE for count in drawn.values()]


def rollups(tasks: int, calls: int) -> list[dict[str, Any]]:
    """Rows of `task_rollups`, as task ends leave them, spread over the window; each has calls of its own."""
    dice = np.random.default_rng(13)
    durations = [shape(dice, 6 + number / 5) for number in range(MODELS)]
    firsts = [shape(dice, 4 + number / 5) for number in range(MODELS)]
    now = datetime.now(UTC)
    ago = np.sort(dice.uniform(60, DAYS * 86_400, tasks))[::-1]
    return [
        rollup(
            number,
            now - timedelta(seconds=float(seconds)),
            calls,
            drawn(dice, calls, *durations[number % MODELS]),
            drawn(dice, calls, *firsts[number % MODELS]),
        )
        for number, seconds in enumerate(ago)
    ]


def drawn(
    dice: np.random.Generator, calls: int, buckets: list[int], shares: list[float]
) -> tuple[list[int], list[int]]:
    """As many calls as a task has, thrown into buckets."""
    counts = dice.multinomial(calls, shares)
    return np.array(buckets)[counts > 0].tolist(), counts[counts > 0].tolist()


def rollup(
    number: int,
    ended_at: datetime,
    calls: int,
    durations: tuple[list[int], list[int]],
    firsts: tuple[list[int], list[int]],
) -> dict[str, Any]:
    """One task's row."""
    model = number % MODELS
    zeros = ("failed", "rate_limited", "content_filtered", "unmetered", "free_requests")
    tokens = {"input_tokens": 900, "cached_input_tokens": 100, "output_tokens": 300, "reasoning_tokens": 50}
    sums = {name: each * calls for name, each in tokens.items()}
    times = {"duration_ms_sum": 900.0 * calls, "first_token_ms_sum": 90.0 * calls}
    return {
        "task_id": f"batch_{number:032x}",
        "workspace_id": f"ws_{number // MODELS % WORKSPACES}",
        "api_key_id": "key_1",
        "model": f"model-{model}",
        "currency": "CNY",
        "status": "completed",
        "ended_at": ended_at,
        "running_ms": 600_000.0,
        "total": calls,
        "calls": calls,
        "succeeded": calls,
        **dict.fromkeys(zeros, 0),
        **sums,
        **times,
        "duration_buckets": durations[0],
        "duration_counts": durations[1],
        "first_token_calls": calls,
        "first_token_buckets": firsts[0],
        "first_token_counts": firsts[1],
        "output_token_calls": calls,
        "output_token_ms_sum": 30.0 * calls,
        "timed_output_tokens": 300 * calls,
        "timed_output_ms": 900.0 * calls,
        "list_amount": Decimal("1.320000000000000"),
        "amount": Decimal("0.660000000000000"),
    }


def fill(data_dir: Path, tasks: int, calls: int) -> None:
    """Writes the rollups through the store itself."""
    store = Store(StorageOptions(data_dir=data_dir))
    rows = rollups(tasks, calls)

    def enter(tx: Transaction) -> None:
        tx.insert("task_rollups", rows)
        tx.execute("ending.set_moment", at=rows[-1]["ended_at"])

    store.write(enter)
    store.close()


def reference(events: int) -> Callable[[], None]:
    """A scan of that many raw events in a DuckDB of its own."""
    database = duckdb.connect(config={"threads": "2"})
    database.execute(EVENTS, {"events": events})
    return lambda: len(database.execute(SCAN).fetchall()) and None


def p95(ask: Callable[[], object], times: int) -> float:
    """Milliseconds that 95 of 100 calls stay within (nearest rank)."""
    ask()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - begun) * 1000)
    return sorted(taken)[-(-95 * times // 100) - 1]


def main() -> None:
    """Fills, asks, prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=5000)
    parser.add_argument("--calls-per-task", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=2_000_000, help="events that the reference scans")
    parser.add_argument("--times", type=int, default=60)
    options = parser.parse_args()
    scan = p95(reference(options.events), max(5, options.times // 10))
    for calls in (options.calls_per_task, 10 * options.calls_per_task):
        with tempfile.TemporaryDirectory() as name:
            found, ours = measure(Path(name), options.tasks, calls, options.times)
        print(f"\n{options.tasks:,} ended tasks with {found:,} calls over {DAYS} days; p95")
        for what, milliseconds in ours.items():
            print(f"  {what:<40}{milliseconds:>9,.1f} ms   the scan / it = {scan / milliseconds:.1f}")
    print(f"  {f'a scan of {options.events:,} raw events':<40}{scan:>9,.1f} ms")


def measure(folder: Path, tasks: int, calls: int, times: int) -> tuple[int, dict[str, float]]:
    """How many calls are counted, and the milliseconds of each answer."""
    fill(folder / "ours" / "data", tasks, calls)
    now = datetime.now(UTC)
    start = (now - timedelta(days=DAYS - 1, hours=23)).isoformat()
    last_day = (now - timedelta(minutes=1490)).isoformat()
    with our_server(folder / "ours", "http://127.0.0.1:9/v1", 1) as server:
        found = server.get("/v1/statistics", start=start)
        trend = "/v1/statistics/model-3/trend"
        asked = {
            "GET /healthz, the floor": lambda: server.session.get(f"{server.url}/healthz", timeout=5),
            "GET /v1/statistics": lambda: server.get("/v1/statistics", start=start),
            "of one model": lambda: server.get("/v1/statistics", start=start, model="model-3"),
            "trend by day": lambda: server.get(trend, start=start, interval="day"),
            "trend by hour": lambda: server.get(trend, start=start, interval="hour"),
            "trend by minute, 1,490 points": lambda: server.get(trend, start=last_day, interval="minute"),
        }
        ours = {name: p95(ask, times) for name, ask in asked.items()}
    return sum(row["calls"] for row in found["data"]), ours


if __name__ == "__main__":
    main()
