"""The way of a task through its statuses: what was, when, and what lies ahead."""

from datetime import datetime

from dash import html

from dashboard import parts, writing
from dashboard.viewer import Viewer
from executor.tasks import Task


def timeline(viewer: Viewer, task: Task) -> html.Section:
    """Each step with its moment and how long it took."""
    zone, steps = viewer.zone(), steps_of(task)
    items = [
        html.Li(
            [
                html.Div([word, html.Span(took, className="took")]),
                html.Time(writing.moment(at, zone), dateTime=at.isoformat()) if at else None,
            ],
            className="done" if at else "ahead",
        )
        for (word, at), took in zip(steps, lengths(steps), strict=True)
    ]
    return parts.panel("Timeline", html.Ol(items, className="steps"), note=zone.key)


def lengths(steps: list[tuple[str, datetime | None]]) -> list[str]:
    """How long each step took until the next one that has a moment; nothing for the last and those ahead."""
    moments = [at for _, at in steps]
    told = []
    for place, at in enumerate(moments):
        following = next((later for later in moments[place + 1 :] if later is not None), None)
        known = at is not None and following is not None
        told.append(writing.duration((following - at).total_seconds() * 1000) if known else "")  # type: ignore[operator]
    return told


def steps_of(task: Task) -> list[tuple[str, datetime | None]]:
    """The statuses that a task went through, and those that lie ahead (without a time)."""
    steps: list[tuple[str, datetime | None]] = [("Created, validating", task.created_at)]
    steps += [("Failed", task.failed_at)] if task.failed_at else []
    if task.failed_at and not task.in_progress_at:
        return steps
    if task.in_progress_at or not (task.cancelling_at or task.cancelled_at):
        steps.append(("Executing", task.in_progress_at))
    if task.cancelling_at or task.cancelled_at:
        return [*steps, ("Cancelling", task.cancelling_at), ("Stopped: cancelled", task.cancelled_at)]
    steps.append(("Writing results", task.finalizing_at))
    last = (
        ("Stopped: window passed", task.expired_at) if task.expired_at else ("Completed", task.completed_at)
    )
    return [*steps, last]
