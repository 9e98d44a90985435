"""Which tasks a view shows: a word of the console may stand for several statuses, a search for a name or an id."""

from collections.abc import Mapping

from dashboard.filters import TaskView
from dashboard.services import ConsoleServices
from executor.batches import TaskFilter
from executor.tasks import STATUSES, Status, Task, console_status
from metering.access import Access
from metering.errors import Refused
from metering.pages import Page

PAGE_TASKS = 50
STATUSES_OF: Mapping[str, tuple[Status, ...]] = {
    word: tuple(s for s in STATUSES if console_status(s) == word) for word in map(console_status, STATUSES)
}


def page_of_tasks(services: ConsoleServices, access: Access, view: TaskView) -> Page[Task]:
    """A page of a view's tasks, newest first."""
    if view.search.startswith("batch_") and (found := _by_id(services, access, view)) is not None:
        return Page([found], has_more=False)
    return services.batches.list(
        access,
        TaskFilter(
            statuses=STATUSES_OF[view.status] if view.status else (),
            ds_name=view.search or None,
            workspace_id=view.workspace,
            after=view.after,
            limit=PAGE_TASKS,
        ),
    )


def _by_id(services: ConsoleServices, access: Access, view: TaskView) -> Task | None:
    try:
        task = services.batches.get(access, view.search)
    except Refused:
        return None
    fits = view.workspace in (None, task.workspace_id) and view.status in (None, console_status(task.status))
    return task if fits else None
