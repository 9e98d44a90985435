"""Single sequences of steps of commit, ending and recovery that the model check draws too rarely to rely on."""

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from executor.tasks import Ending
from metering.options import StorageOptions
from metering.store import Store, Transaction
from tests.executor.commit_world import STEPS, Kind, World

TASK = f"batch_{1:032x}"


@pytest.fixture(scope="module")
def blank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blank")
    Store(StorageOptions(data_dir=folder), ("metering", "executor")).close()
    return folder


@pytest.fixture
def world(tmp_path: Path, blank: Path) -> Iterator[World]:
    """A data folder with a task of four requests that runs."""
    world = World(tmp_path, blank)
    world.create(TASK, 4)
    world.accept(TASK, 4)
    world.load(TASK)
    yield world
    world.stop()
    world.disk.stop()


def commit(world: World, *kinds: Kind) -> bool:
    """Answers the next requests, and commits the answers."""
    for kind in kinds:
        world.answer(TASK, kind)
    return world.commit(len(world.queue))


def delivered(world: World) -> list[list[int]]:
    """The numbers of the requests that each file answers, in its order."""
    return [
        [int(json.loads(text)["custom_id"][1:]) for text in path.read_bytes().splitlines()]
        if path.exists()
        else []
        for path in world.paths(TASK)
    ]


def finish(world: World, *kinds: Kind) -> None:
    """The task runs to its end, as often as it must be begun again."""
    for _ in range(3):
        if world.task(TASK).ending is None:
            world.load(TASK)
            if TASK in world.runs:
                commit(world, *kinds)
                world.claim(TASK, "completed")
        elif not world.task(TASK).settled:
            world.end(TASK)
    assert world.task(TASK).settled


@pytest.mark.parametrize("ending", ["cancelled", "expired"])
def test_lines_that_never_counted_are_not_delivered(world: World, ending: Ending) -> None:
    """Appended, but never committed, and then the task ends: they get closing lines like any other."""
    assert commit(world, "success", "refused")
    world.fault.armed = "commit.appended"
    assert not commit(world, "success", "refused")
    assert world.cancel(TASK) if ending == "cancelled" else world.endings.claim(world.task(TASK), ending)
    world.end(TASK)
    task = world.task(TASK)
    assert (task.status, task.completed, task.failed) == (ending, 1, 1)
    assert delivered(world) == [[1], [2, 3, 4]]


def test_lines_are_synced_before_they_count(world: World) -> None:
    """When the transaction begins that lets them count, a power cut would not take a byte of them."""
    write, synced = world.store.write, list[bool]()

    def watched(job: Callable[[Transaction], Any]) -> Any:
        synced.extend(world.disk.has(path) for path in world.paths(TASK))
        return write(job)

    with patch.object(world.store, "write", watched):
        assert commit(world, "success", "refused")
    assert synced == [True, True]


def test_a_write_that_takes_less_than_it_was_given(world: World) -> None:
    """As on a disk that fills up: the rest is written after it."""
    whole = os.pwrite
    with patch.object(os, "pwrite", lambda descriptor, data, at: whole(descriptor, data[:7], at)):
        assert commit(world, "success", "refused")
    assert delivered(world) == [[1], [2]]


def test_what_counts_survives_a_power_cut(world: World) -> None:
    """Lines of both files, and the names of the files and of the folder that they are the first in."""
    assert commit(world, "success", "refused")
    world.cut_power()
    world.start()
    assert delivered(world) == [[1], [2]]
    finish(world, "success", "refused")
    assert delivered(world) == [[1, 3], [2, 4]]


def test_closing_lines_survive_a_power_cut(world: World) -> None:
    """They are synced before the transaction that lets them count."""
    assert commit(world, "success")
    assert world.cancel(TASK)
    world.end(TASK)
    assert world.task(TASK).status == "cancelled"
    world.cut_power()
    world.start()
    assert delivered(world) == [[1], [2, 3, 4]]


@pytest.mark.parametrize("step", [step for step in STEPS if step.startswith("ending.")])
def test_an_ending_that_fails_at_a_step_shows_nothing_of_itself(world: World, step: str) -> None:
    """Bill, files, statistics and status become visible together, whatever fails; afterwards it ends once."""
    assert commit(world, "success", "refused")
    world.fault.armed = step
    world.claim(TASK, "expired")
    world.end(TASK)
    for begun_again in range(2):
        task = world.task(TASK)
        shown = world.all_rows(
            "SELECT id FROM files WHERE purpose = 'batch_output'",
            "SELECT task_id FROM charges GROUP BY task_id",
            "SELECT task_id FROM task_rollups",
            "SELECT task_id FROM task_digests GROUP BY task_id",
        )
        assert [len(rows) for rows in shown] == ([2, 1, 1, 1] if task.settled else [0] * 4)
        assert (task.ended_at is not None, task.amount is not None) == (task.settled, task.settled)
        assert begun_again or task.settled is (step in ("ending.claimed", "ending.stored"))
        if not task.settled:
            world.end(TASK)
    assert delivered(world) == [[1], [2, 3, 4]]


@pytest.mark.parametrize("ending", ["completed", "cancelled"])
def test_lines_that_were_lost_before_the_end(world: World, ending: Ending) -> None:
    """What was to be completed runs again first; a cancel stays one, and closes the lines that were lost."""
    assert commit(world, *["success"] * 4)
    if ending == "cancelled":
        assert world.cancel(TASK)
    else:
        world.claim(TASK, ending)
    os.truncate(world.paths(TASK)[0], 0)
    finish(world, *["success"] * 4)
    assert world.task(TASK).status == ending
    assert delivered(world) == ([[], [1, 2, 3, 4]] if ending == "cancelled" else [[1, 2, 3, 4], []])


def test_a_failed_commit_takes_back_what_waits_behind_it(world: World) -> None:
    """Answers of a task that memory is not trusted about any more are dropped, not committed later."""
    for _ in range(2):
        world.answer(TASK, "success")
    world.fault.armed = "commit.appended"
    assert not world.commit(1)
    world.commit(1)
    assert world.task(TASK).completed == 0
    finish(world, *["success"] * 4)
    assert delivered(world) == [[1, 2, 3, 4], []]


def test_a_lost_task_takes_no_answer_more(world: World) -> None:
    """Its input was lost while answers waited for their commit: they count nowhere."""
    world.answer(TASK, "success")
    world.endings.lose(world.task(TASK), "a test")
    assert not world.commit(1)
    assert world.task(TASK).completed == 0
    assert world.all_rows("SELECT line_no FROM request_events") == [[]]


def test_a_task_ends_once(world: World) -> None:
    """Whoever still believes that it has to be ended is refused, and its end stays what it is."""
    world.claim(TASK, "expired")
    stale = world.task(TASK)
    begun = world.clock.now = world.clock.now + timedelta(hours=1)
    world.end(TASK)
    ended = world.task(TASK)
    assert ended.ended_at is not None
    assert ended.ended_at > begun
    with pytest.raises(RuntimeError, match="not ending"):
        world.endings.end(stale)
    assert world.task(TASK) == ended
    assert len(world.all_rows("SELECT id FROM files WHERE purpose = 'batch_output'")[0]) == 1


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("damage", ["emptied", "deleted"])
def test_nothing_is_written_behind_a_hole(world: World, which: int, damage: str) -> None:
    """A file that is shorter than what counts takes no line more; what is gone runs again."""
    assert commit(world, "success", "refused")
    path = world.paths(TASK)[which]
    if damage == "emptied":
        os.truncate(path, 0)
    else:
        path.unlink()
    assert not commit(world, "success", "refused")
    finish(world, *["success"] * 3)
    good, bad = delivered(world)
    assert sorted(good + bad) == [1, 2, 3, 4]
    assert (world.task(TASK).completed, world.task(TASK).failed) == (len(good), len(bad))


@pytest.mark.parametrize("kinds", [("success", "refused"), ("refused", "success")])
def test_a_stale_memory_commits_nothing(world: World, kinds: tuple[Kind, Kind]) -> None:
    """Whoever believes in another length than the stored one is refused, even if it writes the other file."""
    stale = world.runs[TASK]
    world.load(TASK)
    assert commit(world, kinds[0])
    before = delivered(world)
    world.runs[TASK] = stale
    assert not commit(world, kinds[1])
    assert world.task(TASK).completed + world.task(TASK).failed == 1
    assert len(world.all_rows("SELECT line_no FROM request_events")[0]) == 1
    world.load(TASK)
    assert delivered(world) == before
