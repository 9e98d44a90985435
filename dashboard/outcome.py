"""What came of a task, drawn: why calls failed, how long they took, and why one that runs does not move."""

from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.failures import Failures, failures_of, failures_so_far
from dashboard.filters import PREFIX, Address
from dashboard.latency import latency_chart
from dashboard.parts import Column
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from executor.tasks import Task

FAILURE_COLUMNS = (
    Column("HTTP status"),
    Column("Error code"),
    Column("Calls", number=True),
    Column("Share", number=True),
    Column("Examples", wrap=True),
)
WAITS = {
    "queue": "Other tasks of this model are ahead; it takes turns with them.",
    "rate_limit": "The upstream asked to slow down (429); it is asked again after the pause it wished.",
    "outage": "The upstream does not answer. It is probed until it does; nothing counts as failed meanwhile.",
    "disk": "The data folder takes no writes, or has too little room; it goes on by itself when that is over.",
    "model_gone": "The settings no longer name its model; name it again, or cancel the task.",
    "ending_failed": "Its end could not be written down; that is tried again by itself, and the log says why.",
}

NOBODY_SENDS = (
    "Nobody is there to send requests: the cluster is gone, or has no room. They go out as soon as it is back; "
    "nothing counts as failed meanwhile."
)


def waiting_banner(services: ConsoleServices, viewer: Viewer, task: Task) -> Any:
    """Why a running task does not move, and what happens next."""
    live = services.live(task.id) if not task.settled else None
    if live is None or live.waiting is None:
        return None
    waiting = live.waiting
    since = writing.moment(waiting.since, viewer.zone())
    title = html.Strong(f"Waits: {waiting.reason.replace('_', ' ')}", **parts.data(field="waiting"))
    where = f" ({waiting.upstream})" if waiting.upstream else ""
    nobody = waiting.reason == "outage" and not waiting.upstream
    what = NOBODY_SENDS if nobody else WAITS.get(waiting.reason, "")
    return html.P([title, f"{where} since {since}. ", what], className="banner", role="note")


def speed_cards(services: ConsoleServices, viewer: Viewer, task: Task) -> list[Any]:
    """How fast a running task goes and when it ends if that goes on."""
    live = services.live(task.id) if task.status == "in_progress" else None
    if live is None:
        return []
    end, rate = live.estimated_end_at, live.requests_per_second
    return [
        parts.card("Requests per second", "requests_per_second", rate, writing.number(rate), "lately"),
        parts.card(
            "Estimated end",
            "estimated_end_at",
            end,
            writing.short_moment(end, viewer.now, viewer.zone()),
            "if it goes on like this",
        ),
    ]


def retry_button(task: Task) -> html.Button | None:
    """Asks, then makes a task of what failed or never ran; none where nothing is left to run again."""
    left = task.total - task.completed
    if not task.settled or task.status == "failed" or (task.in_progress_at is not None and not left):
        return None
    because = (
        f"A new task asks the {writing.plural(left, 'request')} that failed or never ran again, with the same "
        "settings. What succeeded is not asked and not charged twice."
    )
    return parts.button(
        "Retry failed",
        **parts.data(
            ask=f"Retry what failed in “{task.name or task.id}”?",
            because=because,
            yes="Retry failed",
            no="Not now",
            mild="",
            does=f"{PREFIX}/do/tasks/{task.id}/retry",
        ),
    )


def partial_button(task: Task) -> html.A | None:
    """The results that are certain by now, while a task runs."""
    if task.settled or not task.output_bytes:
        return None
    return parts.download_button("Partial results", f"{PREFIX}/download/tasks/{task.id}/partial.jsonl")


def outcome(services: ConsoleServices, viewer: Viewer, address: Address, task: Task) -> list[Any]:
    """Failures and durations of an ended task; of a running one, how calls failed so far."""
    if not task.settled:
        return _so_far(services, viewer, task)
    if task.status == "failed":
        return []
    failures = failures_of(services, viewer.access, task)
    drawn: list[Any] = [_failures(failures)] if failures else []
    if task.completed:
        chart = latency_chart(services.glance.durations(viewer.access, task.id), viewer.theme)
        drawn.append(
            parts.chart(chart, address, f"{PREFIX}/download/tasks/{task.id}/durations.csv", tall=True)
        )
    return drawn


def _so_far(services: ConsoleServices, viewer: Viewer, task: Task) -> list[Any]:
    found = failures_so_far(services, viewer.access, task) if task.failed else []
    told = sum(f.calls for f in found)
    note = "free of charge" if told == task.failed else f"of the first {writing.count(told)}; free of charge"
    return [_failures(found, "Failed calls so far", note)] if found else []


def _failures(
    found: list[Failures],
    title: str = "Failed calls",
    note: str = "free of charge; every one is in the error file",
) -> html.Section:
    calls = sum(f.calls for f in found)
    rows = [
        html.Tr(
            [
                parts.cell("status_code", writing.exact(f.status_code) or "no answer", f.status_code),
                parts.cell("error_code", html.Code(f.error_code) if f.error_code else writing.NONE),
                parts.cell("calls", writing.count(f.calls), f.calls, number=True),
                parts.cell("share", writing.share(f.calls / calls), number=True),
                parts.cell("examples", _examples(f), classes="wrap"),
            ]
        )
        for f in found
    ]
    table = parts.table("Failed calls by status and code", FAILURE_COLUMNS, rows)
    return parts.panel(title, table, note=note, classes="failed")


def _examples(found: Failures) -> Any:
    if not found.examples:
        return html.Span("see the error file", className="note")
    return [
        html.Div([html.Code(e.custom_id), " ", html.Span(e.message, className="note")])
        for e in found.examples
    ]
