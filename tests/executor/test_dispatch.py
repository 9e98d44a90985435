from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.options import ModelOptions
from tests.executor.engine_rig import Rig
from tests.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(latency=0.05) as upstream:
        yield upstream


def test_an_attempt_given_up_before_its_first_step_leaves_its_place(
    tmp_path: Path, upstream: Upstream
) -> None:
    """A cancel in the very turn that started an attempt frees the place; nothing waits for it for ever."""
    model = ModelOptions(name="m", upstreams=(upstream.url,), max_concurrency=4)
    with Rig(tmp_path, [model]) as rig:
        task_id = rig.submit([f"{n}" for n in range(400)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 8)
        dispatcher = rig.engine._dispatcher
        start = dispatcher._start

        def start_and_give_up(lane, run, request, now):  # type: ignore[no-untyped-def]
            start(lane, run, request, now)
            dispatcher._start = start  # once
            dispatcher.give_up(run)
            run.fail(OSError("memory is not to be trusted"))

        dispatcher._start = start_and_give_up  # type: ignore[method-assign]
        assert rig.wait(task_id).completed == 400
        assert rig.engine.view.in_flight()["m"] == 0
        assert dispatcher._bytes == 0
