"""Batch inference: the list of tasks, live."""

from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import PREFIX, STATUS_WORDS, Address, TaskView, task_href
from dashboard.parts import Column
from dashboard.reading import workspace_names
from dashboard.services import ConsoleServices
from dashboard.tasklist import TaskPage, page_of_tasks
from dashboard.viewer import Viewer
from executor.tasks import Task, console_status

COLUMNS = (
    Column("Task"),
    Column("Model and workspace"),
    Column("Status"),
    Column("Task progress"),
    Column("Created", number=True),
    Column("Ended", number=True),
    Column("Actions", number=True),
)
WAYS = ("Newest", "Newer tasks", "Older tasks")
SEARCH = "Search task name or ID"
SLOW = 10
"""Requests a second below which their tenths are told."""
SAMPLE_HREF = f"{PREFIX}/download/sample.jsonl"


def head(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Name, what can be done, and the filters."""
    view, names = TaskView.of(address), workspace_names(services, viewer.access)
    return [
        parts.head(
            "Batch inference",
            "Half the price of real time, for requests that can wait.",
            parts.download_button("Download sample file", SAMPLE_HREF),
            parts.button("Create Batch Task", primary=True, **parts.data(opens="create")),
        ),
        parts.bar(
            parts.choice("Workspace", "workspace", [("", "All"), *names.items()], view.workspace or ""),
            parts.choice(
                "Status", "status", [("", "All"), *[(w, w) for w in STATUS_WORDS]], view.status or ""
            ),
            parts.entry(SEARCH, "search", view.search, size="wide", hint=SEARCH, kind="search"),
        ),
    ]


def live(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """A page of tasks, newest first."""
    view, names = TaskView.of(address), workspace_names(services, viewer.access)
    page = page_of_tasks(services, viewer.access, view)
    if not page.tasks:
        return [html.Div(_nothing(view), className="panel")]
    rows = [task_row(services, viewer, task, names) for task in page.tasks]
    table = html.Section(
        parts.table("Tasks", COLUMNS, rows), className="panel tasks", **{"aria-label": "Tasks"}
    )
    return [table, _pages(address, page)]


def _nothing(view: TaskView) -> html.Div:
    if view.filtered or view.page > 1:
        return parts.empty("No task matches", parts.link("Show all tasks", f"{PREFIX}/"))
    hint = "Download the sample file, then create a task with it: it takes a minute and shows the whole way."
    return parts.empty("No tasks yet", hint)


def _pages(address: Address, page: TaskPage) -> html.Nav:
    places = f"{writing.count(page.first)}–{writing.count(page.last)} of {writing.count(page.total)}"
    return parts.pages("Pages", places, address, page.number, more=page.last < page.total, words=WAYS)


def task_row(services: ConsoleServices, viewer: Viewer, task: Task, names: dict[str, str]) -> html.Tr:
    """A task with the hooks of SPEC §10."""
    word, zone = console_status(task.status), viewer.zone()
    title = failure_of(task) if task.status == "failed" else None
    name = parts.link(task.name or "Unnamed task", task_href(task.id))
    created = html.Time(
        writing.short_moment(task.created_at, viewer.now, zone), title=writing.moment(task.created_at, zone)
    )
    ended = task.ended_at or task.failed_at
    where = names.get(task.workspace_id, task.workspace_id)
    workspace = html.Div(where, className="note", **parts.data(field="workspace_id", value=task.workspace_id))
    return parts.row(
        task.id,
        [
            parts.cell(
                "name",
                [html.Div(name, className="name"), html.Div(task.id, className="id")],
                task.name,
            ),
            parts.cell("model", [html.Div(task.model or writing.NONE), workspace], task.model),
            parts.cell("status", parts.pill(word, title), task.status),
            parts.cell(
                "request_counts",
                parts.progress(task.completed, task.failed, task.total, note_of(services, viewer, task)),
            ),
            parts.cell("created_at", created, task.created_at, number=True, classes="note"),
            parts.cell(
                "ended_at", writing.short_moment(ended, viewer.now, zone), ended, number=True, classes="note"
            ),
            parts.cell("actions", action_of(task), number=True),
        ],
        status=task.status,
        completed=task.completed,
        failed=task.failed,
        total=task.total,
        workspace_id=task.workspace_id,
    )


def action_of(task: Task) -> Any:
    """What can be done with a task now."""
    if task.status in ("validating", "in_progress"):
        return cancel_button(task)
    if task.status in ("completed", "expired", "cancelled"):
        return parts.link("View Results", task_href(task.id))
    return parts.link("View Errors", task_href(task.id)) if task.status == "failed" else None


def cancel_button(task: Task, look: str = "link") -> html.Button:
    """Asks, then cancels."""
    return html.Button(
        "Cancel Task",
        className=look,
        type="button",
        **parts.data(
            ask=f"Cancel “{task.name or task.id}”?",
            because="No new request is started. What is done by then is delivered and billed; the rest costs nothing.",
            yes="Cancel Task",
            no="Keep running",
            does=f"{PREFIX}/do/tasks/{task.id}/cancel",
        ),
    )


def failure_of(task: Task) -> str:
    """Why a task failed, in a line."""
    if not task.errors:
        return "The file is not acceptable."
    first, more = task.errors[0], len(task.errors) - 1
    where = f"line {first.line}: " if first.line is not None else ""
    return f"{where}{first.message}" + (f" (+ {more} more)" if more else "")


def note_of(services: ConsoleServices, viewer: Viewer, task: Task) -> Any:
    """The line under the progress: speed and end, why it waits, what it cost, why it failed."""
    if task.status == "failed":
        text = failure_of(task)
        return html.Span(text, title=text)
    if task.settled:
        return settled_note(task)
    running = services.live(task.id)
    return running_note(running, viewer) if running is not None else None


def settled_note(task: Task) -> str:
    """What came of an ended task."""
    facts: list[str] = [task.status] if task.status != "completed" else []
    facts += [f"{writing.count(task.failed)} failed"] if task.failed else []
    facts += [writing.money(task.amount, task.currency)] if task.currency and task.amount is not None else []
    return " · ".join(facts)


def running_note(running: Any, viewer: Viewer) -> str | None:
    """How fast a task goes, or why it does not move."""
    zone = viewer.zone()
    if running.waiting is not None:
        reason = running.waiting.reason.replace("_", " ")
        return f"waits: {reason} since {writing.short_moment(running.waiting.since, viewer.now, zone)}"
    rate = running.requests_per_second
    facts = [f"{writing.number(rate, 0 if rate >= SLOW else 1)}/s"] if rate else []
    if running.estimated_end_at is not None:
        facts.append(f"ends about {writing.short_moment(running.estimated_end_at, viewer.now, zone)}")
    return " · ".join(facts) or None
