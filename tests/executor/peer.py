"""A server that says to the byte what a test wants it to say, and who asks it."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import uvloop

from executor.wire.sockets import Sockets
from tests.executor.asking import answer_of, http_upstream

T = TypeVar("T")
BODY = {"model": "m"}
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


class Peer:
    """Answers every request with the next of the given pieces of bytes; None closes the connection."""

    def __init__(self, *answers: tuple[bytes | None, ...], pause: float = 0.005) -> None:
        self.answers, self.pause = list(answers), pause
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.connections = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r")[0] or b"0")
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(length))
                for piece in self.answers.pop(0) if self.answers else (OK,):
                    if piece is None:
                        writer.close()
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(self.pause)  # each piece its own read
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


async def given_back(sockets: Sockets, number: int) -> int:
    """How many sockets are free, once so many are: connections close when the loop comes to it."""
    while sockets.free < number:
        await asyncio.sleep(0.01)
    return sockets.free


@asynccontextmanager
async def serving(peer: Peer, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0, ssl=tls)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        server.close()


def run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """In a thread of its own, on the loop that dispatch has."""

    def in_loop() -> T:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work())

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(in_loop).result(120)


def asked(
    *answers: tuple[bytes | None, ...], times: int = 1, pause: float = 0.0, **options: Any
) -> tuple[list[Any], Peer]:
    """What comes of some requests, one after another, with a pause after each."""

    async def work() -> tuple[list[Any], Peer]:
        async with serving(Peer(*answers)) as peer:
            upstream = http_upstream(peer.url, **options)
            found = []
            for _ in range(times):
                found.append(await answer_of(upstream, BODY))
                await asyncio.sleep(pause)
            upstream.close()
            return found, peer

    return run(work)
