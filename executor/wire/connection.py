"""One HTTP/1.1 connection: sends a request, parses its answer, and may be used again.

Parsing is llhttp's (`httptools`), encryption the event loop's; what is ours is the order of things.
"""

import asyncio
from typing import Protocol, cast

import httptools

from executor.wire.exchange import Exchange

MAX_HEAD_BYTES = 64 * 1024
"""Of an answer's status line and headers together, and of what may follow without a part of its body: a chunk's
extension, trailers."""
_JOINED_BYTES = 64 * 1024
"""A smaller body goes out in one piece with its head: a copy costs less than a second write."""
_DRAIN_SECONDS = 0.2
"""How long the end of an answer that is known already is waited for, to use its connection again."""


class Keeper(Protocol):
    """Who owns connections."""

    def free(self, connection: "Connection") -> None:
        """It can take another request."""
        ...

    def gone(self, connection: "Connection") -> None:
        """It can't be used any more."""
        ...

    def again(self, connection: "Connection", exchange: Exchange) -> bool:
        """It was closed under an exchange that nobody has read; whether that goes out on another one."""
        ...


class Connection(asyncio.Protocol):
    """Carries one exchange at a time."""

    def __init__(self, keeper: Keeper) -> None:
        self.idle_since = 0.0
        self.begun_at = 0.0
        """The monotonic moment at which its last exchange began."""
        self.uses = 0
        """Exchanges that it has brought to their end."""
        self.streamed = False
        """Whether the answer to the last of them was a stream."""
        self._keeper = keeper
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._body_begun = False
        self._complete = False
        self._reusable = True
        self._draining: asyncio.TimerHandle | None = None

    # -- for the pool ------------------------------------------------------------------------------

    @property
    def opened(self) -> bool:
        """Whether it was ever open: then its keeper is told when it is gone."""
        return self._transport is not None

    @property
    def usable(self) -> bool:
        """Whether it is open and nothing is under way."""
        return self._transport is not None and self._exchange is None and not self._transport.is_closing()

    def begin(self, exchange: Exchange, now: float) -> None:
        """Begins an exchange; the connection must be usable. It goes out with `send`."""
        self._exchange, self._head_bytes, self._body_begun, self._complete = exchange, 0, False, False
        exchange.carrier, self.begun_at = self, now

    def send(self) -> None:
        """Sends the request of the exchange, unless that was given up."""
        exchange, transport = self._exchange, self._transport
        if exchange is None or transport is None:
            return
        head, body = exchange.request
        if not self.streamed:
            exchange.request = (b"", b"")  # the transport holds it from here, for no longer than it needs
        if len(body) < _JOINED_BYTES:
            transport.write(head + body)
        else:
            transport.writelines((head, body))

    def abort(self) -> None:
        """Closes at once; nobody is told what came of its exchange."""
        self._exchange = None
        if self._transport is not None:
            self._transport.abort()

    def fail(self, code: str, message: str) -> None:
        """Ends the exchange without an answer, and the connection with it."""
        exchange = self._exchange
        self.abort()
        if exchange is not None:
            exchange.fail(code, message)
            exchange.deliver()

    # -- for the event loop ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Both directions are open."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Parses what came; tells of a finished answer only after that, so that nothing is taken for the next."""
        self._head_bytes += len(data)  # until a part of the body shows that it was not all head
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail_or_close(f"not HTTP: {error}")
            return
        except httptools.HttpParserUpgrade:
            self._fail_or_close("it switched protocols")
            return
        if self._head_bytes > MAX_HEAD_BYTES:
            self._fail_or_close(f"its headers are larger than {MAX_HEAD_BYTES} bytes")
        elif self._complete:
            self._finish()
        elif self._exchange is not None and self._exchange.over:
            self._drain(self._exchange)

    def eof_received(self) -> None:
        """Nothing more comes; what that means is decided when the connection is lost."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by either side: the end of a body without a length, else an answer that was cut off."""
        self._keeper.gone(self)
        if self._draining is not None:
            self._draining.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is None or (self._is_stale() and self._keeper.again(self, exchange)):
            return
        if exc is None and self._body_begun and not self._has_length():
            exchange.end()
        reason = str(exc) if exc else "the connection was closed before the answer was complete"
        exchange.fail("connection_error", f"The upstream gave no complete answer: {reason}.")
        exchange.deliver()

    # -- for the parser ----------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Another answer begins: of two to one request the second is nobody's."""
        if self._complete or self._exchange is None:
            self._reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is there."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """All headers are there; those of 1xx say nothing about the answer."""
        status = self._parser.get_status_code()
        if status >= 200 and self._exchange is not None and not self._complete:
            self._body_begun = True
            self._exchange.head(status, self._headers)
        else:
            self._headers = []

    def on_body(self, body: bytes) -> None:
        """A part of the body is there."""
        self._head_bytes, exchange = 0, self._exchange
        if exchange is not None and not (exchange.over or self._complete):
            exchange.body(body)

    def on_message_complete(self) -> None:
        """The answer is complete, unless it was a 1xx."""
        if self._complete or not self._body_begun:
            return
        self._complete = True
        self._headers = []
        self._reusable = self._reusable and self._parser.should_keep_alive()
        if self._exchange is not None:
            self._exchange.end()

    # -- ending ------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """The exchange is over: first the connection is free again, then who asked is told."""
        assert self._transport is not None
        exchange, self._exchange = self._exchange, None
        self.uses += 1
        self.streamed = exchange is not None and exchange.streams
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None
        if self._complete and self._reusable and not self._transport.get_write_buffer_size():
            self._keeper.free(self)
        else:
            self._transport.abort()
        if exchange is not None:
            exchange.carrier = None
            exchange.deliver()

    def _drain(self, exchange: Exchange) -> None:
        """Reads on to the end of an answer that is known already, but not for long, nor of one that is refused."""
        if not exchange.answered:
            self._finish()
        elif self._draining is None:
            self._draining = asyncio.get_running_loop().call_later(_DRAIN_SECONDS, self._finish)

    def _is_stale(self) -> bool:
        """Whether its last answer was a stream, and not a byte came for the exchange that it has now."""
        return self.streamed and not self._head_bytes and not self._body_begun

    def _fail_or_close(self, reason: str) -> None:
        self.fail("connection_error", f"The upstream gave no complete answer: {reason}.")

    def _has_length(self) -> bool:
        """Whether the end of the body is told by more than the end of the connection."""
        return any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self._headers)
