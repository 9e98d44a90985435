"""Retry and partial results over HTTP, on a real service: what is billed, what is delivered, how fast it goes."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from decimal import Decimal
from typing import Any

import openai
import pytest
import requests

from tests.held import held
from tests.server import ADMIN_KEY, Server, request
from tests.upstream import Upstream

PER_TOKEN_IN, PER_TOKEN_OUT = Decimal("1.5") / 1_000_000, Decimal("2.25") / 1_000_000


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("retried")
    settings = "max_attempts = 1\ncancel_grace_seconds = 0.1"
    with Server(folder, upstream.url, concurrency=4, timeout=10, executor=settings) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


def call(server: Server, method: str, path: str, **headers: str) -> requests.Response:
    headers = {"authorization": f"Bearer {ADMIN_KEY}", **headers}
    return requests.request(method, f"{server.url}/v1/batches/{path}", headers=headers, timeout=30)


def lines_of(server: Server, file_id: str) -> list[Any]:
    return [json.loads(text) for text in server.client().files.content(file_id).text.splitlines()]


def test_the_whole_way_of_a_retry(server: Server, upstream: Upstream) -> None:
    """Only what failed is asked again, under its own custom_ids, and only its own successes are billed."""
    script = ["a @in=100 @out=10", "b @status=500 @times=1 @in=200 @out=20", "c @status=400", "d @in=300 @out=30",
              "e @status=404 @times=1 @in=400 @out=40"]  # fmt: skip
    metadata = {"ds_name": "Night", "team": "x"}
    rows = [request(number, prompt) for number, prompt in enumerate(script, 1)]
    rows[1] = rows[1].replace(b'"custom_id": "r2"', b'"custom_id" :  "r2"')
    first = server.wait(server.submit_lines(rows, metadata=metadata, completion_window="5d"))
    assert first["request_counts"] == {"total": 5, "completed": 2, "failed": 3}

    answer = call(server, "POST", f"{first['id']}/retry", **{"idempotency-key": "again"})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    assert made["nightrate"]["retry_of"] == first["id"]
    assert made["nightrate"]["name"] == "Night"
    assert (made["endpoint"], made["completion_window"], made["metadata"]) == (
        "/v1/chat/completions", "5d", metadata,
    )  # fmt: skip
    client = server.client()
    assert client.files.content(made["input_file_id"]).content == rows[1] + rows[2] + rows[4]

    batch = server.wait(made["id"])
    assert (batch["status"], batch["request_counts"]) == (
        "completed",
        {"total": 3, "completed": 2, "failed": 1},
    )
    assert [client.batches.retrieve(made["id"]).status, upstream.asked[script[0]], upstream.asked[script[1]]] == [
        "completed", 1, 2,
    ]  # fmt: skip
    assert {row["custom_id"] for row in lines_of(server, batch["output_file_id"])} == {"r2", "r5"}
    assert {row["custom_id"] for row in lines_of(server, batch["error_file_id"])} == {"r3"}
    listed = 600 * PER_TOKEN_IN + 60 * PER_TOKEN_OUT
    assert Decimal(batch["nightrate"]["list_amount"]) == listed
    assert Decimal(batch["nightrate"]["amount"]) == listed / 2
    charges = server.get(f"/v1/billing/charges?task_id={made['id']}")["data"]
    assert sum(Decimal(charge["amount"]) for charge in charges) == listed / 2
    assert server.get(f"/v1/batches/{first['id']}") == first

    assert (
        call(server, "POST", f"{first['id']}/retry", **{"idempotency-key": "again"}).json()["id"]
        == made["id"]
    )
    last = call(server, "POST", f"{made['id']}/retry").json()
    assert server.wait(last["id"])["request_counts"] == {"total": 1, "completed": 0, "failed": 1}


def test_what_a_cancel_left_is_retried(server: Server, upstream: Upstream) -> None:
    """Requests that were never executed run now; while they do, a second retry is 409, and so is a retry of it."""
    prompts = ["now", "bad @status=400", *(f"later {n}" for n in range(9))]
    client, later = server.client(), ExitStack()
    later.enter_context(held(upstream, "later"))
    task_id = server.submit(prompts)
    server.until(lambda: server.get(f"/v1/batches/{task_id}"), lambda b: b["request_counts"]["completed"])
    assert call(server, "POST", f"{task_id}/retry").json()["error"]["code"] == "batch_not_ended"
    client.batches.cancel(task_id)
    first = server.wait(task_id)
    done = first["request_counts"]["completed"]
    assert done + first["request_counts"]["failed"] < len(prompts)

    made = call(server, "POST", f"{task_id}/retry").json()
    refused = call(server, "POST", f"{task_id}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "retry_running")
    assert call(server, "POST", f"{made['id']}/retry").json()["error"]["code"] == "batch_not_ended"
    with pytest.raises(openai.ConflictError):
        client.files.delete(made["input_file_id"])
    later.close()
    batch = server.wait(made["id"])
    assert batch["request_counts"] == {
        "total": len(prompts) - done,
        "completed": len(prompts) - done - 1,
        "failed": 1,
    }
    good = lines_of(server, first["output_file_id"]) + lines_of(server, batch["output_file_id"])
    assert sorted(row["custom_id"] for row in good) == sorted(f"r{n}" for n in range(1, 12) if n != 2)


def test_retries_that_can_not_be(server: Server) -> None:
    """Nothing to retry, an input that was deleted, a task that failed its validation."""
    client = server.client()
    whole = server.wait(server.submit(["fine"]))
    assert call(server, "POST", f"{whole['id']}/retry").json()["error"]["code"] == "nothing_to_retry"
    without = server.wait(server.submit(["@status=400"]))
    client.files.delete(without["input_file_id"])
    assert call(server, "POST", f"{without['id']}/retry").json()["error"]["code"] == "input_file_deleted"
    bad = server.wait(server.submit_lines([b"no json\n"]))
    refused = call(server, "POST", f"{bad['id']}/retry")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "batch_failed")
    assert set(refused.json()["error"]) == {"message", "type", "param", "code"}
    assert call(server, "POST", "batch_none/retry").status_code == 404


def test_results_while_they_come(server: Server, upstream: Upstream) -> None:
    """At any moment whole lines, as many as are counted, each the begin of what comes later; then all of them."""
    upstream.latency = 0.05
    task_id = server.submit([f"{n}" for n in range(2000)])
    before, parts, status = b"", 0, "validating"
    while status not in ("completed", "failed"):
        batch = server.get(f"/v1/batches/{task_id}")
        answer = call(server, "GET", f"{task_id}/results")
        assert answer.headers["content-type"].startswith("application/jsonl")
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.content.startswith(before)
        assert answer.content == b"" or answer.content.endswith(b"\n")
        rows = [json.loads(text) for text in answer.content.splitlines()]
        assert len(rows) >= batch["request_counts"]["completed"]
        assert all(row["response"]["status_code"] == 200 for row in rows)
        parts += len(before) < len(answer.content)
        upstream.latency = 0.05 if parts < 5 else 0.0
        before, status = answer.content, batch["status"]
    assert parts > 3
    client = server.client()
    output = client.batches.retrieve(task_id).output_file_id
    assert output
    assert call(server, "GET", f"{task_id}/results").content == client.files.content(output).content
    event = server.get(f"/v1/events?task_id={task_id}&limit=1")["data"][0]
    alone = call(server, "GET", f"{task_id}/results?line_no={event['line_no']}")
    assert alone.content in answer.content.splitlines(keepends=True)
    assert json.loads(alone.content)["custom_id"] == event["custom_id"]
    assert json.loads(alone.content)["response"]["body"]["usage"]["prompt_tokens"] == event["input_tokens"]
    assert call(server, "GET", f"{task_id}/results?line_no=2001").content == b""
    refused = call(server, "GET", f"{task_id}/results?line_no=0")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "line_no")
    client.files.delete(output)
    gone = call(server, "GET", f"{task_id}/results")
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "results_gone")


def test_nothing_yet_is_an_empty_body(server: Server) -> None:
    """Of a task without a result: 200 and no line. Of one that is not there: 404."""
    task_id = server.wait(server.submit(["@status=400"]))["id"]
    answer = call(server, "GET", f"{task_id}/results")
    assert (answer.status_code, answer.content, answer.headers["content-length"]) == (200, b"", "0")
    assert call(server, "GET", "batch_none/results").status_code == 404


LOOKS = 16


def test_rate_and_estimated_end_are_right(server: Server) -> None:
    """Both figures follow from what was done when, on a machine of any speed, and are null when it ended."""
    total, seen = 20_000, []  # of which most are still to be asked when it has been looked at
    task_id = server.submit([f"{n} @latency=0.2" for n in range(total)])
    while sum(end is not None for *_, end in seen) < LOOKS:
        asked = time.time()
        batch = server.get(f"/v1/batches/{task_id}")
        own, done = batch["nightrate"], batch["request_counts"]["completed"]
        seen.append((asked, time.time(), done, own["requests_per_second"], own["estimated_end_at"]))
        time.sleep(0.2)
    server.client().batches.cancel(task_id)
    own = server.wait(task_id)["nightrate"]
    assert (own["requests_per_second"], own["estimated_end_at"], own["waiting"]) == (None, None, None)

    events = server.get(f"/v1/events?task_id={task_id}&limit=10000")["data"]
    moments = [
        [datetime.fromisoformat(e[name]).timestamp() for e in events]
        for name in ("started_at", "finished_at")
    ]
    first, finished = min(moments[0]), sorted(moments[1])
    checked = 0
    for at, (asked, told, _, rate, end) in enumerate(seen[:-1]):
        if end is None or told > batch["in_progress_at"] + 29:  # the rate is that of half a minute
            continue
        # What had been committed when it was answered: at least what another had been told a second before.
        least = max((done for _, before, done, _, _ in seen[:at] if before < asked - 1), default=0)
        most = seen[at + 1][2]
        if least < 8:
            continue  # the first rounds are judged by what is under way
        checked += 1
        story = (asked, told, least, most, rate, end, first, batch["in_progress_at"])
        assert least / (told - batch["in_progress_at"]) - 0.01 <= rate, story
        assert rate <= most / (finished[least - 1] - first - 0.05), story
        assert asked + (total - most) / rate - 1.1 <= end, story  # in whole seconds
        assert end <= told + (total - least) / rate + 0.1, story
    assert checked > 5, seen
