"""What a task says of itself while it waits for something that is not an upstream, and while it is being stopped."""

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from executor import life
from executor.live import Live
from executor.options import ExecutorOptions, ModelOptions
from metering.ending import Meter
from tests.executor.engine_rig import Rig
from tests.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def model(upstream: Upstream, name: str = "m", **options: Any) -> ModelOptions:
    return ModelOptions(
        name=name,
        upstreams=(upstream.url,),
        endpoints=("/v1/chat/completions",),
        max_concurrency=4,
        **options,
    )


def live(rig: Rig, task_id: str) -> Live:
    found = rig.engine.live(task_id)
    assert found is not None
    return found


def waits(rig: Rig, task_id: str, reason: str) -> datetime:
    """Since when it waits for this."""
    found = rig.until(
        lambda: rig.engine.live(task_id),
        lambda found: found is not None and found.waiting is not None and found.waiting.reason == reason,
    )
    since: datetime = found.waiting.since
    return since


def test_a_task_without_its_model_waits_for_it(tmp_path: Path, upstream: Upstream) -> None:
    """It says so since when, however often it is looked at, while others go on; and goes on itself when it is back."""
    upstream.latency = 0.2
    rig = Rig(tmp_path, [model(upstream), model(upstream, "other")])
    with rig:
        task_id = rig.submit([f"{n}" for n in range(12)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed > 0)
    rig.models = [model(upstream, "other")]
    with rig:
        since = waits(rig, task_id, "model_gone")
        rig.engine.wake(task_id)
        assert rig.wait(rig.submit(["fine"], model="other")).completed == 1
        assert waits(rig, task_id, "model_gone") == since
        found = live(rig, task_id)
        assert (found.requests_per_second, found.estimated_end_at) == (0.0, None)
        short = rig.submit(["x"], window=timedelta(seconds=1), status="in_progress", total=1)
        gone = rig.wait(short)
        assert (gone.status, gone.total, gone.completed, gone.failed) == ("expired", 1, 0, 0)
    rig.models = [model(upstream), model(upstream, "other")]
    with rig:
        assert rig.wait(task_id).completed == 12


def test_an_ending_that_fails_says_since_when(
    tmp_path: Path, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tried again and again, it says when that began; the other tasks end meanwhile, and so does it at last."""
    monkeypatch.setattr(life, "PARKED_SECONDS", 0.05)
    end_task, tries, mended = Meter.end_task, [], threading.Event()

    def failing(self: Meter, tx: Any, task: Any, ended_at: Any) -> Any:
        if task.task_id == broken and not mended.is_set():
            tries.append(time.monotonic())
            raise RuntimeError("it can't be rated")
        return end_task(self, tx, task, ended_at)

    monkeypatch.setattr(Meter, "end_task", failing)
    broken = ""
    with Rig(tmp_path, [model(upstream)]) as rig:
        upstream.latency = 0.5
        broken = rig.submit(["one"])
        since = waits(rig, broken, "ending_failed")
        before = len(tries)
        rig.until(lambda: len(tries), lambda many: many > before + 3)
        assert waits(rig, broken, "ending_failed") == since
        assert rig.wait(rig.submit(["fine"])).status == "completed"
        mended.set()
        assert rig.wait(broken).status == "completed"


@pytest.mark.parametrize("cancelled", [True, False], ids=["cancelled", "expired"])
def test_a_task_that_is_being_stopped_ends_with_its_grace(
    tmp_path: Path, upstream: Upstream, cancelled: bool
) -> None:
    """Its estimated end is that of what is under way, not of all that will never be asked; and never past."""
    upstream.latency = 0.3
    options = ExecutorOptions(commit_interval_ms=20, cancel_grace_seconds=8)
    window = timedelta(days=1) if cancelled else timedelta(seconds=8)
    with Rig(tmp_path, [model(upstream)], options=options) as rig:
        task_id = rig.submit([f"{n}" for n in range(1000)], window=window)
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 8)
        upstream.latency, before = 4, upstream.total
        rig.until(lambda: upstream.total, lambda total: total >= before + 4)
        begun = rig.task(task_id)
        if cancelled:
            rig.cancel(task_id)
        else:
            rig.until(lambda: datetime.now(UTC), lambda now: now > begun.expires_at)
        stopped_at = datetime.now(UTC)
        latest = stopped_at + timedelta(seconds=9)
        rig.until(
            lambda: live(rig, task_id).estimated_end_at, lambda end: end and stopped_at <= end <= latest
        )
        seen = 0
        while not rig.task(task_id).settled:
            at = datetime.now(UTC)
            found = rig.engine.live(task_id)
            if found is not None and found.estimated_end_at is not None:
                seen += 1
                assert at <= found.estimated_end_at <= latest
            time.sleep(0.05)
        assert seen > 0
