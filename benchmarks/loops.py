"""What every contestant of a race does, and bare loops that store nothing: over our own HTTP client and over others'."""

import asyncio
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import openai
from pyreqwest.client import ClientBuilder

from benchmarks.surroundings import own_client
from executor.upstream import Answer, HttpUpstream, NoAnswer


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
