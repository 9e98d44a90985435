"""The demo's upstream: one process that plays all models, with real waiting and real faults.

    python -m nightrate.demo.upstream FD

serves on a listening socket that it inherits. Each model has a base URL of its own,
`http://127.0.0.1:PORT/NAME/v1`. A line `down NAME` on standard input makes its server fail, `up NAME`
mends it; when standard input closes the process ends, as it does if the service dies.
"""

import asyncio
import json
import os
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import uvicorn

from nightrate.demo.answers import Reply, events_of, reply_to
from nightrate.demo.models import BY_NAME, DemoModel

Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
_JSON, _EVENTS = b"application/json", b"text/event-stream"


class DemoUpstream:
    """An ASGI application with OpenAI's routes for every model."""

    def __init__(self) -> None:
        self._down: set[str] = set()
        self._asked: set[str] = set()

    def order(self, line: str) -> None:
        """Does what a line of standard input says."""
        what, _, name = line.strip().partition(" ")
        if what == "down":
            self._down.add(name)
        elif what == "up":
            self._down.discard(name)

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers a request."""
        _, name, *_ = scope["path"].split("/")
        model = BY_NAME.get(name)
        if model is None:
            await _send(send, 404, _error("There is no such model."))
        elif await self._failed(model, send):
            return
        elif scope["method"] == "GET":
            await _send(send, 200, {"object": "list", "data": [{"id": name, "object": "model"}]})
        else:
            await self._answer(model, receive, send)

    async def _answer(self, model: DemoModel, receive: Receive, send: Send) -> None:
        try:
            body = json.loads(await _body(receive))
        except ValueError:
            body = None
        if not isinstance(body, dict):
            await _send(send, 400, _error("The body is no JSON object."))
            return
        key = f"{model.name} {body.get('seed')}"
        reply = reply_to(model, body, asked_before=key in self._asked)
        self._asked.add(key)
        if reply.seconds == float("inf"):
            while (await receive())["type"] != "http.disconnect":
                pass
        elif reply.status == 200 and body.get("stream") is True and not reply.garbled:
            await self._stream(model, reply, send)
        else:
            await asyncio.sleep(reply.seconds)
            if not await self._failed(model, send):
                await _send(send, reply.status, reply.body, garbled=reply.garbled)

    async def _stream(self, model: DemoModel, reply: Reply, send: Send) -> None:
        first, *rest = [b"data: " + json.dumps(event).encode() + b"\n\n" for event in events_of(reply.body)]
        await asyncio.sleep(reply.first_token_seconds)
        if await self._failed(model, send):
            return
        await send(_head(200, _EVENTS))
        await send({"type": "http.response.body", "body": first, "more_body": True})
        await asyncio.sleep(reply.seconds - reply.first_token_seconds)
        if model.name not in self._down:  # else the server cuts the stream off
            await send({"type": "http.response.body", "body": b"".join(rest) + b"data: [DONE]\n\n"})

    async def _failed(self, model: DemoModel, send: Send) -> bool:
        """A server that fails takes with it what it was working on."""
        if model.name in self._down:
            await _send(send, 500, _error("The server is down."))
        return model.name in self._down


async def _body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, status: int, body: Mapping[str, Any], *, garbled: bool = False) -> None:
    text = json.dumps(body).encode()
    sent = text[: len(text) // 2] if garbled else text
    await send(_head(status, _JSON, len(sent)))
    await send({"type": "http.response.body", "body": sent})


def _head(status: int, content_type: bytes, length: int | None = None) -> dict[str, Any]:
    headers = [(b"content-type", content_type)]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": status, "headers": headers}


def _error(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "server_error", "param": None, "code": None}}


def _listen_to_orders(app: DemoUpstream) -> None:
    for line in sys.stdin:
        app.order(line)
    os._exit(0)  # it keeps nothing that would have to be closed


def main() -> None:
    """Serves until standard input closes."""
    app = DemoUpstream()
    threading.Thread(target=_listen_to_orders, args=(app,), daemon=True).start()
    config = uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", ws="none")
    uvicorn.Server(config).run([socket.socket(fileno=int(sys.argv[1]))])


if __name__ == "__main__":
    main()
