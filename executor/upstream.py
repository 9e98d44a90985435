"""The only file that speaks to a model: OpenAI-compatible HTTP, or the built-in test model.

What comes of an attempt is a value, told to whoever asked: an `Answer` with whatever status, or a
`NoAnswer` that says why. Everything belongs to the dispatch loop.
"""

import asyncio
import ssl
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeAlias

from executor.options import TEST_MODEL
from executor.streamed import STREAMED_ENDPOINTS
from executor.wire.exchange import Answer, Done, Exchange, Glance, NoAnswer
from executor.wire.names import Names
from executor.wire.origin import head_of, origin_of, without_user_info
from executor.wire.pool import Pool
from executor.wire.sockets import Sockets

if TYPE_CHECKING:
    from executor.answers import Judged, Lost

__all__ = [
    "Answer",
    "Call",
    "Done",
    "Heard",
    "HttpUpstream",
    "NoAnswer",
    "TestModel",
    "Upstream",
    "without_user_info",
]

Heard: TypeAlias = "Callable[[Answer | NoAnswer | Judged | Lost], None]"
"""Is told once what came of a request, wherever it was sent from; never while it is being asked."""


class Call(Protocol):
    """A request that is under way."""

    def cancel(self) -> None:
        """Gives it up: nothing more is told of it."""
        ...


class Upstream(Protocol):
    """One address that serves a model."""

    label: str | None
    """Its URL without user info, for events and metrics; none for the built-in test model."""

    def ask(self, endpoint: str, body: bytes, done: Heard) -> Call:
        """Sends one request; `done` is told what came of it, and never before this returns."""
        ...

    async def probe(self, timeout_seconds: float) -> int | None:
        """The status of `GET /models`; none if there was no answer."""
        ...

    def close(self) -> None:
        """Gives its connections back."""
        ...


class HttpUpstream:
    """A base URL such as `http://host:9000/v1`. No redirects, no proxy from the environment."""

    def __init__(
        self,
        url: str,
        api_key: str | None,
        *,
        response_bytes: int,
        timeout_seconds: float,
        connect_timeout_seconds: float,
        tls: ssl.SSLContext,
        sockets: Sockets,
        streams: bool = False,
    ) -> None:
        self.label: str | None = without_user_info(url)
        self._url, self._api_key = url, api_key
        self._limit = response_bytes
        self._streams = streams
        self._heads: dict[str, bytes] = {}
        origin = origin_of(url)
        self._pool_of = partial(
            Pool,
            origin,
            connect_timeout_seconds=connect_timeout_seconds,
            tls=tls if origin.encrypted else None,
            sockets=sockets,
            names=Names(origin.host, origin.port),
        )
        self._pool = self._pool_of(timeout_seconds=timeout_seconds)

    def ask(self, endpoint: str, body: bytes, done: Done) -> Call:
        """Sends one request; the time limit covers all of it, to the last byte of the answer."""
        head = b"%scontent-length: %d\r\n\r\n" % (
            self._heads.get(endpoint) or self._head(endpoint),
            len(body),
        )
        streamed = endpoint if self._streams and endpoint in STREAMED_ENDPOINTS else None
        exchange = Exchange((head, body), self._limit, done, streamed)
        self._pool.begin(exchange)
        return exchange

    async def probe(self, timeout_seconds: float) -> int | None:
        """Asks on a connection of its own, so that it tells what a new one would meet."""
        told: asyncio.Future[Answer | NoAnswer] = asyncio.get_running_loop().create_future()
        pool = self._pool_of(timeout_seconds=timeout_seconds)
        head = head_of(self._url, "GET", "/models", self._api_key) + b"\r\n\r\n"

        def tell(answer: Answer | NoAnswer) -> None:
            if not told.done():  # the pool gives it up at the same moment as we do
                told.set_result(answer)

        pool.begin(Glance((head, b""), self._limit, tell))
        try:
            async with asyncio.timeout(timeout_seconds):
                answer = await told
        except TimeoutError:
            return None
        finally:
            pool.close()
        return answer.status if isinstance(answer, Answer) else None

    def close(self) -> None:
        """Closes its connections."""
        self._pool.close()

    def _head(self, endpoint: str) -> bytes:
        head = head_of(self._url, "POST", endpoint.removeprefix("/v1"), self._api_key)
        self._heads[endpoint] = head = head + b"\r\ncontent-type: application/json\r\n"
        return head


class TestModel:
    """`batch-test-model`: a fixed answer, from no upstream and free of charge (SPEC §3.3)."""

    label: str | None = None

    def ask(self, endpoint: str, body: bytes, done: Done) -> Call:
        """Answers at once."""
        return asyncio.get_running_loop().call_soon(done, Answer(200, _TEST_ANSWER))

    async def probe(self, timeout_seconds: float) -> int | None:
        """Is always there."""
        return 200

    def close(self) -> None:
        """Has nothing to give back."""


_TEST_ANSWER = (
    '{"object":"chat.completion","model":"' + TEST_MODEL + '","choices":[{"index":0,"finish_reason":"stop",'
    '"message":{"role":"assistant","content":"This is a test result."}}],'
    '"usage":{"prompt_tokens":20,"completion_tokens":6,"total_tokens":26}}'
).encode()
