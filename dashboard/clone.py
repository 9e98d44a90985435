"""A task made like another: the create dialogue, filled with what the other was made of."""

import math
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from executor.new_batch import NAME_CHARACTERS
from executor.tasks import Task
from metering.errors import Refused

COPY = " (copy)"
HOURS = 24


def clone_button(services: ConsoleServices, viewer: Viewer, task: Task) -> html.Button:
    """Opens the dialogue; the input file is used again unless it is gone or another is chosen."""
    return parts.button(
        "Clone",
        **parts.data(
            opens="create",
            clone=task.id,
            name=copied_name(task.name or task.id),
            description=task.description or "",
            days=days_of(task.completion_window),
            workspace=task.workspace_id,
            file=_input(services, viewer, task),
        ),
    )


def copied_name(name: str) -> str:
    """The name of a copy, within the limit."""
    return name.removesuffix(COPY)[: NAME_CHARACTERS - len(COPY)] + COPY


def days_of(window: str) -> int:
    """A completion window in whole days, as the dialogue offers them."""
    number, unit = window[:-1], window[-1]
    return int(number) if unit == "d" else math.ceil(int(number) / HOURS)


def _input(services: ConsoleServices, viewer: Viewer, task: Task) -> Any:
    try:
        file = services.files.get(viewer.access, task.input_file_id)
    except Refused:
        return ""
    return f"{file.filename}, {writing.size(file.bytes)}"
