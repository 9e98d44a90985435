"""Who is told that a task has ended, and whether they took it."""

from typing import Any
from urllib.parse import urlsplit

from dash import html

from dashboard import writing
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from executor.tasks import Task
from executor.webhooks.outbox import Delivery


def notified(services: ConsoleServices, viewer: Viewer, task: Task) -> Any | None:
    """A line for each address, of which only the host is shown: the rest may be a secret."""
    lines = [_line(viewer, delivery) for delivery in services.outbox.of_task(task.id)]
    return html.Div(lines) if lines else None


def _line(viewer: Viewer, delivery: Delivery) -> html.Div:
    host = urlsplit(delivery.url).hostname
    return html.Div([html.Code(host, className="cut"), html.Div(_state(viewer, delivery), className="note")])


def _state(viewer: Viewer, delivery: Delivery) -> str:
    zone = viewer.zone()
    if delivery.delivered_at is not None:
        return f"told {writing.moment(delivery.delivered_at, zone)}"
    if delivery.error is None:
        return "to be told now"
    tried = writing.plural(delivery.attempts, "attempt")
    if delivery.given_up_at is not None:
        return f"given up after {tried}: {delivery.error}"
    return f"{tried}, the next {writing.moment(delivery.due_at, zone)}: {delivery.error}"
