import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from executor.options import ExecutorOptions, LimitOptions, ModelOptions
from executor.request import outgoing_body
from executor.upstream import Answer, NoAnswer
from tests.executor.asking import answer_of, http_upstream
from tests.executor.engine_rig import Rig
from tests.upstream import Upstream

BOTH = ("/v1/chat/completions", "/v1/completions", "/v1/responses")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def model(upstream: Upstream, *, stream: bool = True, **options: Any) -> ModelOptions:
    return ModelOptions(name="m", upstreams=(upstream.url,), max_concurrency=16, stream=stream, **options)


def answers(rig: Rig, task_id: str) -> dict[str, Any]:
    """The responses of a task's result and error lines, by custom id, and what was billed."""
    task = rig.task(task_id)
    good, bad = rig.lines(task)
    usage = rig.rows(
        f"""SELECT line_no, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, thinking,
        finish_reason, unmetered FROM request_events WHERE task_id = '{task_id}' ORDER BY 1"""
    )
    responses = {row["custom_id"]: (row["response"] or {}).get("body") for row in good + bad}
    return {"lines": responses, "amounts": (task.list_amount, task.amount), "usage": usage}


def test_a_streamed_task_is_the_unstreamed_one(tmp_path: Path, upstream: Upstream) -> None:
    """Result lines, usage and bill are the same as without streaming; only the first token is known."""
    prompts = [
        "hello  world ü 漢字",
        "@thinking x",
        "@in=9 @cached=3 @out=7 @reasoning=5",
        "@usage=none",
        "@usage=absurd",
        "@whole as asked",
        "@huge=5000",
    ]
    found = []
    for stream in (False, True):
        folder = tmp_path / str(stream)
        folder.mkdir()
        with Rig(folder, [model(upstream, stream=stream)]) as rig:
            task = rig.wait(task_id := rig.submit(prompts))
            assert (task.status, task.completed) == ("completed", len(prompts))
            found.append(answers(rig, task_id))
            timed = rig.rows("SELECT line_no FROM request_events WHERE first_token_ms IS NOT NULL ORDER BY 1")
            assert timed == ([(n,) for n, p in enumerate(prompts, 1) if "@whole" not in p] if stream else [])
    assert found[0] == found[1]
    assert {bool(seen.body.get("stream")) for seen in upstream.snapshot()} == {False, True}


def test_the_first_token_is_timed(tmp_path: Path, upstream: Upstream) -> None:
    """The time to the first token is that of the attempt which brought the answer."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        rig.wait(rig.submit(["@latency=0.2 @pace=0.2 a b c d", "@status=500 @times=1 @latency=0.2 later"]))
        paced, later = rig.rows(
            """SELECT first_token_ms, duration_ms, total_ms, epoch(started_at),
            epoch(first_token_at), epoch(finished_at)
            FROM request_events ORDER BY line_no"""
        )
    # the first event holds the role alone, so that the token comes one pace after it
    assert 400 <= paced[0] < paced[1] - 400
    assert 200 <= later[0] <= later[1] < later[2] - 200
    for first_ms, duration_ms, total_ms, started, first, finished in (paced, later):
        assert started < first <= finished
        expected = started + (total_ms - duration_ms + first_ms) / 1000
        assert abs(first - expected) < 0.001


def test_a_stream_that_breaks_off_is_asked_for_again(tmp_path: Path, upstream: Upstream) -> None:
    """What a cut stream brought is not delivered; the next attempt is, and nothing is billed twice."""
    prompts = ["@cut @times=2", "@fails=500 @times=1", "@fails=429 @times=3", "@reset @times=1"]
    with Rig(tmp_path, [model(upstream)]) as rig:
        task = rig.wait(rig.submit(prompts))
        assert (task.completed, task.failed) == (4, 0)
        rows = rig.rows("SELECT attempts, rate_limited_attempts, first_token_ms > 0 FROM request_events")
        assert sorted(rows) == [(2, 0, True), (2, 0, True), (3, 0, True), (4, 3, True)]
        good, _ = rig.lines(task)
        said = {row["response"]["body"]["choices"][0]["message"]["content"] for row in good}
        assert said == {f"echo: {prompt}" for prompt in prompts}


def test_each_fault_of_a_stream_has_its_line(tmp_path: Path, upstream: Upstream) -> None:
    """Cut for good, an error inside of it, too long, and what is no stream at all."""
    faults = {
        "@cut": "connection_error",
        "@fails=400": 400,
        "@fails=500": 500,
        "@huge=20000": "response_too_large",
        "@html": "invalid_response",
        "@status=404": 404,
        "@pace=9": "timeout",
    }
    options = ExecutorOptions(commit_interval_ms=20, backoff_first_seconds=0.02, max_attempts=2)
    limits = LimitOptions(response_bytes=10_000)
    with Rig(tmp_path, [model(upstream, timeout_seconds=3)], limits=limits, options=options) as rig:
        task = rig.wait(rig.submit([*faults]))
        good, bad = rig.lines(task)
        assert not good
        found = {
            row["custom_id"]: row["error"]["code"] if row["error"] else row["response"]["status_code"]
            for row in bad
        }
        assert found == {f"r{n}": code for n, code in enumerate(faults.values(), 1)}
        (inside,) = [row for row in bad if row["custom_id"] == "r2"]
        assert inside["response"]["body"]["error"]["message"] == "scripted"
    assert upstream.asked["@fails=400"] == 1
    assert upstream.asked["@fails=500"] == 2


def test_streams_of_one_task_share_their_connections(tmp_path: Path, upstream: Upstream) -> None:
    """A stream that was read to its end leaves its connection for the next request."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        rig.wait(rig.submit([f"@pace=0.001 {n}" for n in range(100)]))
        assert len(upstream._connections) <= 16


def test_of_a_body_only_what_streaming_needs_is_changed(upstream: Upstream) -> None:
    """`stream` and `stream_options` are set where the endpoint streams and taken away elsewhere."""
    body = b'{"model": "m", "n": 1.50, "stream_options": {"include_usage": false}, "x": "\\u00fc"}'
    plain = {"model": "m", "n": 1.5, "x": "ü"}
    asked = {"stream": True, "stream_options": {"include_usage": True}}
    for endpoint in BOTH:
        sent = outgoing_body(body, model(upstream), endpoint)
        assert json.loads(sent) == plain | (asked if "completions" in endpoint else {})
        assert b"1.50" in sent
        assert b"\\u00fc" in sent
        assert json.loads(outgoing_body(body, model(upstream, stream=False), endpoint)) == plain
    assert json.loads(outgoing_body(b'{"stream":true}', model(upstream), "/v1/responses")) == {
        "stream": False
    }


def test_completions_stream_too(upstream: Upstream) -> None:
    """A text completion is put together like a chat."""

    async def ask(body: dict[str, Any]) -> Answer | NoAnswer:
        return await answer_of(http_upstream(upstream.url, streams=True), body, "/v1/completions")

    plain = {"model": "m", "prompt": "hello @pace=0.01"}
    streamed = plain | {"stream": True, "stream_options": {"include_usage": True}}
    with ThreadPoolExecutor(1) as thread:  # of its own: a browser's tests leave a loop in this one
        whole, put_together = (thread.submit(asyncio.run, ask(body)).result() for body in (plain, streamed))
    assert isinstance(whole, Answer)
    assert isinstance(put_together, Answer)
    assert json.loads(whole.body) == json.loads(put_together.body)
    assert (whole.status, whole.first_token_seconds) == (200, None)
    assert put_together.first_token_seconds is not None
