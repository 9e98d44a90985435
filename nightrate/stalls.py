"""Callers that stop in the middle: who sends nothing more of a body, or takes nothing more of an answer.

Without a limit each of them holds what their call uses, a thread, a connection to the database or the one backup,
for as long as they stay connected.
"""

import asyncio
import logging
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger("nightrate.access")

_GONE: Message = {"type": "http.disconnect"}


class Stalls:
    """ASGI middleware: a caller that is silent for so many seconds is treated as one that went away.

    An API call whose body stops is answered with 408. How long an answer takes to make does not count.
    """

    def __init__(self, app: ASGIApp, seconds: float) -> None:
        self._app, self._seconds = app, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes on what comes and goes, as long as it does."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller = _Caller(scope, receive, send, self._seconds)
        await self._app(scope, caller.receive, caller.send)


class _Caller:
    def __init__(self, scope: Scope, receive: Receive, send: Send, seconds: float) -> None:
        self._scope, self._receive, self._send, self._seconds = scope, receive, send, seconds
        self._whole = False
        self._gone = asyncio.Event()

    async def receive(self) -> Message:
        if self._gone.is_set():
            return _GONE
        if self._whole:
            return await self._until_gone()
        try:
            async with asyncio.timeout(self._seconds):
                message = await self._receive()
        except TimeoutError:
            return self._stopped_sending()
        self._whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        # As servers do when a caller went away: what asks for the next piece is told by `receive`.
        if self._gone.is_set():
            return
        try:
            async with asyncio.timeout(self._seconds):
                await self._send(message)
        except TimeoutError:
            self._tell("took nothing more of an answer")
            self._gone.set()

    async def _until_gone(self) -> Message:
        """The end of the connection, or of the patience with it."""
        message, gone = asyncio.ensure_future(self._receive()), asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait((message, gone), return_when=asyncio.FIRST_COMPLETED)
            return message.result() if message.done() else _GONE
        finally:
            message.cancel()
            gone.cancel()

    def _stopped_sending(self) -> Message:
        self._tell("sent nothing more of a body")
        if self._scope["path"].startswith("/v1/"):
            message = f"Nothing more of the body came for {self._seconds:g} s (server.stall_seconds)."
            raise HTTPException(408, message, {"connection": "close"})
        self._gone.set()  # the console runs in threads, which no exception from here would reach in good order
        return _GONE

    def _tell(self, what: str) -> None:
        log.warning(
            "%s %s: the caller %s for %g s",
            self._scope["method"],
            quote(self._scope["path"]),
            what,
            self._seconds,
        )
