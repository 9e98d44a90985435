"""How many requests can be under way at once (SPEC §13), beside the ideal and a bare loop in the same run.

    python -m benchmarks.width

5,000 in flight at an upstream that takes 2 s, then 20,000 (or what the limit of open files lets) at one that takes 10 s: the whole task by the
client's clock against `in flight ÷ latency` and against a loop over our HTTP client that stores nothing;
and the most that the upstream ever saw at once. Prints ratios, judges nothing.
"""

import argparse
import resource
import tempfile
from dataclasses import dataclass
from pathlib import Path

import requests
import uvloop

from benchmarks.loops import Load, own_client_loop, result
from benchmarks.surroundings import our_server, slow_upstream

OTHER_FILES = 1000
"""What a process needs beside its connections."""


@dataclass(frozen=True)
class Width:
    """What is measured."""

    in_flight: int
    latency_seconds: float
    rounds: int
    bytes_each: int = 1000

    @property
    def load(self) -> Load:
        """So many requests that each place is used `rounds` times."""
        return Load(self.in_flight * self.rounds, self.in_flight, self.bytes_each)

    @property
    def ideal(self) -> float:
        """Requests a second, if nothing but the upstream took time."""
        return self.in_flight / self.latency_seconds


def measure(width: Width) -> None:
    """One task, and the bare loop, at a fresh upstream each."""
    load = width.load
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        load.write(folder / "input.jsonl")
        with slow_upstream(folder, width.latency_seconds) as url:
            bare = uvloop.run(own_client_loop(url, load))
        with (
            slow_upstream(folder, width.latency_seconds) as url,
            our_server(folder / "ours", url, load.concurrency) as server,
        ):
            run = server.run(server.submit(folder / "input.jsonl"))
            most = requests.get(url.removesuffix("/v1") + "/counts", timeout=60).json()["most"]
        counts = run.batch["request_counts"]
        if run.batch["status"] != "completed" or counts["completed"] != load.requests:
            raise SystemExit(f"the task did not go through: {run.batch['status']} {counts}")
    ours = result(load, run.seconds, run.cpu_seconds)
    print(
        f"{width.in_flight:,} in flight at {width.latency_seconds:g} s, {load.requests:,} requests: "
        f"{ours.rate:,.0f}/s, {ours.rate / width.ideal:.2f} of the ideal {width.ideal:,.0f}/s, "
        f"{ours.rate / bare.rate:.2f} of a bare loop ({bare.rate:,.0f}/s); at most {most:,} at once"
    )


def main() -> None:
    """Measures both widths."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    widths = (Width(5000, 2.0, options.rounds), Width(min(20_000, files - OTHER_FILES), 10.0, 2))
    for width in widths:
        measure(width)


if __name__ == "__main__":
    main()
