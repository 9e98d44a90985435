"""Which tasks a view shows: a word of the console may stand for several statuses, a search for a name or an id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.filters import TaskView
from dashboard.services import ConsoleServices
from executor.batches import TaskFilter
from executor.tasks import STATUSES, Status, Task, console_status
from metering.access import Access

PAGE_TASKS = 20
"""So that a page of them, with names of any script, stays below 100 kB."""
STATUSES_OF: Mapping[str, tuple[Status, ...]] = {
    word: tuple(s for s in STATUSES if console_status(s) == word) for word in map(console_status, STATUSES)
}


@dataclass(frozen=True, slots=True)
class TaskPage:
    """A page of tasks, newest first, and how many there are on all pages."""

    tasks: Sequence[Task]
    number: int
    total: int

    @property
    def first(self) -> int:
        """The place of this page's first task, from 1."""
        return (self.number - 1) * PAGE_TASKS + 1

    @property
    def last(self) -> int:
        """The place of this page's last task."""
        return self.first + len(self.tasks) - 1


def page_of_tasks(services: ConsoleServices, access: Access, view: TaskView) -> TaskPage:
    """The tasks that a view shows."""
    wanted = TaskFilter(
        statuses=STATUSES_OF[view.status] if view.status else None,
        search=view.search or None,
        workspace_id=view.workspace,
        skip=(view.page - 1) * PAGE_TASKS,
        limit=PAGE_TASKS,
    )
    found = services.batches.list(access, wanted).data
    return TaskPage(found, view.page, services.batches.count(access, wanted))
