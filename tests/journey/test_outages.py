"""Every fault of an upstream at once, each at a model of its own, while another model goes on."""

import time
from pathlib import Path

from tests.journey.outage_world import LIMITED, STEADY, World
from tests.journey.test_bad_upstream import lines_of

REQUESTS = 400
LASTS_SECONDS = 3


def test_an_outage_in_the_middle_of_a_task(tmp_path: Path) -> None:
    """No request fails, no attempt is used up, batch object and metric say what is wrong, and work resumes."""
    with World.serving(tmp_path) as world:
        world.submit(REQUESTS, 5000)
        assert set(world.upstreams_up().values()) == {1}
        world.begin()
        steady = world.completed(world.steady_id)
        down = {each.model: int(each.fault == LIMITED) for each in world.victims}
        assert world.upstreams_up() == down | {STEADY: 1, "batch-test-model": 1}
        time.sleep(LASTS_SECONDS)
        assert all(each.told(world.batch(each.task_id)) for each in world.victims)
        assert world.completed(world.steady_id) > steady
        assert world.batch(world.steady_id)["nightrate"]["waiting"] is None
        world.end()
        for each in world.victims:
            batch = world.server.wait(each.task_id)
            counts = {"total": REQUESTS, "completed": REQUESTS, "failed": 0}
            assert (batch["status"], batch["request_counts"]) == ("completed", counts), each.fault
            assert batch["error_file_id"] is None
            assert len(lines_of(world.server, batch["output_file_id"])) == REQUESTS
            assert batch["nightrate"]["waiting"] is None
        assert set(world.upstreams_up().values()) == {1}
        assert world.batch(world.steady_id)["request_counts"]["failed"] == 0
        world.server.client().batches.cancel(world.steady_id)
        world.server.wait(world.steady_id)
