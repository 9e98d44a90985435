"""A scripted OpenAI-compatible upstream: a real HTTP server on a loopback port, in a thread of its own.

    with Upstream() as upstream:
        ...  # give upstream.url to a model; prompts carry the script (see tests/behaviour.py)
        assert upstream.asked["hello 1"] == 1

`upstream.rule` may decide for every request instead (return None to let the prompt decide);
`upstream.models_status` is what `GET /models` answers, `models_kind = "hang"` or `"cut"` how it fails to; `stop()` and `start()` make an outage on the
same port. Alone: `python -m tests.upstream --port 9000 --latency 0.05`.
"""

import argparse
import asyncio
import json
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Self

from tests.behaviour import Behaviour, behaviour_of, body_of
from tests.ports import reserved_port
from tests.streams import event, server_sent

STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 429: "Too Many Requests", 500: "Server Error"}


@dataclass(frozen=True)
class Seen:
    """A request as the upstream saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any
    raw: bytes
    prompt: str
    ask: int
    """Which ask of this prompt it is, from 1."""
    at: float
    """Monotonic seconds."""


Rule = Callable[[Seen], Behaviour | None]


class Upstream:
    """The server, what it does and what it saw. Every attribute may be set while it runs."""

    def __init__(self, *, port: int = 0, latency: float = 0.0, rule: Rule | None = None, record: bool = True):
        self.port, self.latency, self.rule, self.record = port or reserved_port(), latency, rule, record
        self.models_status: int = 200
        self.models_kind: str = "ok"
        self.completion_id: str | None = "chatcmpl-same-for-all"
        """None numbers them; one id for all is what some self-hosted servers do."""
        self.seen: list[Seen] = []
        self.asked: Counter[str] = Counter()
        self.probes = self.total = self.in_flight = self.most_in_flight = 0
        self._lock = threading.Lock()
        self._connections: set[Connection] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The base URL, as in a model's `upstreams`."""
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listens; after a `stop()` on the same port again."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="upstream", daemon=True)
        self._thread.start()
        if not ready.wait(60):
            raise RuntimeError("the scripted upstream did not start")
        return self

    def stop(self) -> None:
        """Closes the port and every connection."""
        if self._loop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(60)
            self._loop = self._thread = None

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._thread is not None

    def forget(self) -> None:
        """Empties what was recorded."""
        with self._lock:
            self.seen, self.asked = [], Counter()
            self.probes = self.total = self.most_in_flight = 0

    def snapshot(self) -> list[Seen]:
        """What was seen so far, as a copy."""
        with self._lock:
            return list(self.seen)

    def _run(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        listener = socket.create_server(("127.0.0.1", self.port), backlog=4096)
        server = loop.run_until_complete(loop.create_server(lambda: Connection(self), sock=listener))
        self._loop = loop
        loop.call_soon(ready.set)
        loop.run_forever()
        server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        loop.run_until_complete(asyncio.sleep(0))
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    def take(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> tuple[Seen, Behaviour]:
        """Records a request and decides what happens to it."""
        body = _json(raw)
        prompt = prompt_of(body)
        with self._lock:
            self.total += 1
            self.asked[prompt] += 1
            seen = Seen(method, path, headers, body, raw, prompt, self.asked[prompt], time.monotonic())
            if self.record:
                self.seen.append(seen)
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return seen, self._decide(seen)

    def _decide(self, seen: Seen) -> Behaviour:
        how = (self.rule(seen) if self.rule else None) or behaviour_of(seen.prompt)
        if how.times is not None and seen.ask > how.times:
            how = replace(how, kind="ok", status=200)
        return how if how.latency else replace(how, latency=self.latency)

    def done(self) -> None:
        """A request was answered, or its client is gone."""
        with self._lock:
            self.in_flight -= 1


class Connection(asyncio.Protocol):
    """One kept-alive HTTP/1.1 connection."""

    transport: asyncio.Transport

    def __init__(self, upstream: Upstream) -> None:
        self.upstream, self.received, self.busy = upstream, bytearray(), False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.upstream._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.upstream._connections.discard(self)
        self._free()

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(b"\r\n\r\n")
        if end < 0 or self.busy:
            return
        method, path, headers = _head(bytes(self.received[:end]))
        length = int(headers.get("content-length", "0"))
        if len(self.received) < end + 4 + length:
            return
        raw = bytes(self.received[end + 4 : end + 4 + length])
        del self.received[: end + 4 + length]
        self._request(method, path, headers, raw)

    def _request(self, method: str, path: str, headers: dict[str, str], raw: bytes) -> None:
        if method == "GET":
            return self._get(path)
        seen, how = self.upstream.take(method, path, headers, raw)
        self.busy = True
        if how.latency:
            asyncio.get_running_loop().call_later(how.latency, self._answer, seen, how)
        else:
            self._answer(seen, how)
        return None

    def _get(self, path: str) -> None:
        if path.endswith("/models"):
            self.upstream.probes += 1
            return self._models(self.upstream.models_status, self.upstream.models_kind)
        if path == "/counts":
            return self._send(
                200, _dumps({"total": self.upstream.total, "most": self.upstream.most_in_flight})
            )
        return self._send(404, _dumps(_error(404)))

    def _models(self, status: int, kind: str) -> None:
        body = _dumps({"object": "list", "data": [{"id": "m", "object": "model"}]})
        if kind == "cut":
            self.transport.write(_header(status, len(body)) + body[:10])
            self.transport.close()
        elif kind != "hang":
            self._send(status, body)

    def _answer(self, seen: Seen, how: Behaviour) -> None:
        if self.transport.is_closing():
            return
        if not 200 <= how.status < 300:
            said = seen.prompt if how.says else None
            self._send(how.status, _dumps(_error(how.status, said)), retry_after=how.retry_after)
        elif how.kind in ("ok", "huge", "whole"):
            self._good(seen, how)
        else:
            getattr(self, f"_{how.kind}")(seen, how)

    def _good(self, seen: Seen, how: Behaviour) -> None:
        body = _good_body(seen, how, self.upstream)
        if not _streams(seen) or how.kind == "whole":
            self._send(how.status, _dumps(body))
        elif how.pace:
            self.transport.write(STREAM_HEAD)
            self._event(server_sent(body, seen.body), how.pace)
        else:
            events = b"".join(server_sent(body, seen.body))
            self._send(how.status, events, content_type="text/event-stream")

    def _event(self, events: list[bytes], pace: float) -> None:
        """Sends the first of them, and the rest in time."""
        if self.transport.is_closing():
            return
        if events:
            self.transport.write(b"%x\r\n%s\r\n" % (len(events[0]), events[0]))
            asyncio.get_running_loop().call_later(pace, self._event, events[1:], pace)
        else:
            self.transport.write(b"0\r\n\r\n")
            self._free()

    def _fails(self, seen: Seen, how: Behaviour) -> None:
        begun = server_sent(_good_body(seen, how, self.upstream), seen.body)[:2]
        error = {"message": "scripted", "type": "scripted", "param": None, "code": how.size}
        sent = b"".join([*begun, event({"error": error}), b"data: [DONE]\n\n"])
        self._send(200, sent, content_type="text/event-stream")

    def _hang(self, seen: Seen, how: Behaviour) -> None:
        """Never answers."""

    def _reset(self, seen: Seen, how: Behaviour) -> None:
        sock = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _quiet(self, seen: Seen, how: Behaviour) -> None:
        self.transport.write(_header(200, 1000))

    def _cut(self, seen: Seen, how: Behaviour) -> None:
        good, kind = _good_body(seen, how, self.upstream), "application/json"
        body = _dumps(good)
        if _streams(seen):
            body, kind = b"".join(server_sent(good, seen.body)), "text/event-stream"
        self.transport.write(_header(200, len(body), kind) + body[: len(body) // 2])
        self.transport.close()

    def _html(self, seen: Seen, how: Behaviour) -> None:
        self._send(200, b"<html><body>Welcome to the proxy</body></html>", content_type="text/html")

    def _broken(self, seen: Seen, how: Behaviour) -> None:
        body = _dumps(_good_body(seen, how, self.upstream))
        self._send(200, body[: len(body) // 2])

    def _list(self, seen: Seen, how: Behaviour) -> None:
        self._send(200, b'["not", "an", "object"]')

    def _empty(self, seen: Seen, how: Behaviour) -> None:
        self._send(200, b"")

    def _endless(self, seen: Seen, how: Behaviour) -> None:
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
        self.transport.write(b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n")
        self._more()

    def _more(self) -> None:
        if self.transport.is_closing():
            return
        if self.transport.get_write_buffer_size() < 2**20:
            self.transport.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        asyncio.get_running_loop().call_later(0.001, self._more)

    def _send(
        self,
        status: int,
        body: bytes,
        *,
        retry_after: str | None = None,
        content_type: str = "application/json",
    ) -> None:
        self._free()  # first: who has the answer may ask at once how many are under way
        self.transport.write(_header(status, len(body), content_type, retry_after) + body)
        if self.received:
            self.data_received(b"")

    def _free(self) -> None:
        if self.busy:
            self.busy = False
            self.upstream.done()


def prompt_of(body: Any) -> str:
    """The text a body asks about: last message, `prompt` or `input`."""
    if not isinstance(body, dict):
        return ""
    messages = body.get("messages")
    last = messages[-1].get("content") if isinstance(messages, list) and messages else None
    asked = last if last is not None else body.get("prompt", body.get("input", ""))
    return asked if isinstance(asked, str) else json.dumps(asked)


def _streams(seen: Seen) -> bool:
    """Whether a stream was asked for."""
    return isinstance(seen.body, dict) and bool(seen.body.get("stream"))


def _good_body(seen: Seen, how: Behaviour, upstream: Upstream) -> dict[str, Any]:
    model = seen.body.get("model", "m") if isinstance(seen.body, dict) else "m"
    return body_of(seen.prompt, model, seen.path, how, upstream.completion_id or f"chatcmpl-{upstream.total}")


def _head(raw: bytes) -> tuple[str, str, dict[str, str]]:
    first, *rest = raw.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in rest)
    return method, path, {name.strip().lower(): value.strip() for name, _, value in pairs}


def _header(
    status: int, length: int, content_type: str = "application/json", retry_after: str | None = None
) -> bytes:
    more = f"retry-after: {retry_after}\r\n" if retry_after is not None else ""
    reason = REASONS.get(status, "Status")
    head = f"HTTP/1.1 {status} {reason}\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n{more}\r\n"
    return head.encode()


def _error(status: int, said: str | None = None) -> dict[str, Any]:
    message = said or f"scripted {status}"
    return {"error": {"message": message, "type": "scripted", "param": None, "code": said}}


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _json(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None


def main() -> None:
    """Serves until interrupted; without records, so that it can run for long."""
    parser = argparse.ArgumentParser(description="A scripted OpenAI-compatible upstream")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    options = parser.parse_args()
    with Upstream(port=options.port, latency=options.latency, record=False) as upstream:
        print(upstream.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
