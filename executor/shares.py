"""Equal shares of the requests under way: for every workspace, and for every task within one.

Whoever has the fewest requests under way is next. Among equals it is who has had the least time at
the upstreams so far, which matters where there are fewer places than tasks, and then who has waited
longest. Every step costs O(log n), whatever the number of tasks. Pure.
"""

from heapq import heapify, heappop, heappush, heapreplace
from typing import Generic, TypeAlias, TypeVar

from executor.run import TaskRun

_LEAD_SECONDS = 600.0
"""The most that a past advantage, in seconds of one request under way, is held against anybody."""
_SPARE_ENTRIES = 64


class Seat:
    """A task's or a workspace's place in the order."""

    __slots__ = ("entry", "in_flight", "seconds", "waits")

    def __init__(self) -> None:
        self.in_flight = 0
        self.seconds = 0.0
        """How long its requests that ended were under way, in sum; counted from where the others stood."""
        self.waits = False
        """Whether it has something to start."""
        self.entry: Entry | None = None
        """What stands for it in the heap; none if it is the only one that waits."""


Entry: TypeAlias = tuple[int, float, int, Seat]
S = TypeVar("S", bound=Seat)


class Turns(Generic[S]):
    """Who of some seats is next. An entry of the heap that its seat no longer names is dead."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, float, int, S]] = []
        self._only: S | None = None
        """The only one that waits needs no heap."""
        self._order = 0
        self._floor = 0.0
        """How far those who had their turn are; who comes anew starts there, with neither debt nor credit."""
        self.waiting = 0
        """How many have something to start."""

    def join(self, seat: S) -> None:
        """It has something to start."""
        if seat.waits:
            return
        seat.waits = True
        seat.seconds = max(seat.seconds, self._floor)
        self.waiting += 1
        if self.waiting == 1:
            self._only = seat
            return
        if self._only is not None:
            self._place(self._only)
            self._only = None
        self._place(seat)

    def leave(self, seat: S) -> None:
        """It has nothing to start for now."""
        if not seat.waits:
            return
        seat.waits, seat.entry = False, None
        self.waiting -= 1
        if self.waiting <= 1:
            self._only = self.first() if self.waiting else None
            self._heap.clear()
            if self._only is not None:
                self._only.entry = None

    def first(self) -> S | None:
        """Who is next."""
        if self._only is not None:
            return self._only
        heap = self._heap
        while heap:
            entry = heap[0]
            if entry[3].entry is entry:
                return entry[3]
            heappop(heap)
        return None

    def started(self, seat: S, *, in_turn: bool) -> None:
        """It has one more request under way; `in_turn` if it was the first."""
        seat.in_flight += 1
        if in_turn and seat.seconds > self._floor:
            self._floor = seat.seconds
        before = seat.entry
        if before is None:
            return
        self._order += 1
        seat.entry = entry = (seat.in_flight, seat.seconds, self._order, seat)
        if self._heap[0] is before:
            heapreplace(self._heap, entry)
        else:
            heappush(self._heap, entry)

    def ended(self, seat: S, requests: int, seconds: float) -> None:
        """So many of its requests are no longer under way; they were for so long in sum."""
        seat.in_flight -= requests
        used, most = seat.seconds + seconds, self._floor + _LEAD_SECONDS
        seat.seconds = used if used < most else most
        if seat.entry is not None:
            self._place(seat)

    def _place(self, seat: S) -> None:
        self._order += 1
        seat.entry = entry = (seat.in_flight, seat.seconds, self._order, seat)
        heappush(self._heap, entry)
        if len(self._heap) > 2 * self.waiting + _SPARE_ENTRIES:
            self._heap = [entry for entry in self._heap if entry[3].entry is entry]
            heapify(self._heap)


class _Workspace(Seat):
    __slots__ = ("id", "tasks", "turns")

    def __init__(self, workspace_id: str) -> None:
        super().__init__()
        self.id = workspace_id
        self.turns: Turns[TaskSeat] = Turns()
        self.tasks = 0


class TaskSeat(Seat):
    """A task's place among those of its workspace."""

    __slots__ = ("run", "workspace")

    def __init__(self, run: TaskRun, workspace: _Workspace) -> None:
        super().__init__()
        self.run = run
        self.workspace = workspace


class Shares:
    """Workspaces in turn, and within each its tasks in turn."""

    def __init__(self) -> None:
        self._turns: Turns[_Workspace] = Turns()
        self._workspaces: dict[str, _Workspace] = {}
        self._seats: dict[TaskRun, TaskSeat] = {}

    def __contains__(self, run: TaskRun) -> bool:
        return run in self._seats

    @property
    def waiting(self) -> bool:
        """Whether any task has something to start."""
        return self._turns.waiting > 0

    def add(self, run: TaskRun, in_flight: int = 0) -> None:
        """A task takes part, with something to start, and so many requests under way already."""
        workspace_id = run.task.workspace_id
        workspace = self._workspaces.get(workspace_id)
        if workspace is None:
            workspace = self._workspaces[workspace_id] = _Workspace(workspace_id)
        workspace.tasks += 1
        seat = self._seats[run] = TaskSeat(run, workspace)
        seat.in_flight = in_flight
        self._turns.ended(workspace, -in_flight, 0.0)
        self.wake(run)

    def drop(self, run: TaskRun) -> None:
        """A task takes no part any more; what it has under way doesn't count either."""
        self.rest(run)
        seat = self._seats.pop(run, None)
        if seat is not None:
            self._turns.ended(seat.workspace, seat.in_flight, 0.0)
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
        seat = None if workspace is None else workspace.turns.first()
        return None if seat is None else seat.run

    def started(self, run: TaskRun, *, in_turn: bool) -> None:
        """A request of a task is under way; `in_turn` if the task was the first here."""
        seat = self._seats.get(run)
        if seat is not None:
            workspace = seat.workspace
            workspace.turns.started(seat, in_turn=in_turn)
            self._turns.started(workspace, in_turn=in_turn)

    def ended(self, run: TaskRun, seconds: float) -> None:
        """A request of a task is no longer under way, after so many seconds."""
        seat = self._seats.get(run)
        if seat is not None:
            workspace = seat.workspace
            workspace.turns.ended(seat, 1, seconds)
            self._turns.ended(workspace, 1, seconds)

    def in_flight(self, run: TaskRun) -> int:
        """The requests of a task that are under way."""
        seat = self._seats.get(run)
        return 0 if seat is None else seat.in_flight

    def part_of(self, run: TaskRun) -> float | None:
        """The part of the model that is this task's equal share; none while it has nothing to start."""
        seat = self._seats.get(run)
        if seat is None or not seat.waits:
            return None
        return 1 / (self._turns.waiting * seat.workspace.turns.waiting)
