"""The connections to one upstream: kept while they are warm, opened as requests need them, each with a deadline."""

import asyncio
import ssl
import time
from collections import deque

from executor.wire.connection import Connection
from executor.wire.exchange import Exchange
from executor.wire.names import Names
from executor.wire.origin import Origin
from executor.wire.sockets import Sockets

IDLE_SECONDS = 4.0
"""An idle connection is closed after this long: before uvicorn's own 5 s, so that none is closed under a request."""
CONNECTS_AT_ONCE = 128
"""More at a time overflow the queue of a listening socket, and what is dropped there waits a second."""
STALE_SECONDS = 2.0
"""A connection that closes so soon behind a stream, without a byte of the next answer, was closed before it was asked."""
STALE_IN_A_ROW = 3
"""After so many that closed behind a stream, none is used again after one for a while."""
ONE_USE_SECONDS = 600.0
"""For so long; then it is tried anew, for it may have been a restart of the upstream and not its habit."""
_TICK_SECONDS = 0.25


class Pool:
    """Gives every exchange a connection. Belongs to the dispatch loop, which it needs once it is used."""

    def __init__(
        self,
        origin: Origin,
        *,
        timeout_seconds: float,
        connect_timeout_seconds: float,
        tls: ssl.SSLContext | None,
        sockets: Sockets,
        names: Names,
    ) -> None:
        self._origin = origin
        self._names = names
        self._timeout_seconds = timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds
        self._tls = tls
        self._sockets = sockets
        self._served = float("-inf")
        """When a request last got a connection: as long as some do, the others wait their turn."""
        self._starved = False
        """Whether those that wait have no connection for want of sockets, which is nobody's fault."""
        self._idle: list[Connection] = []
        """The one that was used last is the last."""
        self._busy: dict[Connection, float] = {}
        """The monotonic moments at which they are given up, the earliest first: all have the same time."""
        self._waiting: deque[Exchange] = deque()
        """Those without a connection, in the order in which they came."""
        self._again: deque[Exchange] = deque()
        """Those whose connection was closed under them: they get a new one, another may be closed just so."""
        self._stale = 0
        """Connections in a row that were closed behind a streamed answer, though kept alive; llama.cpp does so."""
        self._one_use_until = float("-inf")
        """The monotonic moment until which no connection is used again behind a streamed answer."""
        self._to_send: list[Connection] = []
        self._connecting: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.TimerHandle | None = None

    def begin(self, exchange: Exchange) -> None:
        """Sends it on a warm connection, or on a new one as soon as there is one."""
        if self._ticking is None:
            self._ticking = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._send(connection, exchange)
                return
        self._waiting.append(exchange)
        self._connect()

    def close(self) -> None:
        """Closes every connection; nobody is told of what was under way."""
        for connection in (*self._busy, *self._idle):
            connection.abort()
        for task in self._connecting:
            task.cancel()
        if self._ticking is not None:
            self._ticking.cancel()
        self._waiting.clear()
        self._again.clear()
        self._idle.clear()

    # -- what connections tell -----------------------------------------------------------------------

    def free(self, connection: Connection) -> None:
        """It can take another request: the one that waits longest, if any does."""
        self._busy.pop(connection, None)
        if connection.streamed:
            if time.monotonic() < self._one_use_until:
                connection.abort()
                return
            if connection.uses > 1:
                self._stale = 0
        exchange = _next_of(self._waiting)
        if exchange is not None:
            self._send(connection, exchange)
        else:
            connection.idle_since = time.monotonic()
            self._idle.append(connection)

    def gone(self, connection: Connection) -> None:
        """It can't be used any more."""
        self._busy.pop(connection, None)
        self._sockets.give()

    def again(self, connection: Connection, exchange: Exchange) -> bool:
        """Sends what a closed connection took along on a new one, unless that may have been read.

        It was never asked, so it is no attempt. A request that a server is busy with for longer, or that
        breaks a new connection, is one.
        """
        now = time.monotonic()
        if exchange.over or now - connection.begun_at > STALE_SECONDS:
            return False
        self._stale += 1
        if self._stale >= STALE_IN_A_ROW:
            self._stale, self._one_use_until = 0, now + ONE_USE_SECONDS
        exchange.carrier = None
        self._again.append(exchange)
        self._connect()
        return True

    # -- opening -----------------------------------------------------------------------------------

    def _send(self, connection: Connection, exchange: Exchange) -> None:
        self._served = now = time.monotonic()
        self._busy[connection] = now + self._timeout_seconds
        connection.begin(exchange, now)
        if not self._to_send:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_send.append(connection)

    def _flush(self) -> None:
        """Sends what has begun in one go: an upstream on the same machine is woken once, and not for each."""
        to_send, self._to_send = self._to_send, []
        for connection in to_send:
            connection.send()

    def _connect(self) -> None:
        """Opens connections for those that wait, but not too many at once."""
        self._starved = False
        while len(self._connecting) < min(CONNECTS_AT_ONCE, len(self._waiting) + len(self._again)):
            if not self._sockets.take():
                self._starved = True
                return
            task = asyncio.get_running_loop().create_task(self._open())
            self._connecting.add(task)
            task.add_done_callback(self._opened)

    async def _open(self) -> None:
        connection = Connection(self)
        try:
            async with asyncio.timeout(self._connect_timeout_seconds) as limit:
                addresses = await self._names.addresses()
                await self._reach(connection, addresses, limit.when() or 0.0)
        except (TimeoutError, asyncio.CancelledError):
            connection.abort()  # whoever waited so long is told by the tick
        except OSError as error:
            self._refuse(str(error))
        else:
            if (exchange := _next_of(self._again)) is not None:
                self._send(connection, exchange)
            else:
                self.free(connection)
        finally:
            if not connection.opened:
                self._sockets.give()

    async def _reach(self, connection: Connection, addresses: list[str], deadline: float) -> None:
        """One address of the host after another: one that is silent leaves the others their share of the time."""
        loop, origin, left = asyncio.get_running_loop(), self._origin, len(addresses)
        name = origin.host if self._tls else None
        for address in addresses:
            try:
                async with asyncio.timeout((deadline - loop.time()) / left):
                    await loop.create_connection(
                        lambda: connection, address, origin.port, ssl=self._tls, server_hostname=name
                    )
            except OSError:  # silence too
                left -= 1
                if connection.opened or not left:
                    raise
            else:
                self._names.reached(address)
                return

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        self._connect()

    def _refuse(self, reason: str) -> None:
        """Nothing listens, or no encryption could be agreed on: the one that waits longest is told."""
        exchange = _next_of(self._again) or _next_of(self._waiting)
        if exchange is not None:
            exchange.fail("connection_error", f"The upstream gave no complete answer: {reason}.")
            exchange.deliver()

    # -- deadlines -----------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Gives up what took too long, and closes what was idle for long; goes on while there is anything."""
        now = time.monotonic()
        self._give_up_busy(now)
        self._give_up_waiting(now)
        idle, self._idle = self._idle, []
        for connection in idle:
            if connection.usable and now - connection.idle_since < IDLE_SECONDS:
                self._idle.append(connection)
            else:
                connection.abort()
        self._ticking = None
        if self._busy or self._waiting or self._again or self._idle or self._connecting:
            self._ticking = asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)

    def _give_up_busy(self, now: float) -> None:
        while self._busy:
            connection, deadline = next(iter(self._busy.items()))
            if deadline > now:
                return
            del self._busy[connection]
            connection.fail("timeout", f"No complete answer within {self._timeout_seconds:g} s.")

    def _give_up_waiting(self, now: float) -> None:
        if self._starved:
            self._connect()
            return
        latest = now - self._connect_timeout_seconds
        if self._served > latest:
            return
        for queue in (self._again, self._waiting):
            while queue and (queue[0].over or queue[0].begun <= latest):
                exchange = queue.popleft()
                what = "no address for its host name" if self._names.asked else "no connection"
                text = f"{what} within {self._connect_timeout_seconds:g} s"
                exchange.fail("connection_error", f"The upstream gave no complete answer: {text}.")
                exchange.deliver()


def _next_of(queue: deque[Exchange]) -> Exchange | None:
    """The first that still wants an answer."""
    while queue:
        exchange = queue.popleft()
        if not exchange.over:
            return exchange
    return None
