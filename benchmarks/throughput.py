"""How fast a whole task runs, beside loops that do less, all in one run (SPEC §13).

    python benchmarks/throughput.py --requests 50000

Against an nginx that answers at once: our whole task (from `in_progress` to `completed` by the client's
clock), a bare pyreqwest loop that stores nothing, and a loop over AsyncOpenAI, with the same concurrency.
Against an upstream that takes 50 ms: our whole task and the bare loop. Prints ratios, judges nothing.
"""

import sys
from pathlib import Path

# As a script too: from the root, where a module called statistics hides none of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import openai
from pyreqwest.client import ClientBuilder

from benchmarks.surroundings import fast_upstream, our_server, slow_upstream

SLOW_REQUESTS, SLOW_CONCURRENCY, SLOW_SECONDS = 2000, 64, 0.05


@dataclass(frozen=True)
class Load:
    """What every contestant does."""

    requests: int
    concurrency: int
    bytes_each: int

    @property
    def body(self) -> dict[str, object]:
        """One request's body of about `bytes_each` bytes."""
        padding = "x" * max(1, self.bytes_each - 150)
        return {"model": "fast", "messages": [{"role": "user", "content": padding}]}

    def write(self, file: Path) -> None:
        """The input file for our service."""
        with file.open("w") as lines:
            for number in range(self.requests):
                line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions"}
                lines.write(json.dumps({**line, "body": self.body}) + "\n")


async def bare_loop(url: str, load: Load) -> float:
    """Requests a second of a pyreqwest loop that reads each answer and forgets it."""
    body, numbers = json.dumps(load.body).encode(), iter(range(load.requests))
    async with ClientBuilder().no_proxy().build() as client:
        begun = time.perf_counter()
        await asyncio.gather(*(_bare(client, url, body, numbers) for _ in range(load.concurrency)))
        return load.requests / (time.perf_counter() - begun)


async def _bare(client: object, url: str, body: bytes, numbers: Iterator[int]) -> None:
    for _ in numbers:
        post = client.post(f"{url}/chat/completions")  # type: ignore[attr-defined]
        response = await post.header("content-type", "application/json").body_bytes(body).build().send()
        assert response.status == 200
        await response.bytes()


async def openai_loop(url: str, load: Load) -> float:
    """Requests a second of a loop over AsyncOpenAI."""
    numbers = iter(range(load.requests))
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        begun = time.perf_counter()
        await asyncio.gather(*(_openai(client, load, numbers) for _ in range(load.concurrency)))
        return load.requests / (time.perf_counter() - begun)


async def _openai(client: openai.AsyncOpenAI, load: Load, numbers: Iterator[int]) -> None:
    for _ in numbers:
        await client.chat.completions.create(**load.body)  # type: ignore[call-overload]


def whole_task(folder: Path, url: str, load: Load, runs: int) -> list[float]:
    """Requests a second of our service, once per run; each run's result file is counted."""
    file, rates = folder / "input.jsonl", []
    load.write(file)
    with our_server(folder / "ours", url, load.concurrency) as server:
        for _ in range(runs):
            seconds, batch = server.seconds_of(server.submit(file))
            counts = batch["request_counts"]
            if batch["status"] != "completed" or counts["completed"] != load.requests:
                raise SystemExit(f"the task did not go through: {batch['status']} {counts}")
            rates.append(load.requests / seconds)
    return rates


def at_once(options: argparse.Namespace, folder: Path) -> None:
    """Against an upstream that answers at once."""
    load = Load(options.requests, options.concurrency, options.bytes)
    few = Load(min(options.openai_requests, options.requests), options.concurrency, options.bytes)
    with ExitStack() as stack:
        url = stack.enter_context(fast_upstream(folder))
        bare = [asyncio.run(bare_loop(url, load)) for _ in range(options.runs)]
        ours = whole_task(folder, url, load, options.runs)
        bare += [asyncio.run(bare_loop(url, load))]
        sdk = asyncio.run(openai_loop(url, few))
    print(f"\n{load.requests:,} requests of {load.bytes_each:,} B, {load.concurrency} in flight, at once")
    report(statistics.median(ours), {"bare pyreqwest loop": statistics.median(bare), "AsyncOpenAI loop": sdk})


def at_fifty(options: argparse.Namespace, folder: Path) -> None:
    """Against an upstream that takes 50 ms."""
    load = Load(SLOW_REQUESTS, SLOW_CONCURRENCY, options.bytes)
    with slow_upstream(folder, SLOW_SECONDS) as url:
        bare = [asyncio.run(bare_loop(url, load)) for _ in range(options.runs)]
        ours = whole_task(folder, url, load, options.runs)
        bare += [asyncio.run(bare_loop(url, load))]
    print(f"\n{load.requests:,} requests, {load.concurrency} in flight, {SLOW_SECONDS * 1000:g} ms upstream")
    ideal = {"ideal": SLOW_CONCURRENCY / SLOW_SECONDS}
    report(statistics.median(ours), {"bare pyreqwest loop": statistics.median(bare), **ideal})


def report(ours: float, references: dict[str, float]) -> None:
    """Prints rates and our ratio to each reference."""
    print(f"  {'Nightrate, whole task':<24}{ours:>10,.0f}/s")
    for name, rate in references.items():
        print(f"  {name:<24}{rate:>10,.0f}/s   Nightrate / it = {ours / rate:.2f}")


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
