"""How fast a whole task runs, beside loops that do less, all in one run (SPEC §13).

    python benchmarks/throughput.py --requests 50000

Against an nginx that answers at once: our whole task (from `in_progress` to `completed` by the client's
clock), bare loops that store nothing over our own HTTP client, pyreqwest and aiohttp, and a loop over
AsyncOpenAI, all on uvloop with the same concurrency. Against an upstream that takes 50 ms: our whole task
and the bare loops over pyreqwest and aiohttp. Prints ratios, judges nothing.
"""

import sys
from pathlib import Path

# As a script too: from the root, where a module called statistics hides none of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass

import aiohttp
import openai
import uvloop
from pyreqwest.client import ClientBuilder

from benchmarks.surroundings import fast_upstream, our_server, own_client, slow_upstream
from executor.upstream import Answer, HttpUpstream, NoAnswer

SLOW_REQUESTS, SLOW_CONCURRENCY, SLOW_SECONDS = 2000, 64, 0.05


@dataclass(frozen=True)
class Result:
    """What one contestant reached in one run."""

    rate: float
    """Requests a second."""
    cpu_microseconds: float
    """Processor time of its own process per request; unlike the rate, hardly changed by a busy machine."""


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


def result(load: Load, seconds: float, cpu_seconds: float) -> Result:
    """Rates from times."""
    return Result(load.requests / seconds, cpu_seconds * 1e6 / load.requests)


def middle(results: list[Result]) -> Result:
    """The run with the median rate."""
    return sorted(results, key=lambda one: one.rate)[len(results) // 2]


def mean(one: Result, other: Result) -> Result:
    """Of a reference measured before and after."""
    return Result((one.rate + other.rate) / 2, (one.cpu_microseconds + other.cpu_microseconds) / 2)


async def own_client_loop(url: str, load: Load) -> Result:
    """A loop over our own HTTP client that reads each answer and forgets it."""
    body, numbers = json.dumps(load.body).encode(), iter(range(load.requests))
    upstream = own_client(url)
    begun, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(_own(upstream, body, numbers) for _ in range(load.concurrency)))
    found = result(load, time.perf_counter() - begun, time.process_time() - cpu)
    upstream.close()
    return found


async def _own(upstream: HttpUpstream, body: bytes, numbers: Iterator[int]) -> None:
    for _ in numbers:
        told: asyncio.Future[Answer | NoAnswer] = asyncio.get_running_loop().create_future()
        upstream.ask("/v1/chat/completions", body, told.set_result)
        answer = await told
        assert isinstance(answer, Answer)
        assert answer.status == 200


async def pyreqwest_loop(url: str, load: Load) -> Result:
    """A pyreqwest loop that reads each answer and forgets it."""
    body, numbers = json.dumps(load.body).encode(), iter(range(load.requests))
    async with ClientBuilder().no_proxy().build() as client:
        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_pyreqwest(client, url, body, numbers) for _ in range(load.concurrency)))
        return result(load, time.perf_counter() - begun, time.process_time() - cpu)


async def _pyreqwest(client: object, url: str, body: bytes, numbers: Iterator[int]) -> None:
    for _ in numbers:
        post = client.post(f"{url}/chat/completions")  # type: ignore[attr-defined]
        response = await post.header("content-type", "application/json").body_bytes(body).build().send()
        assert response.status == 200
        await response.bytes()


async def aiohttp_loop(url: str, load: Load) -> Result:
    """An aiohttp loop that reads each answer and forgets it."""
    body, numbers = json.dumps(load.body).encode(), iter(range(load.requests))
    connections = aiohttp.TCPConnector(limit=load.concurrency)
    headers = {"content-type": "application/json"}
    async with aiohttp.ClientSession(connector=connections, headers=headers) as session:
        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_aiohttp(session, url, body, numbers) for _ in range(load.concurrency)))
        return result(load, time.perf_counter() - begun, time.process_time() - cpu)


async def _aiohttp(session: aiohttp.ClientSession, url: str, body: bytes, numbers: Iterator[int]) -> None:
    for _ in numbers:
        async with session.post(f"{url}/chat/completions", data=body) as response:
            assert response.status == 200
            await response.read()


async def openai_loop(url: str, load: Load) -> Result:
    """A loop over AsyncOpenAI."""
    numbers = iter(range(load.requests))
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        begun, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(_openai(client, load, numbers) for _ in range(load.concurrency)))
        return result(load, time.perf_counter() - begun, time.process_time() - cpu)


async def _openai(client: openai.AsyncOpenAI, load: Load, numbers: Iterator[int]) -> None:
    for _ in numbers:
        await client.chat.completions.create(**load.body)  # type: ignore[call-overload]


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
