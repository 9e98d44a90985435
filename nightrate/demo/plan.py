"""What happens in the demo and when: the rhythm of a week, and what breaks it. Pure.

A plan for the same days is the same whenever it is made, so that a demo that has been filled can be
brought up to now by what comes after.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from random import Random
from typing import Any

from nightrate.demo.jobs import BY_NAME_OF_JOB, JOBS, Job

WINDOW_DAYS = 15
_LAST_WAVE_BEFORE = timedelta(minutes=12)
_GO_ON_AFTER = timedelta(minutes=8)
_WORKING_HOURS = (8, 11, 15)
_WEEKEND_HOURS = (7, 15)
_NIGHT_HOUR = 21
_WEEKDAY_TASKS = (4, 3, 4, 3, 3, 2, 1)
"""Tasks of a wave, from Monday on."""
_WEEKDAY_LOADS = (2.4, 2.2, 2.0, 2.1, 1.8, 0.8, 0.6)
"""How large they are."""


@dataclass(frozen=True, slots=True)
class Submit:
    """A task is made."""

    job: Job
    requests: int
    number: int
    """Of the task, for its contents."""
    window: str = "72h"
    acceptable: bool = True
    cancelled_after: int | None = None
    """It is cancelled when so many of its requests are done."""
    retried: bool = False
    """What failed of it is run again when it has ended."""
    left_running: bool = False
    """It is still running when the story has come to now."""


@dataclass(frozen=True, slots=True)
class Down:
    """A model's server fails; what runs on it waits."""

    model: str
    after: int = 0
    """Not before so many requests of its running tasks are done."""


@dataclass(frozen=True, slots=True)
class Up:
    """It answers again."""

    model: str


@dataclass(frozen=True, slots=True)
class Correct:
    """A charge of the last days is corrected."""

    reason: str


@dataclass(frozen=True, slots=True)
class Close:
    """The month before is closed."""


Action = Submit | Down | Up | Correct | Close


@dataclass(frozen=True, slots=True)
class Wave:
    """What happens at one moment."""

    at: datetime
    actions: tuple[Action, ...]


def plan(start: datetime, now: datetime, *, first: bool = True) -> list[Wave]:
    """All waves after `start` up to now. `first`: with the events of a demo's first filling."""
    last = now - _LAST_WAVE_BEFORE
    waves = [wave for day in _days(start, now) for wave in _day(day) if start < wave.at < last]
    for story in _stories(start, now) if first else ():
        if all(start < wave.at < last for wave in story):
            waves += story
    if start < last:
        share = max(0.1, min(1.0, (now - start) / timedelta(days=WINDOW_DAYS)) ** 2)
        waves.append(Wave(last, tuple(_ending(now))))
        waves.append(Wave(last + _GO_ON_AFTER, tuple(_going_on(now, share))))
    return sorted(waves, key=lambda wave: wave.at)


def price_change(start: datetime, now: datetime) -> datetime:
    """The midnight from which on the new price is valid: in the second half of the window."""
    at = start + (now - start) * 0.55 + timedelta(days=1)
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def _days(start: datetime, now: datetime) -> Iterator[datetime]:
    day = datetime.combine(start.date(), time(), start.tzinfo)
    while day < now:
        yield day
        day += timedelta(days=1)


def _day(day: datetime) -> Iterator[Wave]:
    random = Random(day.toordinal())  # noqa: S311  (no secret depends on it)
    weekday = day.weekday()
    hours = _WORKING_HOURS if weekday < 5 else _WEEKEND_HOURS
    for hour in (*hours, _NIGHT_HOUR):
        at = day + timedelta(hours=hour, minutes=random.randrange(50), seconds=random.randrange(60))
        number = day.toordinal() * 1000 + hour * 10
        tasks = 1 if hour == _NIGHT_HOUR else _WEEKDAY_TASKS[weekday]
        jobs = random.sample(JOBS, tasks)
        yield Wave(at, tuple(_usual(random, job, number + n, weekday) for n, job in enumerate(jobs)))


def _usual(random: Random, job: Job, number: int, weekday: int) -> Submit:
    load = _WEEKDAY_LOADS[weekday] * random.lognormvariate(0, 0.35)
    return Submit(job, max(4, round(job.requests * load)), number, retried=random.random() < 0.03)


def _stories(start: datetime, now: datetime) -> Iterator[tuple[Wave, ...]]:
    """What is told of a lively installation beside its rhythm; a story is told to its end or not at all."""
    length = now - start

    def at(part: float, hour: int, minute: int) -> datetime:
        return (start + length * part).replace(hour=hour, minute=minute, second=0, microsecond=0)

    yield from _outages(at)
    yield (Wave(at(0.35, 15, 12), (_submit("Ticket labels", 60, 3, acceptable=False),)),)
    yield (Wave(at(0.8, 9, 41), (_submit("Title rewrites", 90, 4, acceptable=False),)),)
    yield (Wave(at(0.42, 14, 3), (_submit("Contract facts", 2000, 5, cancelled_after=90),)),)
    yield (Wave(at(0.74, 16, 30), (_submit("Product vectors", 20_000, 6, cancelled_after=500),)),)
    yield (Wave(at(0.62, 12, 30), (_submit("Reply drafts", 160, 7, retried=True),)),)
    yield (Wave(at(0.7, 11, 15), (Correct("Agreed in writing: this pilot is free of charge."),)),)
    first_of_month = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    if start < first_of_month:
        yield (Wave(first_of_month + timedelta(hours=30), (Close(),)),)


def _outages(at: Callable[[float, int, int], datetime]) -> Iterator[tuple[Wave, ...]]:
    # The house's own server fails in the evening: a task that may wait a day is not through in time.
    evening = at(0.12, 19, 5)
    labels = _submit("Class labels", 8000, 1, window="24h")
    yield (
        Wave(evening, (labels, Down("house-llama-8b", after=200))),
        Wave(evening + timedelta(hours=26), (Up("house-llama-8b"),)),
    )
    # A provider fails in working hours: nothing is lost, it only takes until the afternoon.
    morning = at(0.5, 10, 20)
    morning -= timedelta(days=max(0, morning.weekday() - 4))
    yield (
        Wave(morning, (_submit("Reply drafts", 1200, 2), Down("qwen-plus", after=60))),
        Wave(morning + timedelta(hours=3, minutes=15), (Up("qwen-plus"),)),
    )


def _submit(job: str, requests: int, number: int, **more: Any) -> Submit:
    return Submit(BY_NAME_OF_JOB[job], requests, number, **more)


def _ending(now: datetime) -> Iterator[Action]:
    """The last minutes: some tasks that end."""
    random = Random(int(now.timestamp()) // 60)  # noqa: S311  (no secret depends on it)
    number = now.toordinal() * 1000 + 990
    one_of_each_model = {job.model: job for job in random.sample(JOBS, len(JOBS))}
    for n, job in enumerate(one_of_each_model.values()):
        yield Submit(job, max(4, job.requests // 2), number + n)


def _going_on(now: datetime, share: float) -> Iterator[Action]:
    """Two that still run when people look, the longer the longer the demo is."""
    number = now.toordinal() * 1000 + 998
    yield _submit("Title rewrites", round(9_000 * share), number, left_running=True)
    yield _submit("Meeting notes", round(4_000 * share), number + 1, left_running=True)
