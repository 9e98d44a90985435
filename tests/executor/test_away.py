"""Attempts that workers make in another process: told once or lost, in whatever way that process ends."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from executor.answers import Judged, Lost
from executor.engines.away import AttemptsAway
from executor.options import ExecutorOptions, LimitOptions, ModelOptions
from executor.upstream import Upstream as AskedUpstream
from tests.behaviour import Behaviour
from tests.executor.peer import run
from tests.ports import reserved_port
from tests.upstream import Upstream

CHAT = "/v1/chat/completions"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def body(prompt: str) -> bytes:
    messages = [{"role": "user", "content": prompt}]
    return json.dumps({"model": "m", "messages": messages, "stream": prompt == "stream"}).encode()


@asynccontextmanager
async def asked(
    *urls: str, response_bytes: int = 1_000_000, stream: bool = False, kind: str = ""
) -> AsyncIterator[tuple[AttemptsAway, list[AskedUpstream]]]:
    """Upstreams as a crew of workers reaches them."""
    options, limits = ExecutorOptions(ray_actors=2), LimitOptions(response_bytes=response_bytes)
    attempts = AttemptsAway(100, options, limits, "tests.executor.crew_here", kind)
    model = ModelOptions(name="m", upstreams=urls, timeout_seconds=10, stream=stream)
    upstreams = [attempts.upstream(model, url, "sk-secret") for url in urls]
    attempts.start(lambda: None)
    try:
        await attempts.at_work()
        while attempts.workers < 2:
            await asyncio.sleep(0.01)
        yield attempts, upstreams
    finally:
        await attempts.stop()


async def answer(upstream: AskedUpstream, prompt: str) -> Any:
    told: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    upstream.ask(CHAT, body(prompt), told.set_result)
    return await told


def test_every_call_is_told_once(upstream: Upstream) -> None:
    """Each answer goes to whoever asked for it, judged where it came in; the key goes along."""

    async def test() -> None:
        async with asked(upstream.url) as (_, [m]):
            answers = await asyncio.gather(*(answer(m, f"hello {n}") for n in range(300)))
        for number, told in enumerate(answers):
            assert isinstance(told, Judged)
            assert told.verdict.kind == "success"
            assert f"hello {number}".encode() in told.verdict.body

    run(test)
    assert upstream.total == 300
    assert {seen.headers["authorization"] for seen in upstream.snapshot()} == {"Bearer sk-secret"}


def test_every_kind_of_answer_comes_back(upstream: Upstream) -> None:
    """Pushback with its wait, faults with their bodies, no answer with its reason, a stream put together."""
    upstream.rule = lambda seen: {
        "later": Behaviour(status=429, retry_after="7"),
        "never": Behaviour("reset"),
        "wrong": Behaviour(status=400),
    }.get(seen.prompt)

    async def test() -> None:
        async with asked(upstream.url, response_bytes=20_000, stream=True) as (_, [m]):
            later, never, wrong = [(await answer(m, p)).verdict for p in ("later", "never", "wrong")]
            assert (later.kind, later.status_code, later.retry_after_seconds) == ("pushback", 429, 7)
            assert (never.kind, never.code) == ("retry", "connection_error")
            assert (wrong.kind, wrong.code) == ("failure", "400")
            assert json.loads(wrong.body)["error"]
            streamed = await answer(m, "stream")
            assert streamed.verdict.kind == "success"
            assert json.loads(streamed.verdict.body)["object"] == "chat.completion"
            assert streamed.first_token_seconds > 0

    run(test)


def test_a_worker_that_is_gone_loses_its_calls_and_no_other(upstream: Upstream) -> None:
    """Whoever asked is told that nobody knows; another worker takes its place."""
    upstream.latency = 1

    async def test() -> None:
        async with asked(upstream.url) as (attempts, [m]):
            under_way = [asyncio.create_task(answer(m, f"hello {n}")) for n in range(10)]
            await asyncio.sleep(0.3)
            assert await answer(m, "kill the worker") == Lost()
            told = await asyncio.gather(*under_way)
            assert [type(each) for each in told].count(Lost) == 5
            assert attempts.trouble is None
            assert isinstance(await answer(m, "hello"), Judged)

    run(test)


def test_a_crew_that_is_gone_loses_every_call_and_is_begun_anew(upstream: Upstream) -> None:
    """Until it works again there is a trouble to show, and every call is lost at once."""
    upstream.latency = 1

    async def test() -> None:
        async with asked(upstream.url) as (attempts, [m]):
            under_way = [asyncio.create_task(answer(m, f"hello {n}")) for n in range(10)]
            await asyncio.sleep(0.3)
            assert await answer(m, "kill the crew") == Lost()
            assert await asyncio.gather(*under_way) == [Lost()] * 10
            assert attempts.trouble is not None
            assert await answer(m, "hello") == Lost()
            await attempts.at_work()
            assert isinstance(await answer(m, "hello"), Judged)

    run(test)


def test_a_call_that_is_given_up_ends_at_the_upstream(upstream: Upstream) -> None:
    """Nobody is told of it, and the upstream sees its connection close."""
    upstream.latency = 30

    async def test() -> None:
        async with asked(upstream.url) as (_, [m]):
            told: list[Any] = []
            call = m.ask(CHAT, body("hello"), told.append)
            while not upstream.in_flight:
                await asyncio.sleep(0.01)
            call.cancel()
            while upstream.in_flight:
                await asyncio.sleep(0.01)
            assert told == []

    run(test)


def test_probes_are_made_by_workers(upstream: Upstream) -> None:
    """The status that a worker saw, nothing of an upstream that is gone, and another worker's if one is lost."""

    async def test() -> None:
        nobody = f"http://127.0.0.1:{reserved_port()}/v1"
        async with asked(upstream.url, nobody) as (_, [m, gone]):
            assert await m.probe(10) == 200
            upstream.models_status = 503
            assert await m.probe(10) == 503
            assert await gone.probe(10) is None
            upstream.models_kind = "hang"
            probe = asyncio.create_task(m.probe(100))
            while upstream.probes < 3:
                await asyncio.sleep(0.01)
            upstream.models_kind, upstream.models_status = "ok", 200
            assert await answer(m, "kill the crew") == Lost()
            assert await probe == 200

    run(test)


def test_an_answer_longer_than_a_portion_comes_back_whole(upstream: Upstream) -> None:
    """Requests and answers of some megabytes go through as small ones do."""
    long = "x" * 5_000_000

    async def test() -> None:
        async with asked(upstream.url, response_bytes=20_000_000) as (_, [m]):
            told = await asyncio.gather(*(answer(m, f"{n} {long}") for n in range(3)))
            assert all(len(each.verdict.body) > len(long) for each in told)

    run(test)


def test_a_worker_without_a_way_to_an_upstream_is_found_out(upstream: Upstream) -> None:
    """The probe after a failed attempt is made where that failed; then the other worker gets the requests."""

    async def test() -> None:
        async with asked(upstream.url, kind="one is cut off") as (_, [m]):
            told = await asyncio.gather(*(answer(m, f"hello {n}") for n in range(10)))
            assert [each.verdict.kind for each in told].count("retry") == 5
            assert await m.probe(10) is None
            assert await m.probe(10) == 200
            told = await asyncio.gather(*(answer(m, f"hello {n}") for n in range(10)))
            assert {each.verdict.kind for each in told} == {"success"}

    run(test)
