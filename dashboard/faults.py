"""The faults of a file that was refused, line by line, with a way to each line."""

from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import PREFIX, Address
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from executor.tasks import LineError, Task

COLUMNS = (
    Column("Line", number=True),
    Column("Code"),
    Column("What is wrong", wrap=True),
    Column("Field"),
)
SHOWN = 100
"""Faults of a page."""


def faults(_: ConsoleServices, __: Viewer, address: Address, task: Task) -> list[Any]:
    """Why a task failed; nothing for one that didn't."""
    if not task.errors:
        return []
    shown, ways = paged("the faults", task.errors, address, shown=SHOWN)
    body = [parts.table("Faults by line", COLUMNS, [_fault(task, e) for e in shown]), *ways]
    note = f"{writing.plural(len(task.errors), 'fault')}; a line's number shows the line"
    return [parts.panel("Why it failed", body, note=note, classes="faults")]


def _fault(task: Task, error: LineError) -> html.Tr:
    return html.Tr(
        [
            parts.cell("line", _way_to(task, error), error.line, number=True),
            parts.cell("code", html.Code(error.code)),
            parts.cell("message", error.message, classes="wrap"),
            parts.cell("param", error.param or writing.NONE),
        ]
    )


def _way_to(task: Task, error: LineError) -> Any:
    """A button that shows the line as it stands in the file."""
    if error.line is None:
        return writing.NONE
    reads = parts.data(reads=f"{PREFIX}/read/tasks/{task.id}/lines/{error.line}", line=error.line)
    named = {"aria-label": f"Show line {error.line}"}
    return html.Button(writing.count(error.line), className="link", type="button", **reads, **named)
