"""How fast statistics are answered, beside a plain scan of the events in the same run (SPEC §13).

    python benchmarks/statistics.py --tasks 5000 --calls-per-task 10000

Fills the rollups of ended tasks over 15 days, starts the real service on them and measures GET
/v1/statistics and trends. The reference asks the same of raw events, as one would without rollups, over
as many events as `--events` says. Prints figures and ratios, judges nothing.
"""

import sys
from pathlib import Path

# As a script too: from the root, where a module called statistics hides none of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import duckdb

from benchmarks.surroundings import our_server
from metering.histogram import histogram
from metering.options import StorageOptions
from metering.store import Store

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


def shape(dice: random.Random, middle: float, calls: int) -> tuple[list[int], list[int]]:
    """Buckets and counts of lognormal durations around a middle, scaled to a number of calls."""
    drawn = histogram(dice.lognormvariate(middle, 0.8) for _ in range(SHAPE))
    counts = [max(1, round(count * calls / SHAPE)) for count in drawn.values()]
    counts[-1] += calls - sum(counts)
    return list(drawn), [max(0, count) for count in counts]


def rollups(tasks: int, calls: int) -> list[dict[str, Any]]:
    """Rows of `task_rollups`, as task ends leave them, spread over the window."""
    dice = random.Random(13)
    durations = [shape(dice, 6 + number / 5, calls) for number in range(MODELS)]
    firsts = [shape(dice, 4 + number / 5, calls) for number in range(MODELS)]
    now = datetime.now(UTC)
    window = DAYS * 86_400 - 60
    ends = [now - timedelta(seconds=window * dice.random()) for _ in range(tasks)]
    return [rollup(number, end, calls, durations, firsts) for number, end in enumerate(ends)]


def rollup(
    number: int, ended_at: datetime, calls: int, durations: list[Any], firsts: list[Any]
) -> dict[str, Any]:
    """One task's row."""
    model = number % MODELS
    zeros = ("failed", "rate_limited", "content_filtered", "unmetered", "free_requests")
    tokens = {"input_tokens": 900, "cached_input_tokens": 100, "output_tokens": 300, "reasoning_tokens": 50}
    sums = {name: each * calls for name, each in tokens.items()}
    times = {"duration_ms_sum": 900.0 * calls, "first_token_ms_sum": 90.0 * calls}
    return {
        "task_id": f"batch_{number:032x}",
        "workspace_id": f"ws_{number % WORKSPACES}",
        "api_key_id": None if number < 0 else "key_1",
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
        "duration_buckets": durations[model][0],
        "duration_counts": durations[model][1],
        "first_token_calls": calls,
        "first_token_buckets": firsts[model][0],
        "first_token_counts": firsts[model][1],
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
    store.write(lambda tx: tx.insert("task_rollups", rows))
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
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name), options)


def measure(folder: Path, options: argparse.Namespace) -> None:
    """All figures of one run."""
    fill(folder / "ours" / "data", options.tasks, options.calls_per_task)
    start = (datetime.now(UTC) - timedelta(days=DAYS - 1, hours=23)).isoformat()
    with our_server(folder / "ours", "http://127.0.0.1:9/v1", 1) as server:
        found = server.get("/v1/statistics", start=start)
        trend = "/v1/statistics/model-3/trend"
        asked = {
            "GET /healthz, the floor": lambda: server.session.get(f"{server.url}/healthz", timeout=5),
            "GET /v1/statistics": lambda: server.get("/v1/statistics", start=start),
            "trend by hour": lambda: server.get(trend, start=start, interval="hour"),
            "trend by day": lambda: server.get(trend, start=start, interval="day"),
        }
        ours = {name: p95(ask, options.times) for name, ask in asked.items()}
    scan = p95(reference(options.events), max(5, options.times // 10))
    calls = sum(row["calls"] for row in found["data"])
    print(f"\n{options.tasks:,} ended tasks with {calls:,} calls over {DAYS} days; p95")
    for name, milliseconds in ours.items():
        print(f"  {name:<40}{milliseconds:>9,.1f} ms   the scan / it = {scan / milliseconds:.1f}")
    print(f"  {f'a scan of {options.events:,} raw events':<40}{scan:>9,.1f} ms")


if __name__ == "__main__":
    main()
