import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from executor.options import ExecutorOptions, LimitOptions, ModelOptions
from metering.clock import utc_now
from tests.executor.engine_rig import Rig, line
from tests.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def model(upstream: Upstream, **options: object) -> ModelOptions:
    return ModelOptions(name="m", upstreams=(upstream.url,), max_concurrency=16, **options)  # type: ignore[arg-type]


def assert_whole(rig: Rig, task_id: str) -> None:
    """Every request has one line, every call one event, the ledger equals the result file, memory is free again."""
    task = rig.task(task_id)
    dispatcher = rig.engine._dispatcher
    assert (dispatcher._bytes, set(dispatcher._held.values())) == (0, {0})
    good, bad = rig.lines(task)
    assert sorted(int(row["custom_id"][1:]) for row in good + bad) == list(range(1, task.total + 1))
    called = [row for row in good + bad if not (row["error"] or {}).get("code", "").startswith("batch_")]
    events = rig.rows(
        f"SELECT custom_id, count(*) FROM request_events WHERE task_id = '{task_id}' GROUP BY ALL"
    )
    assert dict(events) == {row["custom_id"]: 1 for row in called}
    assert (task.completed, task.failed) == (len(good), len(called) - len(good))
    usages = [row["response"]["body"].get("usage") for row in good]
    tokens = Counter[str]()
    for usage in usages:
        tokens.update(usage or {})
    charged = dict(rig.rows(f"SELECT sku, quantity FROM charges WHERE task_id = '{task_id}'"))
    assert charged.get("input_tokens", 0) == tokens["prompt_tokens"]
    assert charged.get("output_tokens", 0) == tokens["completion_tokens"]
    listed = (tokens["prompt_tokens"] * 1 + tokens["completion_tokens"] * 2) * Decimal("0.000001")
    assert (task.list_amount, task.amount) == (listed, listed * Decimal("0.5"))


def test_a_task_runs_to_its_bill(tmp_path: Path, upstream: Upstream) -> None:
    """A task of good requests ends completed, each request asked once."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        task = rig.wait(task_id := rig.submit([f"hello {n}" for n in range(200)]))
        assert (task.status, task.total, task.completed, task.failed) == ("completed", 200, 200, 0)
        assert task.error_file_id is None
        assert task.output_file_id is not None
        assert_whole(rig, task_id)
    assert set(upstream.asked.values()) == {1}


def test_each_fault_has_its_line(tmp_path: Path, upstream: Upstream) -> None:
    """Every way in which an upstream can fail gives one line with the documented code."""
    faults = {
        "@status=400": 400,
        "@status=404": 404,
        "@status=500": 500,
        "@hang": "timeout",
        "@reset": "connection_error",
        "@cut": "connection_error",
        "@html": "invalid_response",
        "@broken": "invalid_response",
        "@list": "invalid_response",
        "@empty": "invalid_response",
        "@endless": "response_too_large",
        "@huge=400000": "response_too_large",
        "@quiet": "timeout",
    }
    limits = LimitOptions(response_bytes=100_000)
    options = ExecutorOptions(commit_interval_ms=20, backoff_first_seconds=0.02, max_attempts=2)
    with Rig(tmp_path, [model(upstream, timeout_seconds=2)], limits=limits, options=options) as rig:
        task = rig.wait(task_id := rig.submit([*faults, "good"]))
        good, bad = rig.lines(task)
        found = {
            row["custom_id"]: row["error"]["code"] if row["error"] else row["response"]["status_code"]
            for row in bad
        }
        assert found == {f"r{n}": code for n, code in enumerate(faults.values(), 1)}
        assert [row["custom_id"] for row in good] == [f"r{len(faults) + 1}"]
        assert_whole(rig, task_id)
    retried = {prompt: asked for prompt, asked in upstream.asked.items() if asked > 1}
    assert set(retried) == set(faults) - {"@status=400", "@status=404", "@endless", "@huge=400000"}
    assert set(retried.values()) == {2}


def test_a_fault_that_passes_is_no_failure(tmp_path: Path, upstream: Upstream) -> None:
    """Requests that fail a few times and then succeed are delivered, with their attempts counted."""
    prompts = ["@status=500 @times=2", "@reset @times=2", "@html @times=1", "@status=429 @times=7"]
    with Rig(tmp_path, [model(upstream)]) as rig:
        task = rig.wait(task_id := rig.submit(prompts))
        assert (task.completed, task.failed) == (4, 0)
        events = rig.rows("SELECT line_no, attempts, rate_limited_attempts FROM request_events ORDER BY 1")
        assert events == [(1, 3, 0), (2, 3, 0), (3, 2, 0), (4, 8, 7)]
        assert_whole(rig, task_id)


def test_retry_after_is_obeyed(tmp_path: Path, upstream: Upstream) -> None:
    """A pushback that names a time is not asked again before it."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        rig.wait(rig.submit(["@status=429 @retry_after=1 @times=1"]))
    first, second = upstream.snapshot()
    assert second.at - first.at >= 1


def test_bad_usage_is_delivered_but_not_charged(tmp_path: Path, upstream: Upstream) -> None:
    """Without believable usage an answer is delivered and unmetered: nothing is charged for it."""
    kinds = ("none", "null", "negative", "absurd", "fraction", "text", "parts")
    with Rig(tmp_path, [model(upstream)]) as rig:
        task = rig.wait(rig.submit([f"@usage={kind}" for kind in kinds]))
        assert (task.completed, task.failed, task.amount) == (len(kinds), 0, Decimal(0))
        assert rig.rows("SELECT count(*) FILTER (unmetered) FROM request_events") == [(len(kinds),)]
        assert rig.rows("SELECT count(*) FROM charges") == [(0,)]


def test_a_cancelled_task_delivers_and_bills_what_was_done(tmp_path: Path, upstream: Upstream) -> None:
    """A cancel starts nothing more; running requests finish, the rest gets a closing line."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        task_id = rig.submit([f"@latency=0.1 {n}" for n in range(200)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 16)
        rig.cancel(task_id)
        task = rig.wait(task_id)
        assert task.status == "cancelled"
        assert 16 <= task.completed < 200
        _, bad = rig.lines(task)
        assert {row["error"]["code"] for row in bad} == {"batch_cancelled"}
        assert_whole(rig, task_id)
    assert sum(upstream.asked.values()) == task.completed


def test_a_cancel_gives_up_what_takes_too_long(tmp_path: Path, upstream: Upstream) -> None:
    """Requests still running after the grace are given up and get a closing line."""
    options = ExecutorOptions(commit_interval_ms=20, cancel_grace_seconds=0.2)
    with Rig(tmp_path, [model(upstream)], options=options) as rig:
        task_id = rig.submit(["@hang", "fast"])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed == 1)
        rig.cancel(task_id)
        assert rig.wait(task_id).status == "cancelled"
        assert_whole(rig, task_id)


def test_a_task_expires_at_the_end_of_its_window(tmp_path: Path, upstream: Upstream) -> None:
    """What is not done when the window ends gets `batch_expired`; what is done is delivered and billed."""
    options = ExecutorOptions(commit_interval_ms=20, cancel_grace_seconds=0.1)
    with Rig(tmp_path, [model(upstream)], options=options) as rig:
        task_id = rig.submit(["@hang", "fast"], window=timedelta(seconds=3))  # in which the other is done
        task = rig.wait(task_id)
        assert (task.status, task.completed) == ("expired", 1)
        assert task.finalizing_at is not None
        _, bad = rig.lines(task)
        assert [row["error"]["code"] for row in bad] == ["batch_expired"]
        assert_whole(rig, task_id)


def test_a_window_that_passed_while_down_ends_the_task_at_start(tmp_path: Path, upstream: Upstream) -> None:
    """At the next start the task is validated, expires, and nothing is asked."""
    now = [utc_now()]

    def clock() -> datetime:
        return now[0]

    rig = Rig(tmp_path, [model(upstream)], clock=clock).start()
    rig.engine.stop()
    task_id = rig.submit(["a"] * 8000)  # more closing lines than are written at once
    rig.stop()
    now[0] += timedelta(days=2)
    with rig:
        task = rig.wait(task_id)
        assert (task.status, task.total, task.completed) == ("expired", 8000, 0)
        assert_whole(rig, task_id)
    assert not upstream.asked


@pytest.mark.parametrize("hours", [-48, 20])
def test_a_clock_that_is_set_loses_nothing(tmp_path: Path, upstream: Upstream, hours: int) -> None:
    """Back or on, in the middle of a task: it goes on to its bill, and no moment of the ledger goes back."""
    moved = timedelta()
    with Rig(tmp_path, [model(upstream)], clock=lambda: utc_now() + moved) as rig:
        before = rig.wait(rig.submit(["before"]))
        task_id = rig.submit([f"{n} @latency=0.05" for n in range(200)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 20)
        moved = timedelta(hours=hours)
        task = rig.wait(task_id)
        assert (task.status, task.completed, task.failed) == ("completed", 200, 0)
        assert task.amount is not None
        assert before.ended_at is not None
        assert task.ended_at is not None
        assert task.ended_at >= before.ended_at
        odd = "finished_at < started_at OR duration_ms < 0 OR total_ms < duration_ms"
        assert rig.rows(f"SELECT count(*) FROM request_events WHERE {odd}") == [(0,)]


def test_a_file_with_faults_fails_and_runs_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """A failed task says what is wrong where; it has no files and no end."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        task = rig.wait(rig.submit(["a"], endpoint="/v1/embeddings"))
        assert (task.status, task.ended_at, task.output_file_id) == ("failed", None, None)
        assert ("invalid_url", 1) in [(error.code, error.line) for error in task.errors]
    assert not upstream.asked


def test_a_stop_commits_and_the_next_start_goes_on(tmp_path: Path, upstream: Upstream) -> None:
    """A graceful stop starts nothing more and waits for what is under way; afterwards nothing is asked twice."""
    rig = Rig(tmp_path, [model(upstream)]).start()
    task_id = rig.submit([f"@latency=0.05 {n}" for n in range(600)])
    rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 32)
    rig.stop()
    assert sum(upstream.asked.values()) < 600
    with rig:
        assert rig.wait(task_id).status == "completed"
        assert_whole(rig, task_id)
    assert set(upstream.asked.values()) == {1}


@pytest.mark.parametrize("damage", ["short", "half line", "missing", "longer", "garbage"])
def test_result_files_are_brought_back_to_what_counts(
    tmp_path: Path, upstream: Upstream, damage: str
) -> None:
    """Whatever happened to the result file, each request ends with one line, and only lost ones run again."""
    rig = Rig(tmp_path, [model(upstream)]).start()
    task_id = rig.submit([f"@latency=0.05 {n}" for n in range(300)])
    rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 64)
    rig.stop()
    before = tmp_path / f"outputs/{task_id}.output.jsonl"
    lines = before.read_bytes().splitlines(keepends=True)
    kept = {
        "short": lines[:-10],
        "half line": [*lines[:-10], lines[-10][:20]],
        "missing": [],
        "longer": [*lines, b'{"half'],
        "garbage": [*lines[:-10], b"\x00" * 50 + b"\n"],
    }[damage]
    before.write_bytes(b"".join(kept))
    if damage == "missing":
        before.unlink()
    with rig:
        assert rig.wait(task_id).status == "completed"
        assert_whole(rig, task_id)
    again = sum(asked - 1 for asked in upstream.asked.values())
    assert again == {"missing": len(lines), "longer": 0}.get(damage, 10)


@pytest.mark.parametrize("damage", ["halved", "emptied", "deleted"])
def test_a_result_file_damaged_under_a_running_task(tmp_path: Path, upstream: Upstream, damage: str) -> None:
    """The next commit finds out: what is gone runs again, and nothing is written behind a hole."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        task_id = rig.submit([f"@latency=0.05 {n}" for n in range(600)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 64)
        path = tmp_path / f"outputs/{task_id}.output.jsonl"
        if damage == "deleted":
            path.unlink()
        else:
            os.truncate(path, path.stat().st_size // 2 if damage == "halved" else 0)
        assert rig.wait(task_id).status == "completed"
        assert_whole(rig, task_id)
    again = sum(asked - 1 for asked in upstream.asked.values())
    assert 0 < again < 600


@pytest.mark.parametrize("damage", ["missing", "changed", "longer"])
def test_a_lost_input_file_fails_the_task(tmp_path: Path, upstream: Upstream, damage: str) -> None:
    """Without the file that was uploaded there is nothing to go on with: `storage_lost`, unbilled."""
    rig = Rig(tmp_path, [model(upstream)]).start()
    task_id = rig.submit([f"@latency=0.05 {n}" for n in range(300)])
    rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 16)
    path = tmp_path / "files" / rig.task(task_id).input_file_id
    rig.stop()
    if damage == "missing":
        path.unlink()
    elif damage == "changed":
        path.write_bytes(path.read_bytes().replace(b"latency", b"Latency", 1))
    else:
        path.write_bytes(path.read_bytes() + line(301, "one more", "m"))
    with rig:
        task = rig.wait(task_id)
        assert (task.status, task.ended_at, task.output_file_id) == ("failed", None, None)
        assert [error.code for error in task.errors] == ["storage_lost"]
        assert (task.output_bytes, task.error_bytes) == (0, 0)
        assert rig.rows("SELECT count(*) FROM charges") == [(0,)]
        rig.until(lambda: list((tmp_path / "outputs").iterdir()), lambda left: not left)


def test_an_input_file_lost_before_a_cancel_is_done(tmp_path: Path, upstream: Upstream) -> None:
    """Which requests were never executed can't be told without it: the task fails rather than waits for ever."""
    options = ExecutorOptions(commit_interval_ms=20, cancel_grace_seconds=0.1)
    with Rig(tmp_path, [model(upstream)], options=options) as rig:
        task_id = rig.submit(["@hang", "fast"])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed == 1)
        (tmp_path / "files" / rig.task(task_id).input_file_id).unlink()
        rig.cancel(task_id)
        task = rig.wait(task_id)
        assert (task.status, [error.code for error in task.errors]) == ("failed", ["storage_lost"])
        assert rig.rows("SELECT count(*) FROM charges") == [(0,)]


@pytest.mark.parametrize("kept", [0.4, 0.5])
def test_an_input_file_cut_short_under_a_running_task(
    tmp_path: Path, upstream: Upstream, kept: float
) -> None:
    """In a line or between two: the task fails at once, and says that the file is another."""
    prompts = [f"@latency=0.02 {n} {'x' * 5000}" for n in range(2000)]
    with Rig(tmp_path, [model(upstream)]) as rig:
        task_id = rig.submit(prompts)
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 16)
        path = tmp_path / "files" / rig.task(task_id).input_file_id
        size = int(path.stat().st_size * 0.4)
        if kept == 0.5:
            size = sum(len(line(n, text, "m")) for n, text in enumerate(prompts[:900], 1))
        os.truncate(path, size)
        task = rig.wait(task_id)
        assert (task.status, [error.code for error in task.errors]) == ("failed", ["storage_lost"])


@pytest.mark.parametrize(
    "point",
    [
        "commit.begun",
        "commit.appended",
        "commit.synced",
        "commit.stored",
        "ending.claimed",
        "ending.written",
        "ending.rated",
        "ending.stored",
        "recovery.cut",
    ],
)
def test_a_step_that_fails_while_running_is_recovered(tmp_path: Path, upstream: Upstream, point: str) -> None:
    """A failed append, fsync or commit costs nothing but some requests asked again."""
    count = 1 if point.startswith(("ending", "recovery")) else 2
    with Rig(tmp_path, [model(upstream)], fault=f"{point}:{count}:fail") as rig:
        task_id = rig.submit([f"@latency=0.02 {n}" for n in range(200)])
        if point == "ending.written":
            rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 16)
            rig.cancel(task_id)
        task = rig.wait(task_id)
        assert task.status == ("cancelled" if point == "ending.written" else "completed")
        assert_whole(rig, task_id)
        rig.until(rig.engine.ready, lambda ready: ready == (True, "ready"))


def test_nothing_is_asked_that_could_not_be_kept(tmp_path: Path, upstream: Upstream) -> None:
    """While the storage takes no writes, requests of tasks that it has not failed wait too."""
    outputs = tmp_path / "outputs"
    with Rig(tmp_path, [model(upstream)], fault="commit.stored:2:fail") as rig:
        later = rig.submit(["later @status=429 @retry_after=2 @times=1", "now"])
        rig.until(lambda: rig.task(later), lambda task: task.completed == 1)
        outputs.rename(tmp_path / "elsewhere")
        outputs.write_text("no folder: nothing can be written here")
        failing = rig.submit(["failing"])
        rig.until(rig.engine.ready, lambda ready: "storage failed" in ready[1])
        time.sleep(3)
        assert upstream.asked["later @status=429 @retry_after=2 @times=1"] == 1
        outputs.unlink()
        (tmp_path / "elsewhere").rename(outputs)
        for task_id in (later, failing):
            assert rig.wait(task_id).status == "completed"
            assert_whole(rig, task_id)


def test_two_workspaces_share_a_model(tmp_path: Path, upstream: Upstream) -> None:
    """A small task of one workspace is not held up by a large one of another."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        large = rig.submit([f"@latency=0.02 large {n}" for n in range(2000)], workspace_id="big")
        rig.until(lambda: rig.task(large), lambda task: task.completed >= 32)
        small = rig.wait(rig.submit([f"@latency=0.02 small {n}" for n in range(50)], workspace_id="small"))
        assert small.completed == 50
        assert rig.task(large).completed < 1000


def test_bodies_change_in_nothing_but_what_is_allowed(tmp_path: Path, upstream: Upstream) -> None:
    """The upstream's own name of the model is sent, streaming is not asked for, the rest stays byte for byte."""
    with Rig(tmp_path, [model(upstream, upstream_model="real/name")]) as rig:
        rig.wait(rig.submit(["ü \\u00fc"]))
    (seen,) = upstream.snapshot()
    assert seen.body["model"] == "real/name"
    assert json.dumps("ü \\u00fc").encode() in seen.raw
