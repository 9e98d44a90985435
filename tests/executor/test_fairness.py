import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from executor.engine import Live
from executor.options import ModelOptions
from tests.executor.engine_rig import Rig
from tests.upstream import Upstream

PLACES = 16


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(latency=0.05) as upstream:
        yield upstream


def model(upstream: Upstream, places: int = PLACES) -> ModelOptions:
    return ModelOptions(
        name="m", upstreams=(upstream.url,), max_concurrency=places, initial_concurrency=places
    )


def live(rig: Rig, task_id: str) -> Live:
    return rig.until(lambda: rig.engine.live(task_id), lambda found: found is not None)


def test_ten_small_tasks_beside_a_large_one(tmp_path: Path, upstream: Upstream) -> None:
    """Ten tasks of 50 requests get half of the model beside one of 5,000 of another workspace, counted."""
    with Rig(tmp_path, [model(upstream)]) as rig:
        large = rig.submit([f"large {n}" for n in range(5000)], workspace_id="big")
        rig.until(lambda: rig.task(large), lambda task: task.completed >= 64)
        small = [
            rig.submit([f"small {task} {n}" for n in range(50)], workspace_id="small") for task in range(10)
        ]
        assert [rig.wait(task, 60).completed for task in small] == [50] * 10
        assert not rig.task(large).settled
        rig.cancel(large)
        rig.wait(large)
    prompts = [seen.prompt.split()[0] for seen in upstream.snapshot()]
    first, last = prompts.index("small"), len(prompts) - prompts[::-1].index("small")
    # of what was asked while there were at least enough small requests for half of the places
    between = prompts[first + 2 * PLACES : last - 2 * PLACES]
    assert between.count("small") / len(between) == pytest.approx(0.5, abs=0.06)


def test_a_task_near_its_deadline_overtakes(tmp_path: Path, upstream: Upstream) -> None:
    """A task that an equal share would make miss its window is done in time; the others go on meanwhile."""
    upstream.latency = 0.1  # 40 a second: an equal share of 10 would take 15 seconds
    with Rig(tmp_path, [model(upstream, places=4)]) as rig:
        others = [
            rig.submit([f"{name} {n}" for n in range(2000)], workspace_id=name) for name in ("a", "b", "c")
        ]
        for task_id in others:
            rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 20)  # noqa: B023
        before = [rig.task(task_id).completed for task_id in others]
        begun = time.monotonic()
        near = rig.submit([f"near {n}" for n in range(150)], workspace_id="d", window=timedelta(seconds=10))
        task = rig.wait(near)
        assert (task.status, task.completed) == ("completed", 150)
        assert time.monotonic() - begun < 10
        gained = [rig.task(task_id).completed - had for task_id, had in zip(others, before, strict=True)]
        assert min(gained) >= 5
        assert sum(gained) < 300


def test_a_task_behind_others_says_since_when(tmp_path: Path, upstream: Upstream) -> None:
    """With one place taken for long, a task waits in the queue since it last had a request under way."""
    upstream.latency = 4
    with Rig(tmp_path, [model(upstream, places=1)]) as rig:
        first = rig.submit(["one", "two"], workspace_id="a")
        rig.until(lambda: upstream.in_flight, lambda n: n == 1)
        at = datetime.now(UTC)
        second = rig.submit(["three", "four"], workspace_id="b")
        waiting = rig.until(lambda: live(rig, second).waiting, lambda found: found is not None)
        assert waiting.reason == "queue"
        assert abs(waiting.since - at) < timedelta(seconds=3)
        assert live(rig, second).estimated_end_at is None
        assert live(rig, first).waiting is None
        rig.until(lambda: upstream.asked["three"], lambda asked: asked == 1)
        assert live(rig, second).waiting is None
        upstream.latency = 0.01
        rig.wait(second)


def test_the_estimated_end_is_where_the_task_ends(tmp_path: Path, upstream: Upstream) -> None:
    """Half-way through, the estimate is near the end that comes, though all answers come in bursts."""
    upstream.latency = 1
    with Rig(tmp_path, [model(upstream)]) as rig:
        task_id = rig.submit([f"{n}" for n in range(PLACES * 6)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 3 * PLACES)
        looked = datetime.now(UTC)
        found, done = live(rig, task_id), rig.task(task_id).completed
        ended = rig.wait(task_id).ended_at
        [(first, half)] = rig.rows(
            f"SELECT min(started_at), list_sort(list(finished_at))[{3 * PLACES}] FROM request_events"
        )
    assert found.estimated_end_at is not None
    assert ended is not None
    # A busy machine is slower now and faster then: the figures are those of what it did until it was looked at.
    took, rest = looked - first, ended - looked
    assert 0.75 * 3 * PLACES / took.total_seconds() <= found.requests_per_second
    assert found.requests_per_second <= 1.25 * done / (half - first).total_seconds()
    uneven = abs(took * (6 * PLACES - done) / done - rest)
    assert abs(ended - found.estimated_end_at) < timedelta(seconds=1.5) + uneven
