"""How long outages are told after they begin, and how soon work goes on after they end.

    python -m benchmarks.outage --seconds 60

A real service with `max_attempts = 1`: were any attempt used up, its request would fail. Each model has one
task in the middle of which its upstream breaks, all at once, `/models` included; another model goes on.
"""

import argparse
import tempfile
import time
from pathlib import Path

from tests.journey.outage_world import World


def main() -> None:
    """Prints a line per fault; ends with an error if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long everything is broken")
    parser.add_argument("--requests", type=int, default=400, help="of each task")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, World.serving(Path(folder)) as world:
        world.submit(options.requests, round(100 * (options.seconds + 60)))
        world.begin()
        before, begun = world.completed(world.steady_id), time.monotonic()
        time.sleep(options.seconds)
        assert all(each.told(world.batch(each.task_id)) for each in world.victims)
        rate = (world.completed(world.steady_id) - before) / (time.monotonic() - begun)
        ended = time.monotonic()
        world.end()
        for each in world.victims:
            batch = world.server.wait(each.task_id)
            counts = batch["request_counts"]
            print(
                f"{each.fault:16} told after {each.told_after:4.1f} s, work resumed {each.resumed_after:4.1f} s after "
                f"its end, task ended {time.monotonic() - ended:5.1f} s after it: {counts['completed']} completed, "
                f"{counts['failed']} failed, probed {each.upstream.probes} times",
                flush=True,
            )
            assert counts["completed"] == options.requests, batch
        print(f"the other model meanwhile: {rate:.0f} requests/s")
        world.server.client().batches.cancel(world.steady_id)


if __name__ == "__main__":
    main()
