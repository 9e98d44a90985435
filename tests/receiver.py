"""Somebody who takes webhooks: a real HTTP server on a loopback port, which answers as it is told."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.ports import reserved_port


@dataclass(frozen=True)
class Post:
    """What came."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    """Monotonic seconds."""


class Receiver:
    """`answer` tells the status of each POST, by how many came before on that path; a status of 0 hangs."""

    def __init__(self, answer: Callable[[str, int], int] = lambda _path, _before: 200) -> None:
        self.answer = answer
        self.posts: list[Post] = []
        self.port = reserved_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self._closing = threading.Event()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        self._closing.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._closing.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def on(self, path: str) -> list[Post]:
        """The POSTs to one path so far."""
        with self._lock:
            return [post for post in self.posts if post.path == path]

    def wait(self, path: str, posts: int = 1, seconds: float = 60) -> list[Post]:
        """At least so many POSTs to a path."""
        deadline = time.monotonic() + seconds
        while len(found := self.on(path)) < posts:
            assert time.monotonic() < deadline, f"{len(found)} of {posts} on {path}"
            time.sleep(0.02)
        return found

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            before = sum(post.path == handler.path for post in self.posts)
            self.posts.append(Post(handler.path, headers, body, time.monotonic()))
        status = self.answer(handler.path, before)
        if status == 0:
            self._closing.wait(60)
            return
        handler.send_response(status)
        if 300 <= status < 400:
            handler.send_header("location", f"{self.url}/elsewhere")
        handler.send_header("content-length", "0")
        handler.end_headers()


def _handler(receiver: Receiver) -> Any:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.take(self)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
