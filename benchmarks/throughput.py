"""How fast a whole task runs, beside loops that do less, all in one run (SPEC §13).

    python benchmarks/throughput.py --requests 50000

Against an nginx that answers at once: our whole task (from `in_progress` to `completed` by the client's
clock), bare loops that store nothing over our own HTTP client, pyreqwest and aiohttp, a loop over
AsyncOpenAI, and the least that a task needs over our own client (benchmarks/sketch.py), all on uvloop with the
same concurrency. Against an upstream that takes 50 ms: our whole task
and the bare loops over pyreqwest and aiohttp. Prints ratios, judges nothing.
"""

import sys
from pathlib import Path

# As a script too: from the root, where a module called statistics hides none of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import tempfile

import uvloop

from benchmarks.loops import Load, Result, aiohttp_loop, openai_loop, own_client_loop, pyreqwest_loop, result
from benchmarks.sketch import sketch
from benchmarks.surroundings import fast_upstream, our_server, slow_upstream

SLOW_REQUESTS, SLOW_CONCURRENCY, SLOW_SECONDS = 2000, 64, 0.05


def middle(results: list[Result]) -> Result:
    """The run with the median rate."""
    return sorted(results, key=lambda one: one.rate)[len(results) // 2]


def mean(one: Result, other: Result) -> Result:
    """Of a reference measured before and after."""
    return Result((one.rate + other.rate) / 2, (one.cpu_microseconds + other.cpu_microseconds) / 2)


def whole_task(folder: Path, url: str, load: Load, runs: int) -> list[Result]:
    """Our service, once per run; each run's outcome is checked."""
    file, results = folder / "input.jsonl", []
    load.write(file)
    with our_server(folder / "ours", url, load.concurrency) as server:
        for _ in range(runs):
            run = server.run(server.submit(file))
            counts = run.batch["request_counts"]
            if run.batch["status"] != "completed" or counts["completed"] != load.requests:
                raise SystemExit(f"the task did not go through: {run.batch['status']} {counts}")
            results.append(result(load, run.seconds, run.cpu_seconds))
    return results


def at_once(options: argparse.Namespace, folder: Path) -> None:
    """Against an upstream that answers at once; references before and after, since machines change their pace."""
    load = Load(options.requests, options.concurrency, options.bytes)
    few = Load(min(options.openai_requests, options.requests), options.concurrency, options.bytes)
    loops = {
        "bare pyreqwest loop": (pyreqwest_loop, load),
        "bare aiohttp loop": (aiohttp_loop, load),
        "bare loop, own client": (own_client_loop, load),
        "sketch, own client": (sketch, load),
        "AsyncOpenAI loop": (openai_loop, few),
    }
    with fast_upstream(folder) as url:
        before = {name: uvloop.run(loop(url, of)) for name, (loop, of) in loops.items()}
        ours = whole_task(folder, url, load, options.runs)
        after = {name: uvloop.run(loop(url, of)) for name, (loop, of) in loops.items()}
    print(f"\n{load.requests:,} requests of {load.bytes_each:,} B, {load.concurrency} in flight, at once")
    report(middle(ours), {name: mean(before[name], after[name]) for name in loops})


def at_fifty(options: argparse.Namespace, folder: Path) -> None:
    """Against an upstream that takes 50 ms."""
    load = Load(SLOW_REQUESTS, SLOW_CONCURRENCY, options.bytes)
    loops = {"bare pyreqwest loop": pyreqwest_loop, "bare aiohttp loop": aiohttp_loop}
    with slow_upstream(folder, SLOW_SECONDS) as url:
        before = {name: uvloop.run(loop(url, load)) for name, loop in loops.items()}
        ours = whole_task(folder, url, load, options.runs)
        after = {name: uvloop.run(loop(url, load)) for name, loop in loops.items()}
    print(f"\n{load.requests:,} requests, {load.concurrency} in flight, {SLOW_SECONDS * 1000:g} ms upstream")
    ideal = {"ideal": Result(SLOW_CONCURRENCY / SLOW_SECONDS, 0)}
    report(middle(ours), {name: mean(before[name], after[name]) for name in loops} | ideal)


def report(ours: Result, references: dict[str, Result]) -> None:
    """Prints rates and our ratio to each reference."""
    print(f"  {'Nightrate, whole task':<24}{ours.rate:>10,.0f}/s {ours.cpu_microseconds:>8,.0f} µs CPU each")
    for name, one in references.items():
        cpu = f"{one.cpu_microseconds:>8,.0f} µs CPU each" if one.cpu_microseconds else " " * 20
        print(f"  {name:<24}{one.rate:>10,.0f}/s {cpu}   Nightrate / it = {ours.rate / one.rate:.2f}")


def main() -> None:
    """Measures what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--bytes", type=int, default=1000, help="size of a request")
    parser.add_argument("--openai-requests", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", choices=["at-once", "slow"])
    options = parser.parse_args()
    for name, measure in (("at-once", at_once), ("slow", at_fifty)):
        if options.only in (None, name):
            with tempfile.TemporaryDirectory() as folder:
                measure(options, Path(folder))


if __name__ == "__main__":
    main()
