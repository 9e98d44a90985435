"""Equal shares of the requests under way: for every workspace, and for every task within one.

Whoever has the fewest requests under way is next. Among equals it is who has had the least time at
the upstreams so far, which matters where there are fewer places than tasks, and then who has waited
longest. Every step costs O(log n), whatever the number of tasks. Pure; moments are monotonic seconds.
"""

import heapq
import itertools
from typing import TypeAlias

from executor.run import TaskRun

_LEAD_SECONDS = 600.0
"""The most that a past advantage, in seconds of one request under way, is held against anybody."""
_SPARE_ENTRIES = 64


class Seat:
    """A task's or a workspace's place in the order."""

    __slots__ = ("entry", "in_flight", "seconds", "since")

    def __init__(self) -> None:
        self.in_flight = 0
        self.seconds = 0.0
        """The sum of the times of its requests, until `since`; counted from where the others stood."""
        self.since = 0.0
        self.entry: Entry | None = None
        """Its entry in the heap; none while it has nothing to start."""


Entry: TypeAlias = tuple[int, float, int, Seat]


class Turns:
    """Who of some seats is next. An entry of the heap that its seat no longer names is dead."""

    def __init__(self) -> None:
        self._heap: list[Entry] = []
        self._order = itertools.count()
        self._floor = 0.0
        """How far those who had their turn are; who comes anew starts there, with neither debt nor credit."""
        self.waiting = 0
        """How many have something to start."""

    def join(self, seat: Seat) -> None:
        """It has something to start."""
        if seat.entry is None:
            self.waiting += 1
            seat.seconds = max(seat.seconds, self._floor)
            self._place(seat)

    def leave(self, seat: Seat) -> None:
        """It has nothing to start for now."""
        if seat.entry is not None:
            self.waiting -= 1
            seat.entry = None

    def first(self) -> Seat | None:
        """Who is next."""
        heap = self._heap
        while heap:
            entry = heap[0]
            if entry[3].entry is entry:
                return entry[3]
            heapq.heappop(heap)
        return None

    def changed(self, seat: Seat, by: int, now: float, *, in_turn: bool = False) -> None:
        """It has so many more, or fewer, requests under way; `in_turn` if it got one since it was its turn."""
        if seat.in_flight and now > seat.since:
            used = seat.seconds + seat.in_flight * (now - seat.since)
            seat.seconds = min(used, self._floor + _LEAD_SECONDS)
        if in_turn and seat.seconds > self._floor:
            self._floor = seat.seconds
        seat.since = now
        seat.in_flight += by
        if seat.entry is not None:
            self._place(seat)

    def _place(self, seat: Seat) -> None:
        seat.entry = (seat.in_flight, seat.seconds, next(self._order), seat)
        heapq.heappush(self._heap, seat.entry)
        if len(self._heap) > 2 * self.waiting + _SPARE_ENTRIES:
            self._heap = [entry for entry in self._heap if entry[3].entry is entry]
            heapq.heapify(self._heap)


class _Workspace(Seat):
    __slots__ = ("id", "tasks", "turns")

    def __init__(self, workspace_id: str) -> None:
        super().__init__()
        self.id = workspace_id
        self.turns = Turns()
        self.tasks = 0


class _TaskSeat(Seat):
    __slots__ = ("run", "workspace")

    def __init__(self, run: TaskRun, workspace: _Workspace) -> None:
        super().__init__()
        self.run = run
        self.workspace = workspace


class Shares:
    """Workspaces in turn, and within each its tasks in turn."""

    def __init__(self) -> None:
        self._turns = Turns()
        self._workspaces: dict[str, _Workspace] = {}
        self._seats: dict[TaskRun, _TaskSeat] = {}

    def __contains__(self, run: TaskRun) -> bool:
        return run in self._seats

    def __len__(self) -> int:
        return len(self._seats)

    def add(self, run: TaskRun, now: float, in_flight: int = 0) -> None:
        """A task takes part, with something to start, and so many requests under way already."""
        workspace_id = run.task.workspace_id
        workspace = self._workspaces.get(workspace_id)
        if workspace is None:
            workspace = self._workspaces[workspace_id] = _Workspace(workspace_id)
        seat = self._seats[run] = _TaskSeat(run, workspace)
        workspace.tasks += 1
        self._change(seat, in_flight, now)
        self.wake(run)

    def drop(self, run: TaskRun, now: float) -> None:
        """A task takes no part any more; what it has under way doesn't count either."""
        self.rest(run)
        seat = self._seats.pop(run, None)
        if seat is not None:
            self._change(seat, -seat.in_flight, now)
            seat.workspace.tasks -= 1
            if not seat.workspace.tasks:
                del self._workspaces[seat.workspace.id]

    def rest(self, run: TaskRun) -> None:
        """A task has nothing to start for now."""
        seat = self._seats.get(run)
        if seat is not None:
            turns = seat.workspace.turns
            turns.leave(seat)
            if not turns.waiting:
                self._turns.leave(seat.workspace)

    def wake(self, run: TaskRun) -> None:
        """A task has something to start."""
        seat = self._seats.get(run)
        if seat is not None:
            seat.workspace.turns.join(seat)
            self._turns.join(seat.workspace)

    def first(self) -> TaskRun | None:
        """The task whose turn it is; none if no task has anything to start."""
        workspace = self._turns.first()
        seat = workspace.turns.first() if isinstance(workspace, _Workspace) else None
        return seat.run if isinstance(seat, _TaskSeat) else None

    def started(self, run: TaskRun, now: float, *, in_turn: bool) -> None:
        """A request of a task is under way; `in_turn` if the task was the first here."""
        seat = self._seats.get(run)
        if seat is not None:
            self._change(seat, 1, now, in_turn=in_turn)

    def ended(self, run: TaskRun, now: float) -> None:
        """A request of a task is no longer under way."""
        seat = self._seats.get(run)
        if seat is not None:
            self._change(seat, -1, now)

    def in_flight(self, run: TaskRun) -> int:
        """The requests of a task that are under way."""
        seat = self._seats.get(run)
        return 0 if seat is None else seat.in_flight

    def part_of(self, run: TaskRun) -> float | None:
        """The part of the model that is this task's equal share; none while it has nothing to start."""
        seat = self._seats.get(run)
        if seat is None or seat.entry is None:
            return None
        return 1 / (self._turns.waiting * seat.workspace.turns.waiting)

    def _change(self, seat: _TaskSeat, by: int, now: float, *, in_turn: bool = False) -> None:
        seat.workspace.turns.changed(seat, by, now, in_turn=in_turn)
        self._turns.changed(seat.workspace, by, now, in_turn=in_turn)
