"""Single sequences of steps of commit, ending and recovery that the model check draws too rarely to rely on."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.tasks import Ending
from metering.options import StorageOptions
from metering.store import Store
from tests.executor.commit_world import Kind, World

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
        else:
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
    world.load(TASK)
    assert delivered(world) == before
