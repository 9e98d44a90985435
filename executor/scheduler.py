"""Whose request is next: workspaces take turns, and so do the tasks within a workspace."""

from collections import OrderedDict

from executor.request import Request
from executor.run import TaskRun


class Scheduler:
    """The running tasks of one model."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, OrderedDict[str, TaskRun]] = OrderedDict()

    def add(self, run: TaskRun) -> None:
        """Lets a task take part."""
        self._turns.setdefault(run.task.workspace_id, OrderedDict())[run.task.id] = run

    def remove(self, run: TaskRun) -> None:
        """Takes a task out; nothing happens if it isn't in."""
        runs = self._turns.get(run.task.workspace_id)
        if runs and runs.get(run.task.id) is run:
            del runs[run.task.id]
            if not runs:
                del self._turns[run.task.workspace_id]

    def runs(self) -> list[TaskRun]:
        """All tasks that take part."""
        return [run for runs in self._turns.values() for run in runs.values()]

    def next(self, now: float, *, fresh: bool) -> tuple[TaskRun, Request] | None:
        """The next request; its workspace and its task then wait until the others had their turn.

        With `fresh` false only requests that were read before, since there is no room for more bodies.
        """
        for workspace_id, runs in list(self._turns.items()):
            for task_id, run in list(runs.items()):
                request = run.next_request(now, fresh=fresh)
                if request is not None:
                    runs.move_to_end(task_id)
                    self._turns.move_to_end(workspace_id)
                    return run, request
        return None

    def next_due(self) -> float | None:
        """The first monotonic moment at which a waiting request may go again."""
        return min((due for run in self.runs() if (due := run.next_due()) is not None), default=None)
