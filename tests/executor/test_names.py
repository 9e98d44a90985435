"""Host names of upstreams: slow ones, unknown ones, and those with more than one address."""

import asyncio
import socket
from collections import Counter
from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest

from executor.upstream import Answer, NoAnswer
from executor.wire.sockets import Sockets
from tests.executor.asking import answer_of, http_upstream
from tests.executor.peer import BODY, Peer, given_back, run, serving


class Resolver:
    """What the system answers, told by the test; counts what it was asked."""

    def __init__(self) -> None:
        self.names: dict[str, list[str]] = {}
        self.asked: Counter[str] = Counter()
        self.answers_now = Event()
        """Names that it has no addresses of have none, but it says so only when this is set."""

    def __call__(self, host: str, port: int, **options: Any) -> list[Any]:
        self.asked[host] += 1
        if host not in self.names:
            self.answers_now.wait(20)
            raise socket.gaierror(-2, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (at, port)) for at in self.names[host]]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.answers_now.set()


def test_a_name_that_is_never_found_delays_no_other(resolver: Resolver) -> None:
    """Its requests share one look-up; other names and plain addresses are asked meanwhile, whatever their number."""
    resolver.names["quick.test"] = ["127.0.0.1"]

    async def work() -> tuple[list[Any], list[Any], int]:
        sockets = Sockets(99)
        async with serving(Peer()) as peer:
            slow = [http_upstream(f"http://slow{n}.test:{peer.port}/v1", sockets=sockets) for n in range(9)]
            waiting = [
                asyncio.ensure_future(answer_of(upstream, BODY)) for upstream in slow for _ in range(5)
            ]
            await asyncio.sleep(0.05)
            urls = f"http://quick.test:{peer.port}/v1", peer.url
            upstreams = [*slow, *(http_upstream(url, sockets=sockets) for url in urls)]
            quick = [await answer_of(upstream, BODY) for upstream in upstreams[-2:]]
            quick.append(any(request.done() for request in waiting))
            resolver.answers_now.set()
            late = await asyncio.gather(*waiting)
            for upstream in upstreams:
                upstream.close()
            return quick, late, await given_back(sockets, 99)

    quick, late, left = run(work)
    assert quick == [Answer(200, b"{}"), Answer(200, b"{}"), False]
    assert {type(answer) for answer in late} == {NoAnswer}
    assert "the host name 'slow0.test' was not found" in late[0].message
    assert resolver.asked["127.0.0.1"] == 0
    assert {resolver.asked[f"slow{n}.test"] for n in range(9)} == {1}
    assert left == 99


def test_a_look_up_that_takes_too_long_is_told(resolver: Resolver) -> None:
    """The request ends as a connection error that says what did not come; the look-up goes on for the next."""

    async def work() -> list[Answer | NoAnswer]:
        upstream = http_upstream("http://slow.test:9/v1", connect_timeout_seconds=0.3)
        found = [await answer_of(upstream, BODY), await answer_of(upstream, BODY)]
        upstream.close()
        return found

    for answer in run(work):
        assert isinstance(answer, NoAnswer)
        assert answer.code == "connection_error"
        assert "no address for its host name within 0.3 s" in answer.message
    assert resolver.asked["slow.test"] == 1


def test_an_address_that_is_dead_or_silent_leaves_the_next_its_time(resolver: Resolver) -> None:
    """Of a host's addresses the first refuses, the second lets every connection wait, and the third serves."""
    resolver.names["host.test"] = ["127.0.0.3", "127.0.0.2", "127.0.0.1"]

    async def work() -> tuple[list[Answer | NoAnswer], int | None, int]:
        sockets = Sockets(9)
        async with serving(Peer()) as peer:
            with socket.socket() as silent, socket.socket() as first, socket.socket() as second:
                silent.bind(("127.0.0.2", peer.port))
                silent.listen(0)
                for one in (first, second):  # its queue is full: it answers no other
                    one.setblocking(False)
                    one.connect_ex(("127.0.0.2", peer.port))
                url = f"http://host.test:{peer.port}/v1"
                upstream = http_upstream(url, connect_timeout_seconds=3, sockets=sockets)
                found = [await answer_of(upstream, BODY)]
                probed = await upstream.probe(1)  # what served is tried first now
                upstream.close()
                return found, probed, await given_back(sockets, 9)

    assert run(work) == ([Answer(200, b"{}")], 200, 9)
