import random
import time
from collections import Counter
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.run import TaskRun
from tests.executor.fair_world import World, run_of


def test_workspaces_share_equally_whatever_their_number_of_tasks() -> None:
    """Ten tasks of one workspace together have as many requests under way as one task of another."""
    world = World(places=40)
    many, one = [run_of(f"m{n}", "many") for n in range(10)], run_of("one", "one")
    world.add(*many, one)
    for _ in range(600):
        world.step()
        world.fill()
        counts = world.in_flight()
        assert abs(counts[one] - 20) <= 1
        assert all(abs(counts[run] - 2) <= 1 for run in many)


def test_longer_requests_get_no_larger_share() -> None:
    """What is shared is the places: a task whose requests take ten times as long gets a tenth of the answers."""
    slow, fast = run_of("slow", "a"), run_of("fast", "b")
    world = World(places=16, seconds=lambda run: 10.0 if run is slow else 1.0)
    world.add(slow, fast)
    world.until(200)
    assert world.used[slow] == pytest.approx(world.used[fast], rel=0.05)
    assert world.ended[fast] == pytest.approx(10 * world.ended[slow], rel=0.1)


@pytest.mark.parametrize("workspaces", [("w", "w", "w"), ("a", "b", "c")])
def test_fewer_places_than_tasks_are_shared_by_time(workspaces: tuple[str, ...]) -> None:
    """With a single place, three tasks use it for equally long, though their requests differ."""
    lengths = (5.0, 1.0, 0.2)
    runs = [run_of(f"t{n}", workspace) for n, workspace in enumerate(workspaces)]
    world = World(places=1, seconds=lambda run: lengths[runs.index(run)])
    world.add(*runs)
    world.until(600)
    assert max(world.sums(runs)) - min(world.sums(runs)) <= 10


def test_a_newcomer_has_neither_debt_nor_credit() -> None:
    """A task that comes after an hour of another shares equally from then on, and takes nothing back."""
    world = World(places=1)
    old, new = run_of("old"), run_of("new")
    world.add(old)
    world.until(3600)
    world.add(new)
    world.until(3700)
    assert world.ended[new] == pytest.approx(50, abs=2)


def test_ten_small_tasks_are_not_held_up_by_a_large_one() -> None:
    """500 requests of one workspace beside 50,000 of another: half of the places until they are done."""
    large = run_of("large", "big", 50_000)
    small = [run_of(f"s{n}", "small", 50) for n in range(10)]
    world = World(places=64)
    world.add(large)
    world.until(20)
    before = world.ended[large]
    world.add(*small)
    while any(run.remaining for run in small):
        world.step()
    assert world.ended[large] - before <= 1.2 * 500
    assert world.now - 20 <= 1.2 * 500 / 32


@settings(max_examples=40, deadline=None)
@given(
    places=st.integers(1, 40),
    tasks=st.lists(st.integers(0, 3), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
    urgent=st.booleans(),
)
def test_nobody_waits_for_ever(places: int, tasks: list[int], seed: int, urgent: bool) -> None:
    """Whatever comes, goes, fails and takes how long: every request of every task is started and ends."""
    chance = random.Random(seed)
    window = timedelta(seconds=40) if urgent else timedelta(days=1)
    runs = [
        run_of(f"t{n}", f"w{workspace}", chance.randint(1, 30), window) for n, workspace in enumerate(tasks)
    ]
    world = World(places, seconds=lambda _: chance.choice([0.01, 1.0, 30.0]))
    world.again = lambda _run, _request: world.now + chance.random() * 20 if chance.random() < 0.3 else None
    late = list(runs)
    for _ in range(5_000):
        if late and chance.random() < 0.05:
            world.add(late.pop())
        world.fresh = chance.random() < 0.9
        if not world.step() and not late and world.fresh:
            break
    assert [run.remaining for run in runs] == [0] * len(runs)
    assert not world.under_way


@settings(max_examples=40, deadline=None)
@given(
    places=st.integers(1, 50), tasks=st.lists(st.integers(0, 3), min_size=1, max_size=10), seed=st.integers()
)
def test_equal_demands_have_shares_within_one(places: int, tasks: list[int], seed: int) -> None:
    """Workspaces that always want more differ by at most one request under way, and so do tasks of one."""
    chance = random.Random(seed)
    runs = [run_of(f"t{n}", f"w{workspace}") for n, workspace in enumerate(tasks)]
    world = World(places, seconds=lambda _: chance.uniform(0.5, 5))
    world.add(*runs)
    world.fill()
    for _ in range(300):
        before = world.in_flight()
        of_workspaces = Counter({run.task.workspace_id: 0 for run in runs})
        for run in runs:
            of_workspaces[run.task.workspace_id] += before[run]
        assert len(world.under_way) == places
        # Requests end as they like and none is taken away, so that a share that fell is filled up first.
        world.step()
        fewest = min(of_workspaces.values())
        world.fill()
        assert of_workspaces[world.started[-1].task.workspace_id] <= fewest + 1


def test_shares_start_within_one_of_each_other() -> None:
    """Free places are dealt out one by one to whoever has the fewest."""
    runs = [run_of(f"t{n}", f"w{n % 3}") for n in range(9)]
    world = World(places=50)
    world.add(*runs)
    world.fill()
    counts = world.in_flight()
    of_workspaces = [sum(counts[run] for run in runs[first::3]) for first in range(3)]
    assert sorted(of_workspaces) == [16, 17, 17]
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_task_near_its_deadline_overtakes_but_stops_nobody() -> None:
    """It gets most of the places, as many as it needs; a quarter still goes by equal shares."""
    world = World(places=20)
    others = [run_of(f"o{n}", f"w{n}") for n in range(4)]
    world.add(*others)
    world.until(30)
    before = {run: world.ended[run] for run in others}
    near = run_of("near", "late", requests=600, window=timedelta(seconds=30 + 60))
    world.add(near)
    assert world.scheduler.urgent(near)
    world.until(30 + 60)
    assert near.remaining == 0
    assert all(world.ended[run] - before[run] >= 30 for run in others)


def test_a_task_that_has_time_does_not_overtake() -> None:
    """A task that makes its deadline with its equal share gets no more than that."""
    world = World(places=20)
    world.add(*(run_of(f"o{n}", f"w{n}") for n in range(4)))
    world.until(30)
    calm = run_of("calm", "late", requests=100, window=timedelta(seconds=30 + 60))
    world.add(calm)
    world.until(40)
    assert not world.scheduler.urgent(calm)
    assert world.used[calm] <= 10 * 5


@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0])
@pytest.mark.parametrize("places", [1, 12])
def test_a_hopeless_task_leaves_others_a_quarter(places: int, seconds: float) -> None:
    """A task that no share could save does not stop the rest, however few places and long requests there are."""
    world = World(places, seconds=lambda run: 1.0 if run is other else seconds)
    other = run_of("other", "a")
    world.add(other)
    world.until(10)
    before = world.used[other]
    hopeless = run_of("hopeless", "b", requests=100_000, window=timedelta(seconds=500))
    world.add(hopeless)
    world.until(410)
    assert world.scheduler.urgent(hopeless)
    assert world.used[other] - before == pytest.approx(100 * places, rel=0.1)


def test_a_task_is_no_longer_urgent_when_others_are_gone() -> None:
    """The estimate follows what is there: with the model for itself, it has time."""
    world = World(places=10)
    others = [run_of(f"o{n}", f"w{n}") for n in range(9)]
    world.add(*others)
    world.until(5)
    near = run_of("near", "late", requests=300, window=timedelta(seconds=105))
    world.add(near)
    assert world.scheduler.urgent(near)
    for run in others:
        world.scheduler.remove(run)
    world.until(8)
    assert not world.scheduler.urgent(near)
    world.until(60)
    assert near.remaining == 0


def test_requests_of_a_removed_task_count_until_they_end() -> None:
    """A workspace that cancels a task gets no extra places while what is under way still ends."""
    world = World(places=10, seconds=lambda run: 10.0 if run is gone else 1.0)
    gone, next_one, other = run_of("gone", "a"), run_of("next", "a"), run_of("other", "b")
    world.add(gone, other)
    world.fill()
    gone.stop()
    world.scheduler.remove(gone)
    world.add(next_one)
    world.until(5)
    assert world.in_flight()[gone] == 5
    assert world.ended[next_one] == 0
    world.until(20)
    assert world.ended[next_one] > 0
    assert gone not in world.scheduler.runs()


def test_without_room_for_bodies_only_requests_in_memory_go() -> None:
    """With `fresh` false nothing is read; what is due goes in the order in which it became due."""
    world = World(places=4)
    first, second = run_of("first"), run_of("second")
    world.add(first, second)
    world.again = lambda run, request: world.now + (1 if run is first else 2) if world.now < 2 else None
    world.fill()
    world.fresh = False
    started = len(world.started)
    while world.step():
        pass
    assert world.started[started:] == [first, first, second, second]


def test_choosing_stays_cheap_with_ten_thousand_tasks() -> None:
    """A request's turn costs about the same among 10,000 tasks as among 10."""

    def seconds(tasks: int) -> float:
        world = World(places=1000)
        world.add(*(run_of(f"t{n}", f"w{n % 100}") for n in range(tasks)))
        world.fill()
        begin = time.process_time()
        for _ in range(10_000):
            world.step()
        return time.process_time() - begin

    assert seconds(10_000) < 10 * seconds(10)


def test_removing_twice_or_ending_late_harms_nothing() -> None:
    """A task that was never added, or is removed twice, leaves everything as it was."""
    world = World(places=2)
    run, stranger = run_of("run"), run_of("stranger")
    world.add(run)
    world.scheduler.remove(stranger)
    world.fill()
    world.scheduler.remove(run)
    world.scheduler.remove(run)
    while world.step():
        pass
    runs: list[TaskRun] = world.scheduler.runs()
    assert (runs, world.under_way, world.scheduler.next_due()) == ([], [], None)
