"""What the demo tells, without running it: its rhythm, its stories, its clock, and which folders it touches."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nightrate.demo.answers import reply_to
from nightrate.demo.clock import MovedClock
from nightrate.demo.faults import fault_of, seed_of
from nightrate.demo.folder import DemoFolder, NotADemo, Note, may_go_on, without_overrides
from nightrate.demo.jobs import JOBS, WORKSPACES, input_file
from nightrate.demo.models import BY_NAME, MODELS
from nightrate.demo.plan import Down, Submit, Up, Wave, plan, price_change

NOW = datetime(2026, 11, 28, 10, 30, tzinfo=UTC)


def start_of(now: datetime, days: int) -> datetime:
    return (now - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)


def submits(waves: list[Wave]) -> list[tuple[datetime, Submit]]:
    return [(wave.at, action) for wave in waves for action in wave.actions if isinstance(action, Submit)]


def test_a_fortnight_has_everything() -> None:
    """Six models, four workspaces, busy weekdays and quiet weekends; all before now and in order."""
    waves = plan(start_of(NOW, 15), NOW)
    made = submits(waves)
    assert {submit.job.model for _, submit in made} == {model.name for model in MODELS}
    assert {submit.job.workspace for _, submit in made} == set(WORKSPACES)
    assert any(submit.left_running for _, submit in made)
    assert len(MODELS) == 6
    assert len(WORKSPACES) == 4
    by_weekday = Counter[bool]()
    for at, submit in made:
        if not submit.left_running:
            by_weekday[at.weekday() < 5] += submit.requests
    assert by_weekday[True] / 11 > 2 * by_weekday[False] / 4
    assert [wave.at for wave in waves] == sorted(wave.at for wave in waves)
    assert start_of(NOW, 15) < waves[0].at
    assert waves[-1].at < NOW
    assert start_of(NOW, 15) < price_change(start_of(NOW, 15), NOW) < NOW


@pytest.mark.parametrize("hour", range(0, 24 * 8, 5))
def test_three_days_have_every_model_both_prices_and_all_stories(hour: int) -> None:
    """Whenever they end: so that a short demo shows what the long one does."""
    now = NOW + timedelta(hours=hour)
    start = start_of(now, 3)
    made = submits(plan(start, now))
    assert {submit.job.model for _, submit in made} == {model.name for model in MODELS}
    assert {submit.job.workspace for _, submit in made} == set(WORKSPACES)
    change = price_change(start, now)
    if now.hour:  # in the first hour of a day the last wave was yesterday
        assert {at < change for at, submit in made if submit.job.model == "qwen-plus"} == {True, False}
    assert any(not submit.acceptable for _, submit in made)
    assert any(submit.cancelled_after for _, submit in made)
    assert any(submit.window == "24h" for _, submit in made)


@pytest.mark.parametrize("days", [1, 2, 3, 7, 15])
@pytest.mark.parametrize("later", range(0, 24 * 8, 17))
def test_what_goes_down_comes_up(days: int, later: int) -> None:
    """Whenever it is made: a story is told to its end or not at all."""
    now = NOW + timedelta(hours=later)
    down: set[str] = set()
    for wave in plan(start_of(now, days), now):
        for action in wave.actions:
            if isinstance(action, Down):
                down.add(action.model)
            if isinstance(action, Up):
                down.remove(action.model)
    assert not down


def test_what_comes_after_is_the_same_whenever_it_is_planned() -> None:
    """Of the same days, but for the last minutes and the stories of the first time."""
    whole = plan(start_of(NOW, 15), NOW, first=False)
    since = NOW - timedelta(days=2)
    later = plan(since, NOW, first=False)
    assert len(later) > 5
    assert [wave for wave in whole if wave.at > since][:-1] == later[:-1]
    assert plan(NOW - timedelta(minutes=5), NOW, first=False) == []


def test_the_clock_moves_on_only() -> None:
    """Neither back nor past its end."""
    clock = MovedClock(NOW, NOW + timedelta(days=1), pace=60)
    clock.move_to(NOW + timedelta(hours=3))
    assert clock() >= NOW + timedelta(hours=3)
    clock.move_to(NOW + timedelta(hours=1))
    assert clock() >= NOW + timedelta(hours=3)
    clock.move_to(NOW + timedelta(days=9))
    assert clock() == NOW + timedelta(days=1)


def test_a_seed_tells_the_fault() -> None:
    """And people's own seeds tell none."""
    assert fault_of(seed_of(4711, "garbled")) == "garbled"
    assert fault_of(seed_of(4712, "none")) == "none"
    assert [fault_of(seed) for seed in (None, 0, 42, 999_999_999, True, "x", 1.5)] == ["none"] * 7


def test_answers_are_the_same_each_time() -> None:
    """So that a request that is asked again after a crash has the same answer; some faults pass."""
    model = BY_NAME["qwen3-max"]
    body = {"model": model.name, "messages": [], "max_tokens": 90, "seed": seed_of(1, "busy_once")}
    assert reply_to(model, body, asked_before=False).status == 429
    again = reply_to(model, body, asked_before=True)
    assert again.status == 200
    assert again == reply_to(model, body, asked_before=True)


def test_the_files_of_a_job_are_its_own() -> None:
    """The same number gives the same file, another one another."""
    for job in JOBS:
        assert list(input_file(job, 5, 1)) == list(input_file(job, 5, 1))
        assert not set(input_file(job, 5, 1)) & set(input_file(job, 5, 2))


def test_a_demo_goes_on_for_a_week() -> None:
    """What was cut off or is older than that begins anew."""
    start = start_of(NOW, 15)
    assert may_go_on(Note(start, NOW - timedelta(days=1)), NOW)
    assert not may_go_on(None, NOW)
    assert not may_go_on(Note(start, None), NOW)
    assert not may_go_on(Note(start, NOW - timedelta(days=1), version=0), NOW)
    assert not may_go_on(Note(start, NOW), NOW + timedelta(days=8))
    assert not may_go_on(Note(start, NOW), NOW - timedelta(hours=1))


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    """Nothing in it is read as a demo, and nothing is taken away."""
    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(NotADemo, match="no demo's folder"):
        DemoFolder(tmp_path).note()
    with pytest.raises(NotADemo):
        DemoFolder(tmp_path).empty()
    with pytest.raises(NotADemo):
        DemoFolder(tmp_path / "precious.txt").note()
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_the_environment_of_the_real_service_is_not_the_demo_s() -> None:
    """Its data folder least of all."""
    assert without_overrides(
        {"NIGHTRATE_STORAGE__DATA_DIR": "/real", "NIGHTRATE_ADMIN_KEY": "k", "PATH": "p"}
    ) == {"PATH": "p"}
