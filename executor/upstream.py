"""The only file that speaks to a model: one HTTP attempt, bounded in time and size.

An attempt brings an `Answer` (complete, whatever its status) or a `NoAnswer` (why there is none);
it never raises, but for cancellation.
"""

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import Protocol
from urllib.parse import urlsplit, urlunsplit

import msgspec
from pyreqwest.client import Client, ClientBuilder
from pyreqwest.exceptions import PyreqwestError, RequestTimeoutError
from pyreqwest.request import RequestBuilder
from pyreqwest.response import Response

from executor.options import TEST_MODEL
from executor.streamed import STREAMED_ENDPOINTS, Streamed, is_event_stream

__all__ = ["Answer", "Client", "HttpUpstream", "NoAnswer", "TestModel", "Upstream", "http_client"]


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A complete HTTP answer."""

    status: int
    body: bytes
    request_id: str | None = None
    retry_after: str | None = None
    """The header as it was sent: seconds or an HTTP date."""
    first_token_seconds: float | None = None
    """From the start of the attempt, if the answer was streamed."""


class NoAnswer(msgspec.Struct, frozen=True, gc=False):
    """An attempt without a usable answer."""

    code: str
    """`timeout`, `connection_error` or `response_too_large`."""
    message: str


class Upstream(Protocol):
    """One address that serves a model."""

    label: str | None
    """Its URL without user info, for events and metrics; none for the built-in test model."""

    async def ask(self, endpoint: str, body: bytes, timeout_seconds: float) -> Answer | NoAnswer:
        """Sends one request and reads the whole answer."""
        ...

    async def probe(self, timeout_seconds: float) -> int | None:
        """The status of `GET /models`; none if there was no answer."""
        ...


def http_client(connect_timeout_seconds: float) -> Client:
    """The client that all upstreams share: no redirects, no proxy from the environment."""
    return (
        ClientBuilder()
        .connect_timeout(timedelta(seconds=connect_timeout_seconds))
        .follow_redirects(False)
        .error_for_status(False)
        .pool_idle_timeout(timedelta(seconds=30))
        .user_agent("nightrate")
        .no_proxy()
        .build()
    )


_SMALL_DIGITS = 6
"""An announced length below a million bytes needs no watching: the client reads no more than that."""


class HttpUpstream:
    """A base URL such as `http://host:9000/v1`."""

    def __init__(
        self, client: Client, url: str, api_key: str | None, response_bytes: int, *, streams: bool = False
    ) -> None:
        parts = urlsplit(url)
        self.label: str | None = without_user_info(url)
        self._client = client
        self._base = str(self.label).rstrip("/")
        self._user = (parts.username, parts.password) if parts.username else None
        self._api_key = api_key
        self._limit = response_bytes
        self._streams = streams

    async def ask(self, endpoint: str, body: bytes, timeout_seconds: float) -> Answer | NoAnswer:
        """Sends one request; the time limit covers all of it, to the last byte of the answer."""
        request = self._signed(self._client.post(self._base + endpoint.removeprefix("/v1")))
        request = request.header("content-type", "application/json").body_bytes(body)
        request = request.timeout(timedelta(seconds=timeout_seconds))
        if self._streams:  # else the client reads ahead, and the first token seems to come with the last
            request = request.streamed_read_buffer_limit(0)
        begun = time.monotonic()
        try:
            async with request.build_streamed() as response:
                if endpoint in STREAMED_ENDPOINTS and _streams(response):
                    return await self._read_stream(response, Streamed(endpoint, self._limit), begun)
                return await self._read(response)
        except RequestTimeoutError:
            return NoAnswer("timeout", f"No complete answer within {timeout_seconds:g} s.")
        except PyreqwestError as error:
            return NoAnswer("connection_error", f"The upstream gave no complete answer: {_reason(error)}.")

    async def probe(self, timeout_seconds: float) -> int | None:
        """Reads nothing but the status of `GET /models`."""
        request = self._signed(self._client.get(f"{self._base}/models"))
        try:
            async with request.timeout(timedelta(seconds=timeout_seconds)).build_streamed() as response:
                return int(response.status)
        except PyreqwestError:
            return None

    def _signed(self, request: RequestBuilder) -> RequestBuilder:
        if self._api_key:
            return request.bearer_auth(self._api_key)
        if self._user:
            return request.basic_auth(self._user[0] or "", self._user[1])
        return request

    async def _read(self, response: Response) -> Answer | NoAnswer:
        announced = response.get_header("content-length")
        if announced is not None and len(announced) <= _SMALL_DIGITS:  # one step for the common small answer
            body = bytes(await response.bytes())
        else:
            body = await self._read_bounded(response)
        if len(body) > self._limit:
            return NoAnswer("response_too_large", f"The answer is larger than {self._limit} bytes.")
        return Answer(
            response.status, body, response.get_header("x-request-id"), response.get_header("retry-after")
        )

    async def _read_bounded(self, response: Response) -> bytes:
        """The whole body, or a little more than the limit of it."""
        chunks: list[bytes] = []
        size = 0
        while size <= self._limit and (chunk := await response.body_reader.read_chunk()) is not None:
            size += len(chunk)
            chunks.append(bytes(chunk))
        return b"".join(chunks)

    async def _read_stream(self, response: Response, stream: Streamed, begun: float) -> Answer | NoAnswer:
        first_token: float | None = None
        while not stream.over and (chunk := await response.body_reader.read_chunk()) is not None:
            stream.feed(bytes(chunk))
            if first_token is None and stream.has_token:
                first_token = time.monotonic() - begun
        stream.close()
        if stream.fault is not None:
            return NoAnswer(*stream.fault)
        await _drain(response)
        return Answer(
            stream.status or response.status,
            stream.body,
            response.get_header("x-request-id"),
            response.get_header("retry-after"),
            first_token,
        )


class TestModel:
    """`batch-test-model`: a fixed answer, from no upstream and free of charge (SPEC §3.3)."""

    label: str | None = None

    async def ask(self, endpoint: str, body: bytes, timeout_seconds: float) -> Answer | NoAnswer:
        """Answers at once."""
        await asyncio.sleep(0)
        return Answer(200, _TEST_ANSWER)

    async def probe(self, timeout_seconds: float) -> int | None:
        """Is always there."""
        return 200


_TEST_ANSWER = (
    '{"object":"chat.completion","model":"' + TEST_MODEL + '","choices":[{"index":0,"finish_reason":"stop",'
    '"message":{"role":"assistant","content":"This is a test result."}}],'
    '"usage":{"prompt_tokens":20,"completion_tokens":6,"total_tokens":26}}'
).encode()


def without_user_info(url: str) -> str:
    """The URL as it may be shown: without name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _streams(response: Response) -> bool:
    return 200 <= response.status < 300 and is_event_stream(response.get_header("content-type"))


async def _drain(response: Response) -> None:
    """Reads the end of a stream that is complete, so that its connection serves the next request too."""
    with suppress(PyreqwestError, TimeoutError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while await response.body_reader.read_chunk() is not None:
                pass


_DRAIN_SECONDS = 0.2


def _reason(error: PyreqwestError) -> str:
    details = error.args[1] if len(error.args) > 1 else {}
    causes = details.get("causes") if isinstance(details, dict) else None
    return str(causes[-1]["message"] if causes else error)[:300]
