"""Which tasks a view shows: a word of the console may stand for several statuses, a search for a name or an id."""

from collections.abc import Mapping

from dashboard.filters import TaskView
from dashboard.services import ConsoleServices
from executor.batches import TaskFilter
from executor.tasks import STATUSES, Status, Task, console_status
from metering.access import Access
from metering.pages import Page

PAGE_TASKS = 50
STATUSES_OF: Mapping[str, tuple[Status, ...]] = {
    word: tuple(s for s in STATUSES if console_status(s) == word) for word in map(console_status, STATUSES)
}


def page_of_tasks(services: ConsoleServices, access: Access, view: TaskView) -> Page[Task]:
    """A page of a view's tasks, newest first."""
    wanted = TaskFilter(
        statuses=STATUSES_OF[view.status] if view.status else None,
        search=view.search or None,
        workspace_id=view.workspace,
        after=view.after,
        limit=PAGE_TASKS,
    )
    return services.batches.list(access, wanted)
