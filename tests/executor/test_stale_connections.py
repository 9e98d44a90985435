"""Connections that a server closes though it said that it keeps them, as llama.cpp does after every stream."""

import asyncio
from typing import Any

import pytest

from executor.upstream import Answer, NoAnswer
from executor.wire import pool
from tests.executor.asking import answer_of, http_upstream
from tests.executor.peer import BODY, OK, Peer, asked, run, serving
from tests.executor.test_streamed import DONE, END, chat

EVENTS = chat(content="hi") + END + DONE
STREAM = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(EVENTS) + EVENTS
)


def test_a_request_on_a_connection_that_closes_goes_out_on_a_new_one() -> None:
    """Who sent it isn't told: nobody had read it. It is the same request, a large one too."""
    large = {"model": "m", "x": "y" * 100_000}

    async def work() -> tuple[list[Any], Peer]:
        async with serving(Peer((STREAM, None))) as peer:
            upstream = http_upstream(peer.url, streams=True)
            found = [await answer_of(upstream, BODY), await answer_of(upstream, large)]
            upstream.close()
            return found, peer

    found, peer = run(work)
    assert found[1] == Answer(200, b"{}")
    assert (peer.connections, len(peer.heads)) == (2, 2)
    assert len(peer.bodies[1]) > 100_000


def test_a_server_that_keeps_closing_is_not_asked_for_ever() -> None:
    """What a new connection brings no answer to has failed, and so has what was there for long."""
    (_, second), peer = asked((STREAM,), (None,), (None,), times=2, streams=True)
    assert isinstance(second, NoAnswer)
    assert "closed before" in second.message
    assert (peer.connections, len(peer.heads)) == (2, 3)


def test_a_request_that_was_there_for_long_is_not_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that closes after a while may have been busy with it: that is an attempt that failed."""
    monkeypatch.setattr(pool, "STALE_SECONDS", 0.0)
    (_, second), peer = asked((STREAM,), (None,), times=2, streams=True)
    assert isinstance(second, NoAnswer)
    assert (peer.connections, len(peer.heads)) == (1, 2)


def test_behind_another_answer_a_close_is_an_attempt() -> None:
    """What was no stream keeps its connection: who closes it then has read the request, and may not stand it."""
    (_, second), peer = asked((OK,), (None,), times=2, streams=True)
    assert isinstance(second, NoAnswer)
    assert (peer.connections, len(peer.heads)) == (1, 2)


def test_an_answer_that_has_begun_is_not_asked_for_again() -> None:
    """A part of a head is enough to know that somebody reads."""
    (_, second), peer = asked((STREAM,), (b"HTTP/1.1 200", None), times=2, streams=True)
    assert isinstance(second, NoAnswer)
    assert len(peer.heads) == 2


def test_what_is_given_up_meanwhile_is_not_sent() -> None:
    """A request whose task was stopped while it waits for a new connection goes nowhere."""

    async def work() -> Peer:
        async with serving(Peer((STREAM, None))) as peer:
            upstream = http_upstream(peer.url, streams=True)
            await answer_of(upstream, BODY)
            call = upstream.ask(
                "/v1/chat/completions", b"{}", lambda _: pytest.fail("told of a cancelled call")
            )
            await asyncio.sleep(0)
            call.cancel()
            await answer_of(upstream, BODY)
            upstream.close()
            return peer

    assert len(run(work).heads) == 2


def test_after_some_closed_streams_no_connection_is_used_after_one() -> None:
    """Then nothing is lost by asking on a connection that is about to close."""
    closing = [(STREAM, None)] * pool.STALE_IN_A_ROW
    found, peer = asked(*closing, *[(STREAM,)] * 5, times=len(closing) + 5, streams=True)
    assert all(isinstance(answer, Answer) and answer.status == 200 for answer in found)
    assert (peer.connections, len(peer.heads)) == (len(found), len(found))


def test_after_a_while_they_are_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streams that were closed once, by a restart perhaps, don't cost a connection each for ever."""
    monkeypatch.setattr(pool, "ONE_USE_SECONDS", 0.0)
    closing = [(STREAM, None)] * pool.STALE_IN_A_ROW
    found, peer = asked(*closing, *[(STREAM,)] * 5, times=len(closing) + 5, streams=True)
    assert all(isinstance(answer, Answer) for answer in found)
    assert peer.connections == len(closing) + 1


def test_a_server_that_keeps_them_has_them_used_again() -> None:
    """After a stream too, and one that is closed now and then changes nothing of it."""
    _, peer = asked(*[(STREAM,)] * 6, times=6, streams=True)
    assert peer.connections == 1
    now_and_then = [(STREAM,), (STREAM,), (STREAM, None)] * 4
    found, peer = asked(*now_and_then, times=12, streams=True)
    assert all(isinstance(answer, Answer) for answer in found)
    assert peer.connections == 4
