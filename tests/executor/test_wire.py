"""HTTP/1.1 to the models, against a server that says to the byte what a test wants it to say."""

import asyncio
import gc
import ssl
import subprocess
import time
import weakref
from pathlib import Path
from typing import Any

import pytest

from executor.upstream import Answer, HttpUpstream, NoAnswer
from executor.wire.exchange import Exchange
from executor.wire.origin import head_of, origin_of, without_user_info
from executor.wire.sockets import Sockets
from tests.executor.asking import answer_of, http_upstream
from tests.executor.peer import BODY, OK, Peer, asked, given_back, run, serving
from tests.ports import reserved_port


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 8\r\nX-Request-Id: r1\r\n\r\n", b'{"a"', b": 1}"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nx-request-id: r1\r\n\r\n4\r\n", b'{"a"\r\n4\r\n: 1}', b"\r\n0\r\n\r\n"),
        (b"HTTP/1.0 200 OK\r\nx-request-id: r1\r\n\r\n", b'{"a": 1}', None),
        (b"HTTP/1.1 100 Continue\r\n\r\n", b'HTTP/1.1 200 OK\r\nx-request-id: r1\r\ncontent-length: 8\r\n\r\n{"a": 1}'),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 8\r\nx-request-id: r1\r\n\r\n" b'{"a": 1}',),
    ],
    ids=["in pieces", "chunked", "until the end", "100 first", "103 first"],
)  # fmt: skip
def test_an_answer_is_the_same_however_it_is_framed(pieces: tuple[bytes | None, ...]) -> None:
    """By length, in chunks, by the connection's end, after interim answers, cut anywhere."""
    [answer], _ = asked(pieces)
    assert answer == Answer(200, b'{"a": 1}', "r1")


@pytest.mark.parametrize(
    ("pieces", "reason"),
    [
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n{", None), "closed before the answer was complete"),
        ((b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{", None), "closed before"),
        ((None,), "closed before the answer was complete"),
        ((b"SSH-2.0-OpenSSH\r\n", None), "not HTTP"),
        ((b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",), "protocols"),
        ((b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 70_000), "headers are larger than 65536 bytes"),
        ((b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n{}",), "not HTTP"),
    ],
    ids=["cut", "cut chunk", "nothing", "other protocol", "upgrade", "endless head", "two lengths"],
)
def test_what_is_no_complete_answer_is_none(pieces: tuple[bytes | None, ...], reason: str) -> None:
    """Cut off, not HTTP, or without end: a connection error that says which, and the next request works."""
    [answer, after], _ = asked(pieces, times=2)
    assert isinstance(answer, NoAnswer)
    assert answer.code == "connection_error"
    assert reason in answer.message
    assert isinstance(after, Answer)


def test_a_connection_serves_one_request_after_another() -> None:
    """Kept alive, it is used again; a peer that closes, or says that it will, gets a new one."""
    assert asked(times=5)[1].connections == 1
    closing = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"
    assert asked((closing,), times=2)[1].connections == 2
    assert asked((OK, None), times=2, pause=0.05)[1].connections == 2


def test_a_second_answer_is_never_taken_for_the_next_requests() -> None:
    """Of two answers to one request the second is nobody's: its connection is not used again."""
    wrong = OK.replace(b"{}", b"[]")
    for extra in ((OK + wrong,), (OK, wrong)):
        found, peer = asked(extra, times=2, pause=0.05)
        assert [answer.body for answer in found] == [b"{}", b"{}"]
        assert peer.connections == 2


def test_an_answer_above_the_limit_is_refused_and_not_read_on() -> None:
    """Announced or not, no more than the limit is kept."""
    announced = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1000\r\n" + b"x" * 4096
    for pieces in ((announced,), (chunked,)):
        [answer, after], _ = asked(pieces, times=2, response_bytes=1000)
        assert answer == NoAnswer("response_too_large", "The answer is larger than 1000 bytes.")
        assert after.status == 200


@pytest.mark.parametrize("endless", [b"0\r\nx: ", b"1;x=", b"000"], ids=["trailers", "extension", "length"])
def test_what_is_no_body_is_bounded_too(endless: bytes) -> None:
    """Trailers and chunks' extensions without end are not read on, nor kept."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n"
    [answer, after], _ = asked((head, endless, *[b"0" * 50_000] * 4), times=2)
    assert isinstance(answer, NoAnswer)
    assert answer.code == "connection_error"
    assert after.status == 200


def test_an_answer_may_come_before_the_request_is_read() -> None:
    """A server that refuses a large body by its head alone, and closes: its answer is what counts."""

    async def work() -> tuple[Answer | NoAnswer, int]:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
            await asyncio.sleep(0.05)
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1000)
        sockets = Sockets(9)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        upstream = http_upstream(url, sockets=sockets)
        answer = await answer_of(upstream, {"model": "m" * 20_000_000})
        upstream.close()
        server.close()
        return answer, await given_back(sockets, 9)

    assert run(work) == (Answer(413, b"{}"), 9)


def test_no_answer_in_time_is_a_timeout() -> None:
    """From the request's start to the last byte; the connection goes with it."""
    [answer, after], peer = asked(
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",), times=2, timeout_seconds=1
    )  # within which the good one has to come, on a busy machine too
    assert answer == NoAnswer("timeout", "No complete answer within 1 s.")
    assert (after.status, peer.connections) == (200, 2)


def test_nobody_listens() -> None:
    """A refused connection is told at once."""

    async def work() -> Answer | NoAnswer:
        return await answer_of(http_upstream(f"http://127.0.0.1:{reserved_port()}/v1"), BODY)

    answer = run(work)
    assert isinstance(answer, NoAnswer)
    assert answer.code == "connection_error"
    assert "refused" in answer.message.lower()


def test_a_host_that_does_not_exist_and_one_that_never_shakes_hands() -> None:
    """Both are connection errors that say so, and no socket is lost."""

    async def work() -> tuple[list[Answer | NoAnswer], int]:
        sockets, held = Sockets(9), list[asyncio.StreamWriter]()
        silent = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
        urls = "http://nowhere.invalid/v1", f"https://127.0.0.1:{silent.sockets[0].getsockname()[1]}/v1"
        found = []
        for url in urls:
            upstream = http_upstream(url, sockets=sockets, connect_timeout_seconds=0.3)
            found.append(await answer_of(upstream, BODY))
            upstream.close()
        silent.close()
        return found, await given_back(sockets, 9)

    (unknown, unshaken), left = run(work)
    assert isinstance(unknown, NoAnswer)
    assert isinstance(unshaken, NoAnswer)
    assert (unknown.code, unshaken.code, left) == ("connection_error", "connection_error", 9)
    assert "no connection within 0.3 s" in unshaken.message


def test_what_is_given_up_is_told_to_nobody() -> None:
    """A cancelled request closes its connection; the others go on."""

    async def work() -> tuple[list[object], int]:
        told: list[object] = []
        async with serving(Peer((b"HTTP/1.1 200 OK\r\n",))) as peer:
            upstream = http_upstream(peer.url)
            waiting = upstream.ask("/v1/chat/completions", b"{}", told.append)
            waiting.cancel()  # it has no connection yet
            under_way = upstream.ask("/v1/chat/completions", b"{}", told.append)
            await asyncio.sleep(0.1)
            under_way.cancel()
            answer = await answer_of(upstream, BODY)
            upstream.close()
            return [*told, answer], peer.connections

    told, connections = run(work)
    assert told == [Answer(200, b"{}")]
    assert connections in (2, 3)


def test_many_requests_have_as_many_connections_and_no_more() -> None:
    """All at once, and again: connections are opened as they are needed and then shared."""

    async def work() -> tuple[set[int], int]:
        async with serving(Peer()) as peer:
            upstream = http_upstream(peer.url)
            found: list[Any] = []
            for _ in range(2):
                found += await asyncio.gather(*(answer_of(upstream, BODY) for _ in range(300)))
            upstream.close()
            return {answer.status for answer in found}, peer.connections

    statuses, connections = run(work)
    assert statuses == {200}
    assert connections <= 300


def test_requests_wait_for_sockets_without_blame() -> None:
    """More requests than the machine's open files allow: they share what there is, and all are given back."""

    async def work() -> tuple[list[Any], int, int]:
        sockets = Sockets(3)
        answer = (b"HTTP/1.1 200 OK\r\n", b"content-length: 2\r\n\r\n{}")
        async with serving(
            Peer(*[answer] * 40, pause=0.05)
        ) as peer:  # they wait longer than a connection may take
            upstream = http_upstream(peer.url, sockets=sockets, connect_timeout_seconds=0.5)
            found = await asyncio.gather(*(answer_of(upstream, BODY) for _ in range(40)))
            upstream.close()
            refused = await answer_of(http_upstream("http://127.0.0.1:1/v1", sockets=sockets), BODY)
            return [*found, refused], peer.connections, await given_back(sockets, 3)

    found, connections, left = run(work)
    assert {answer.status for answer in found[:-1]} == {200}
    assert isinstance(found[-1], NoAnswer)
    assert (connections, left) == (3, 3)


def test_a_request_says_what_it_must() -> None:
    """Host, key, length and type, the path behind the URL's own; the body goes out as it is, large ones too."""

    async def work() -> Peer:
        async with serving(Peer()) as peer:
            upstream = HttpUpstream(
                f"{peer.url}/deep/", "k-ü", response_bytes=100, timeout_seconds=5, connect_timeout_seconds=5,
                tls=ssl.create_default_context(), sockets=Sockets(9),
            )  # fmt: skip
            for size in (1, 200_000):
                told: asyncio.Future[Answer | NoAnswer] = asyncio.get_running_loop().create_future()
                upstream.ask("/v1/embeddings", b"x" * size, told.set_result)
                assert isinstance(await told, Answer)
            upstream.close()
            return peer

    peer = run(work)
    head = peer.heads[0].decode("latin-1").lower()
    assert head.startswith("post /v1/deep/embeddings http/1.1\r\n")
    for line in (
        f"host: 127.0.0.1:{peer.port}",
        "authorization: bearer k-ü",
        "content-type: application/json",
    ):
        assert f"\r\n{line}\r\n" in head
    assert peer.bodies == [b"x", b"x" * 200_000]


def test_the_probe_wants_a_complete_answer_and_reads_its_status_alone() -> None:
    """What is cut off, or never ends in the time that it was given, is none; of a 5xx the status is enough."""

    async def work() -> list[int | None]:
        endless = (b"HTTP/1.1 %d Status\r\ncontent-length: 900\r\n\r\n{",)
        cut = (endless[0] % 200, None)
        large = (b"HTTP/1.1 404 No\r\ncontent-length: 5000\r\n\r\n" + b"x" * 5000,)
        answers = (endless[0] % 503,), cut, (endless[0] % 200,), (b"HTTP/1.1 ",), large
        async with serving(Peer(*answers)) as peer:
            upstream = http_upstream(peer.url, response_bytes=1000)
            return [await upstream.probe(seconds) for seconds in (5, 5, 0.1, 0.1, 5, 5)]

    assert run(work) == [503, None, None, None, 404, 200]


def test_encrypted_connections_are_checked(tmp_path: Path) -> None:
    """TLS with a certificate that is trusted works; one that is not is a connection error that says so."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)

    async def work() -> list[Answer | NoAnswer]:
        ours = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ours.load_cert_chain(certificate, key)
        async with serving(Peer(), ours) as peer:
            url = f"https://localhost:{peer.port}/v1"
            trusting = http_upstream(url, tls=ssl.create_default_context(cafile=str(certificate)))
            found = [await answer_of(trusting, BODY), await answer_of(http_upstream(url), BODY)]
            trusting.close()
            return found

    good, bad = run(work)
    assert good == Answer(200, b"{}")
    assert isinstance(bad, NoAnswer)
    assert "certificate" in bad.message.lower()


def test_nothing_is_kept_of_an_exchange_that_is_over() -> None:
    """Without the collector: a request's body and answer are free as soon as they were told."""

    async def work() -> bool:
        async with serving(Peer()) as peer:
            upstream = http_upstream(peer.url)
            told: asyncio.Future[Answer | NoAnswer] = asyncio.get_running_loop().create_future()

            class Asked:
                call: object = None

                def done(self, answer: Answer | NoAnswer) -> None:
                    told.set_result(answer)

            one = Asked()
            one.call = upstream.ask("/v1/chat/completions", b"{}", one.done)
            assert isinstance(one.call, Exchange)
            watched = weakref.ref(one)
            await told
            del one
            await asyncio.sleep(0)
            gone = watched() is None
            upstream.close()
            return gone

    gc.disable()
    try:
        assert run(work)
    finally:
        gc.enable()


def test_what_an_url_says() -> None:
    """Ports by scheme, addresses of both families, user info that is sent but never shown."""
    assert (origin_of("https://api.example/v1").port, origin_of("http://[::1]:9/v1").host) == (443, "::1")
    head = head_of("http://me:p%40ss@[::1]:9/v1/", "POST", "/chat/completions", None)
    assert head.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: [::1]:9\r\n")
    assert head.endswith(b"authorization: Basic bWU6cEBzcw==")
    assert without_user_info("http://me:p%40ss@[::1]:9/v1") == "http://[::1]:9/v1"
    with pytest.raises(ValueError, match="line break"):
        head_of("http://h/v1", "POST", "/x", "key\r\nevil: 1")


def test_a_probe_that_is_given_up_from_two_sides_is_no_fault() -> None:
    """Its own time and that of its connection end together on a busy machine: nothing is raised for that."""

    async def work() -> list[Any]:
        faults: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, fault: faults.append(fault))
        async with serving(Peer(())) as peer:
            upstream = http_upstream(peer.url)
            loop.call_later(0.3, time.sleep, 0.3)  # meanwhile both become due
            assert await upstream.probe(0.4) is None
            upstream.close()
        return faults

    assert run(work) == []
