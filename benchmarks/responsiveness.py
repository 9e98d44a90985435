"""How fast the service answers while its executor runs flat out (SPEC §13: p99 of a batch object 100 ms).

    python benchmarks/responsiveness.py

The same calls, one after another, at an idle service and while tasks of 50,000 requests run against an
nginx that answers at once. Prints p50 and p99 of each, and how fast the task was; judges nothing.
"""

import sys
from pathlib import Path

# As a script too: from the root, where a module called statistics hides none of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import tempfile
import time
from collections.abc import Callable

from benchmarks.loops import Load
from benchmarks.surroundings import Server, fast_upstream, our_server

PATHS = {
    "GET /v1/batches/{id}": "/v1/batches/{id}",
    "GET /metrics": "/metrics",
    "GET /console/login": "/console/login",
}


def times(server: Server, task_id: str, enough: Callable[[], bool]) -> dict[str, list[float]]:
    """Seconds of each call, in turn, until it is enough."""
    found: dict[str, list[float]] = {name: [] for name in PATHS}
    while not enough():
        for name, path in PATHS.items():
            begun = time.perf_counter()
            answer = server.session.get(server.url + path.format(id=task_id), timeout=60)
            found[name].append(time.perf_counter() - begun)
            if answer.status_code != 200:
                raise SystemExit(f"{name}: {answer.status_code}")
        time.sleep(0.01)
    return found


def done(server: Server, task_ids: list[str]) -> int:
    """Requests of these tasks that have their final answer."""
    return sum(server.get(f"/v1/batches/{one}")["request_counts"]["completed"] for one in task_ids)


def at(share: float, seconds: list[float]) -> float:
    """A percentile by nearest rank, in milliseconds."""
    return sorted(seconds)[min(len(seconds) - 1, int(share * len(seconds)))] * 1000


def main() -> None:
    """Measures idle, then under load."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=4)
    options = parser.parse_args()
    load = Load(50_000, 64, 1000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load.write(folder / "input.jsonl")
        with fast_upstream(folder) as url, our_server(folder / "ours", url, load.concurrency) as server:
            warm = server.submit(folder / "input.jsonl")
            server.run(warm)
            end = time.perf_counter() + 5
            idle = times(server, warm, lambda: time.perf_counter() > end)
            task_ids = [server.submit(folder / "input.jsonl") for _ in range(options.tasks)]

            def all_are(*statuses: str) -> bool:
                return all(server.get(f"/v1/batches/{one}")["status"] in statuses for one in task_ids)

            while not all_are("in_progress", "finalizing", "completed"):
                time.sleep(0.1)
            begun, before = time.perf_counter(), done(server, task_ids)
            busy = times(
                server,
                task_ids[-1],
                lambda: server.get(f"/v1/batches/{task_ids[-1]}")["status"] == "completed",
            )
            rate = (done(server, task_ids) - before) / (time.perf_counter() - begun)
    print(f"{rate:,.0f} requests/s while it was asked")
    for name in PATHS:
        print(
            f"  {name:<22} idle p50 {at(0.5, idle[name]):5.1f} ms, p99 {at(0.99, idle[name]):5.1f} ms;  "
            f"flat out p50 {at(0.5, busy[name]):5.1f} ms, p99 {at(0.99, busy[name]):5.1f} ms ({len(busy[name])} calls)"
        )


if __name__ == "__main__":
    main()
