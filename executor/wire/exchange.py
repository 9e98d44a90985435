"""One request on its way to an upstream, and its answer while it arrives. No sockets here."""

import time
from collections.abc import Callable
from typing import Protocol, TypeAlias

import msgspec

from executor.streamed import Streamed, is_event_stream


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A complete HTTP answer."""

    status: int
    body: bytes
    request_id: str | None = None
    retry_after: str | None = None
    """The header as it was sent: seconds or an HTTP date."""
    first_token_seconds: float | None = None
    """From the start of the attempt, if the answer was streamed."""
    content_encoding: str | None = None
    """The header as it was sent: how the body is compressed, which no request asks for."""


class NoAnswer(msgspec.Struct, frozen=True, gc=False):
    """An attempt without a usable answer."""

    code: str
    """`timeout`, `connection_error` or `response_too_large`."""
    message: str


Done: TypeAlias = Callable[[Answer | NoAnswer], None]
"""Is told once what came of a request; never while it is being asked."""


class Carrier(Protocol):
    """What moves an exchange's bytes."""

    def abort(self) -> None:
        """Stops moving them."""
        ...


class Exchange:
    """Collects an answer within a limit, or puts a streamed one together.

    Whoever moves the bytes tells it what arrives, stops when it is `over`, and calls `deliver` then.
    """

    __slots__ = (
        "_bytes", "_chunks", "_done", "_first_token", "_limit", "_result", "_stream", "_streamed_endpoint",
        "begun", "carrier", "content_encoding", "over", "request", "request_id", "retry_after", "status",
    )  # fmt: skip

    def __init__(
        self, request: tuple[bytes, bytes], limit: int, done: Done, streamed_endpoint: str | None = None
    ) -> None:
        self.request = request
        """Head and body as they go out."""
        self.over = False
        """What comes of it is known: nothing that still arrives matters."""
        self.status = 0
        self.request_id: str | None = None
        self.retry_after: str | None = None
        self.content_encoding: str | None = None
        self.begun = time.monotonic()
        self.carrier: Carrier | None = None
        self._limit = limit
        self._done = done
        self._streamed_endpoint = streamed_endpoint
        self._chunks: list[bytes] = []
        self._bytes = 0
        self._result: Answer | NoAnswer | None = None
        self._stream: Streamed | None = None
        self._first_token: float | None = None

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The status line and all headers are there."""
        self.status = status
        for name, value in headers:
            name = name.lower()
            if name == b"x-request-id":
                self.request_id = value.decode("latin-1")
            elif name == b"retry-after":
                self.retry_after = value.decode("latin-1")
            elif name == b"content-encoding":
                self.content_encoding = value.decode("latin-1")
            elif name == b"content-type" and self._streamed_endpoint is not None:
                self._begin_stream(self._streamed_endpoint, status, value.decode("latin-1"))

    def body(self, chunk: bytes) -> None:
        """Bytes of the body have come."""
        if self._stream is not None:
            self._feed(self._stream, chunk)
            return
        self._chunks.append(chunk)
        self._bytes += len(chunk)
        if self._bytes > self._limit:
            self.fail("response_too_large", f"The answer is larger than {self._limit} bytes.")

    def end(self) -> None:
        """The body is complete."""
        if self.over:
            return
        if self._stream is not None:
            self._close(self._stream)
            return
        chunks = self._chunks
        body = chunks[0] if len(chunks) == 1 else b"".join(chunks)
        answer = Answer(self.status, body, self.request_id, self.retry_after, None, self.content_encoding)
        self._conclude(answer)

    def fail(self, code: str, message: str) -> None:
        """There will be no usable answer, unless it was over already."""
        if not self.over:
            self._conclude(NoAnswer(code, message))

    @property
    def streams(self) -> bool:
        """Whether its answer is a stream that is put together."""
        return self._stream is not None

    @property
    def answered(self) -> bool:
        """Whether what it is over with is an answer."""
        return isinstance(self._result, Answer)

    def cancel(self) -> None:
        """Gives it up: nobody is told what comes of it."""
        self.over, self._result = True, None
        if self.carrier is not None:
            self.carrier.abort()

    def deliver(self) -> None:
        """Tells what came of it, once."""
        result, self._result = self._result, None
        done, self._done = self._done, _told  # who asked holds us, and we would hold them for ever
        if result is not None:
            done(result)

    def _begin_stream(self, endpoint: str, status: int, content_type: str) -> None:
        if 200 <= status < 300 and is_event_stream(content_type):
            self._stream = Streamed(endpoint, self._limit)

    def _conclude(self, result: Answer | NoAnswer) -> None:
        self._result, self.over = result, True

    def _feed(self, stream: Streamed, chunk: bytes) -> None:
        stream.feed(chunk)
        if self._first_token is None and stream.has_token:
            self._first_token = time.monotonic() - self.begun
        if stream.over:
            self._close(stream)

    def _close(self, stream: Streamed) -> None:
        stream.close()
        if stream.fault is not None:
            self._conclude(NoAnswer(*stream.fault))
            return
        status = stream.status or self.status
        answer = Answer(status, stream.body, self.request_id, self.retry_after, self._first_token)
        self._conclude(answer)


def _told(_: Answer | NoAnswer) -> None: ...


class Glance(Exchange):
    """Wants the status alone, but of an answer that is complete: one that is cut off is none. A 5xx is enough."""

    def head(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """The status line and all headers are there."""
        super().head(status, headers)
        if status >= 500:
            self._conclude(Answer(status, b""))

    def body(self, chunk: bytes) -> None:
        """Bytes of the body have come: nothing is kept of them."""
        self._bytes += len(chunk)
        if self._bytes > self._limit:
            self._conclude(Answer(self.status, b""))
