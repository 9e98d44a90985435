"""What is known of running tasks beside their rows: for the batch object, the console and /metrics.

Everything is read from other threads while the dispatch loop goes on: single values, copied first.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from executor.lane import Lane
from executor.life import TaskLife, Waiting
from executor.recorder import Recorder
from executor.run import TaskRun
from metering.clock import Clock
from metering.store import Store

_RATE_SECONDS = 30.0
_RATE_ROUNDS = 3
"""Requests of a minute each may all end in the same second: the rate is that of some whole rounds."""
_RATE_COMMITS = 256
_COMMITS_APART_SECONDS = 1.0
"""Commits that are further apart than this and than a request is long were not of steady work."""
_SHORTEST_SECONDS = 0.001
_QUEUED_SECONDS = 2.0
"""A task without anything under way for less than this is only between two requests."""


@dataclass(frozen=True, slots=True)
class Live:
    """What is known of a task that isn't settled."""

    requests_per_second: float
    estimated_end_at: datetime | None
    waiting: Waiting | None


class Speeds:
    """How many outcomes of each task were committed lately."""

    def __init__(self) -> None:
        self._commits: dict[str, deque[tuple[float, int]]] = {}

    def add(self, task_id: str, outcomes: int, seconds_each: float = 0.0) -> None:
        """So many were committed now, of requests that take so many seconds each."""
        self.add_at(time.monotonic(), task_id, outcomes, seconds_each)

    def add_at(self, now: float, task_id: str, outcomes: int, seconds_each: float = 0.0) -> None:
        """So many were committed at the monotonic moment `now`."""
        commits = self._commits.setdefault(task_id, deque(maxlen=_RATE_COMMITS))
        # Of long requests the rounds are remembered, though some ends in every moment of a round.
        apart = _RATE_ROUNDS * seconds_each / _RATE_COMMITS
        if commits and now - commits[-1][0] < apart:
            commits[-1] = (commits[-1][0], commits[-1][1] + outcomes)
        else:
            commits.append((now, outcomes))

    def forget(self, task_id: str) -> None:
        """The task is settled."""
        self._commits.pop(task_id, None)

    def per_second(self, task_id: str, begun: float, seconds_each: float = 0.0) -> float:
        """Lately, of requests that take so many seconds each; not before the monotonic moment `begun`."""
        return self.per_second_at(time.monotonic(), task_id, begun, seconds_each)

    def per_second_at(self, now: float, task_id: str, begun: float, seconds_each: float = 0.0) -> float:
        """The rate as it is at the monotonic moment `now`: of half a minute, or of some rounds if they are longer.

        The span begins with a commit, whose outcomes belong to what was before, or where the task began.
        """
        commits = [commit for commit in self._commits.get(task_id, deque()).copy() if commit[0] > begun]
        oldest = now - max(_RATE_SECONDS, _RATE_ROUNDS * seconds_each)
        before = max((at for at, _ in commits if at <= oldest), default=begun)
        start = before if before >= oldest - max(seconds_each, _COMMITS_APART_SECONDS) else oldest
        if len(commits) == _RATE_COMMITS:
            start = max(start, commits[0][0])  # what was committed before is no longer known
        start = max(start, begun)
        recent = [(at, count) for at, count in commits if at > start]
        if not recent or recent[-1][0] <= oldest:
            return 0.0
        # The time since the last commit tells of a stall only once it is longer than it was between them.
        busy = recent[-1][0] - start
        usual = max(busy / len(recent), seconds_each)
        stalled = max(0.0, now - recent[-1][0] - usual)
        return sum(count for _, count in recent) / (busy + stalled)


class LiveView:
    """Derives figures from the lives and lanes of an engine."""

    def __init__(
        self,
        store: Store,
        recorder: Recorder,
        lanes: Mapping[str, Sequence[Lane]],
        lives: Mapping[str, TaskLife],
        speeds: Speeds,
        clock: Clock,
    ) -> None:
        self._store = store
        self._recorder = recorder
        self._lanes = lanes
        self._lives = lives
        self._speeds = speeds
        self._clock = clock
        self.disk_full_since: datetime | None = None
        """Since when dispatch pauses because there is little room; none while there is enough."""
        self.storage_failed_since: datetime | None = None
        """Since when nothing can be made durable; none while it can."""
        self.engine_down_since: datetime | None = None
        """Since when nobody is there to make attempts; none while there is."""

    def runs(self) -> list[TaskRun]:
        """The tasks that are executed now."""
        return [run for life in list(self._lives.values()) if (run := life.run) is not None]

    def busy(self) -> bool:
        """Whether any task isn't settled."""
        return bool(self._lives)

    def live(self, task_id: str) -> Live | None:
        """Speed, estimated end and why it waits, of a task that isn't settled."""
        life = self._lives.get(task_id)
        if life is None:
            return None
        run = life.run
        if run is None:
            return Live(0.0, None, self._waiting(life))
        rate = self._speeds.per_second(task_id, run.begun, run.cost.seconds)
        return Live(round(rate, 3), self._end(run, rate), self._waiting(life))

    def _end(self, run: TaskRun, rate: float) -> datetime | None:
        """When it will end at that rate: with its window at the latest, or with its grace once it is stopped."""
        if run.ends_by is not None:
            return self._end_of_stopped(run, run.ends_by)
        under_way = len(run.attempts)
        if under_way > run.cost.finished > 0:  # most of the first round is still to come, all at once
            rate = max(rate, under_way / max(run.cost.seconds, _SHORTEST_SECONDS))
        if rate <= 0:
            return None
        return min(self._clock() + timedelta(seconds=run.remaining / rate), run.task.expires_at)

    def _end_of_stopped(self, run: TaskRun, ends_by: datetime) -> datetime:
        """Of all that remains only what is under way is still waited for."""
        now = self._clock()
        begun = max((attempt.begun for attempt in run.attempts.copy()), default=None)
        if begun is None or not run.cost.seconds:
            return now if begun is None else max(now, ends_by)
        left = max(0.0, begun + run.cost.seconds - time.monotonic())
        return max(now, min(now + timedelta(seconds=left), ends_by))

    def _waiting(self, life: TaskLife) -> Waiting | None:
        run = life.run
        if self.storage_failed_since is not None and not (run and run.attempts):
            return Waiting("disk", self.storage_failed_since)
        if run is None or run.uncommitted >= run.remaining:
            return life.waiting
        return self._held_up(run) or (life.waiting if run.attempts else self._idle(run) or life.waiting)

    def _held_up(self, run: TaskRun) -> Waiting | None:
        """What keeps a task from getting on, though it may still have requests under way."""
        if self.engine_down_since is not None:
            return Waiting("outage", self.engine_down_since)
        states = [(lane, lane.down_since) for lane in self._lanes[run.model.name]]
        lanes = [lane for lane, down_since in states if down_since is None]
        if not lanes:
            return Waiting("outage", *max((since, lane.label) for lane, since in states if since is not None))
        if run.pushed_back_since is None or not all(lane.pushbacks for lane in lanes):
            return None
        seconds = time.monotonic() - max(lane.pushed_back_since for lane in lanes)
        sure = seconds >= _QUEUED_SECONDS or all(lane.refuses for lane in lanes)
        return Waiting("rate_limit", self._ago(seconds)) if sure else None

    def _idle(self, run: TaskRun) -> Waiting | None:
        """Why nothing of a task is under way."""
        if self.disk_full_since is not None:
            return Waiting("disk", self.disk_full_since)
        now, quiet_since = time.monotonic(), run.quiet_since or self._clock()
        if (pushed_back := run.pushed_back_since) is not None:
            return Waiting("rate_limit", min(quiet_since, self._ago(now - pushed_back)))
        if any(lane.opens_at(now) > now for lane in self._lanes[run.model.name]):
            return Waiting("rate_limit", quiet_since)
        return None if quiet_since > self._ago(_QUEUED_SECONDS) else Waiting("queue", quiet_since)

    def _ago(self, seconds: float) -> datetime:
        return self._clock() - timedelta(seconds=seconds)

    # -- for /metrics ------------------------------------------------------------------------------

    def in_flight(self) -> dict[str, int]:
        """Requests under way, per model."""
        return {model: sum(lane.limit.in_flight for lane in lanes) for model, lanes in self._lanes.items()}

    def pending(self) -> dict[str, int]:
        """Requests of running tasks that are not under way, per model."""
        counts = dict.fromkeys(self._lanes, 0)
        for run in self.runs():
            counts[run.model.name] += run.pending
        return counts

    def oldest_pending_seconds(self) -> float:
        """Age of the oldest task that has requests waiting."""
        ages = [self._clock() - run.task.created_at for run in self.runs() if run.pending]
        return max((age.total_seconds() for age in ages), default=0.0)

    def concurrency_limits(self) -> dict[tuple[str, str], int]:
        """How many requests may be under way, per model and upstream."""
        return {(lane.model, lane.label): lane.limit.limit for lane in self._each_lane()}

    def upstreams_up(self) -> dict[tuple[str, str], int]:
        """1 for every upstream, 0 during its outage."""
        return {(lane.model, lane.label): int(lane.up) for lane in self._each_lane()}

    def recorder_queue(self) -> int:
        """Outcomes that wait for their commit."""
        return self._recorder.backlog

    def tasks_by_status(self) -> dict[str, int]:
        """How many tasks have each status."""
        return {row["status"]: row["tasks"] for row in self._store.query("engine.statuses")}

    def _each_lane(self) -> list[Lane]:
        return [lane for lanes in self._lanes.values() for lane in lanes]
