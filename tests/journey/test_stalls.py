"""Callers that stop in the middle but stay: what they held is free again, for the real service over real sockets."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import requests

from tests.browser.signed import signed_in
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

LARGE_BYTES = 24 << 20
"""More than the buffers of both ends take."""
STOPS = {
    "NIGHTRATE_SERVER__STALL_SECONDS": "1",
    "NIGHTRATE_SERVER__REQUEST_THREADS": "2",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with (
        Upstream() as upstream,
        Server(tmp_path_factory.mktemp("stalls"), upstream.url, environment=STOPS) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def large(server: Server) -> str:
    """A file that no buffer takes."""
    line = json.dumps(
        {"custom_id": "x", "method": "POST", "url": "/v1/chat/completions", "body": {"x": "y" * 1000}}
    )
    content = (line + "\n").encode() * (LARGE_BYTES // (len(line) + 1))
    return server.client().files.create(file=("large.jsonl", content), purpose="batch").id


@contextmanager
def halted(server: Server, asked: str, **headers: object) -> Iterator[socket.socket]:
    """A call that was begun, whose caller does nothing more."""
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        caller.settimeout(60)
        caller.connect(("127.0.0.1", server.port))
        told = {"host": server.url.removeprefix("http://"), "authorization": f"Bearer {ADMIN_KEY}", **headers}
        caller.sendall(
            "\r\n".join([f"{asked} HTTP/1.1", *(f"{k}: {v}" for k, v in told.items()), "", ""]).encode()
        )
        yield caller


def said(server: Server, words: str) -> None:
    """Waits until the log has it."""
    server.until(lambda: server.log.read_text(), lambda log: words in log)


def test_an_upload_that_stops_is_answered(server: Server) -> None:
    """It is told what happened and which setting says so; nothing of it is kept."""
    form = {"content-type": "multipart/form-data; boundary=b", "content-length": 10_000}
    with halted(server, "POST /v1/files", **form) as caller:
        caller.sendall(
            b'--b\r\ncontent-disposition: form-data; name="file"; filename="f.jsonl"\r\n\r\n{"half'
        )
        answer = caller.makefile("rb").read()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408")
    assert json.loads(body)["error"]["code"] == "request_timeout"
    assert b"server.stall_seconds" in body
    assert [path for path in (server.folder / "data" / "tmp").rglob("*") if path.is_file()] == []


def test_the_one_backup_is_free_again(server: Server, large: str) -> None:
    """Its reader is still connected, and takes nothing."""
    with halted(server, "POST /v1/backup", **{"content-length": 0}) as caller:
        assert caller.recv(12) == b"HTTP/1.1 200"
        said(server, "/v1/backup: the caller took nothing more")
        server.until(lambda: list((server.folder / "data" / "tmp").iterdir()), lambda left: not left)
        headers = {"authorization": f"Bearer {ADMIN_KEY}"}
        with requests.post(f"{server.url}/v1/backup", headers=headers, timeout=60) as whole:
            assert (whole.status_code, len(whole.content) > LARGE_BYTES) == (200, True)


def test_the_console_goes_on(server: Server, large: str) -> None:
    """Though as many downloads and forms have stopped as it has threads."""
    session = signed_in(server, ADMIN_KEY)
    cookie = "; ".join(f"{c.name}={c.value}" for c in session.cookies)
    download = f"GET /console/download/files/{large}"
    form = {"content-type": "application/x-www-form-urlencoded", "content-length": 100, "origin": server.url}
    with (
        halted(server, download, cookie=cookie) as caller,
        halted(server, "POST /console/login", **form) as other,
    ):
        assert caller.recv(12) == b"HTTP/1.1 200"
        other.sendall(b"api_key=sk-")
        assert session.get(f"{server.url}/console/", timeout=60).status_code == 200
    assert "Traceback" not in server.log.read_text()
