"""One task: facts, the way through its statuses, files, bill, and the faults of a file that was refused."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.bill import charge_rows, charges_of_task
from dashboard.calls import calls
from dashboard.clone import clone_button
from dashboard.faults import faults
from dashboard.filters import PREFIX, Address
from dashboard.notified import notified
from dashboard.outcome import outcome, partial_button, retry_button, speed_cards, waiting_banner
from dashboard.pages.tasks import cancel_button, note_of
from dashboard.parts import Column
from dashboard.reading import workspace_names
from dashboard.services import ConsoleServices
from dashboard.timeline import timeline
from dashboard.viewer import Viewer
from executor.tasks import Task, console_status
from metering.errors import NotFound, Refused

BILL_COLUMNS = (
    Column("Token kind"),
    Column("Tokens", number=True),
    Column("Price per million", number=True),
    Column("Real-time amount", number=True),
    Column("Saved", number=True),
    Column("Charged", number=True),
    Column("Calls"),
)
Draw = Callable[[ConsoleServices, Viewer, Address], list[Any]]


def read(services: ConsoleServices, viewer: Viewer, address: Address) -> Task:
    """The task of an address; refused if the caller may not see it."""
    return services.batches.get(viewer.access, address.tail("/tasks/"))


def of_task(draw: Callable[[ConsoleServices, Viewer, Address, Task], list[Any]]) -> Draw:
    """A section of a task's page; nothing where there is no such task, which the head says."""

    def drawn(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
        try:
            task = read(services, viewer, address)
        except NotFound:
            return []
        return [part for part in draw(services, viewer, address, task) if part is not None]

    return drawn


def head(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The task's name and what it is for."""
    above = [parts.link("Batch inference", f"{PREFIX}/"), " / Task"]
    try:
        task = read(services, viewer, address)
    except NotFound as missing:
        hint = "It may have been removed, or it belongs to a workspace that you may not see."
        told = html.Div(parts.empty(missing.message, hint), className="panel", role="alert")
        return [parts.head("Task not found", above=above), told]
    doing = [
        partial_button(task),
        retry_button(task),
        clone_button(services, viewer, task),
        cancel_button(task, "btn") if task.status in ("validating", "in_progress") else None,
    ]
    return [parts.head(task.name or task.id, _said(task), *[b for b in doing if b is not None], above=above)]


def _said(task: Task) -> list[Any]:
    described = [task.description, html.Br()] if task.description else []
    return [*described, html.Code(task.id)]


def state(services: ConsoleServices, viewer: Viewer, _: Address, task: Task) -> list[Any]:
    """Where it stands."""
    hooks = parts.data(
        id=task.id, status=task.status, completed=task.completed, failed=task.failed, total=task.total
    )
    sections = [
        _now(services, viewer, task),
        waiting_banner(services, viewer, task),
        _cards(services, viewer, task),
    ]
    return [html.Div(sections, **hooks)]


def facts(services: ConsoleServices, viewer: Viewer, _: Address, task: Task) -> list[Any]:
    """What it is, its files, and its way."""
    drawn = [_facts(services, viewer, task), timeline(viewer, task), _files(services, viewer, task)]
    return [html.Div(drawn, className="three")]


def _now(services: ConsoleServices, viewer: Viewer, task: Task) -> html.Div:
    note = note_of(services, viewer, task) if task.status != "failed" else None
    return html.Div(
        [
            html.Div([parts.pill(console_status(task.status))], **parts.data(field="status")),
            html.Div(_progress(task, note), className="grow"),
        ],
        className="now",
    )


def _progress(task: Task, note: Any) -> Any:
    if task.status == "failed" and not task.total:
        return html.Span("Nothing was run, and nothing is charged.", className="note")
    return parts.progress(task.completed, task.failed, task.total, note)


def _cards(services: ConsoleServices, viewer: Viewer, task: Task) -> html.Div | None:
    if task.status == "failed" and not task.total:
        return None
    rest = task.total - task.completed - task.failed
    counts = [
        parts.card("Succeeded", "completed", task.completed, writing.count(task.completed)),
        parts.card(
            "Failed",
            "failed",
            task.failed,
            writing.count(task.failed),
            "free of charge" if task.failed else "",
        ),
    ]
    if task.settled and rest:
        counts.append(
            parts.card("Never executed", "never_executed", rest, writing.count(rest), "free of charge")
        )
    money = _money_cards(task) if task.amount is not None else []
    return parts.cards(counts, speed_cards(services, viewer, task), _tokens_card(task), money)


def _tokens_card(task: Task) -> list[Any]:
    if task.input_tokens is None or task.output_tokens is None:
        return []
    both = (("input_tokens", task.input_tokens, "in"), ("output_tokens", task.output_tokens, "out"))
    kinds = [
        html.Span(
            f"{writing.compact(count)}\u00a0{word}",
            title=writing.count(count),
            **parts.data(metric=name, value=count),
        )
        for name, count, word in both
    ]
    total = task.input_tokens + task.output_tokens
    return [parts.card("Tokens", "total_tokens", total, writing.compact(total), [kinds[0], ", ", kinds[1]])]


def _money_cards(task: Task) -> list[Any]:
    assert task.amount is not None
    at_list = task.list_amount or Decimal(0)
    if task.currency is None:
        return [parts.card("Charged", "amount", task.amount, "Free", "a free model")]
    return [
        parts.money_card("At real-time price", "list_amount", at_list, task.currency),
        parts.money_card("Charged", "amount", task.amount, task.currency),
        parts.money_card("Saved", "discount_amount", at_list - task.amount, task.currency),
    ]


def _facts(services: ConsoleServices, viewer: Viewer, task: Task) -> html.Section:
    names, zone = workspace_names(services, viewer.access), viewer.zone()
    facts = [
        ("Model", task.model),
        ("Workspace", names.get(task.workspace_id, task.workspace_id)),
        ("Endpoint", html.Code(task.endpoint)),
        ("Longest wait", _window(task.completion_window)),
        ("Ends by", writing.moment(task.expires_at, zone)),
        (
            "Repeats the rest of",
            parts.link(task.retry_of, f"{PREFIX}/tasks/{task.retry_of}") if task.retry_of else None,
        ),
        ("Metadata", _metadata(task)),
        ("Notified", notified(services, viewer, task)),
    ]
    drawn = [part for k, v in facts if v for part in (html.Dt(k), html.Dd(v))]
    return parts.panel("Facts", html.Dl(drawn, className="facts"))


def _window(text: str) -> str:
    number, unit = text[:-1], text[-1]
    return writing.plural(int(number), "day" if unit == "d" else "hour") if number.isdigit() else text


def _metadata(task: Task) -> Any:
    own = {k: v for k, v in (task.metadata or {}).items() if not k.startswith("ds_")}
    return html.Code(", ".join(f"{k}={v}" for k, v in own.items())) if own else None


def _files(services: ConsoleServices, viewer: Viewer, task: Task) -> html.Section:
    kinds = (
        ("Result file", task.output_file_id, "No request succeeded"),
        ("Error file", task.error_file_id, "No request failed"),
        ("Input file", task.input_file_id, ""),
    )
    drawn: list[Any] = []
    for title, file_id, none in kinds:
        waits = (
            "Ready when the task ends"
            if not task.settled
            else none
            if task.status != "failed"
            else writing.NONE
        )
        drawn += [html.Dt(title), html.Dd(_file(services, viewer, title, file_id) if file_id else waits)]
    return parts.panel("Files", html.Dl(drawn, className="facts"))


def _file(services: ConsoleServices, viewer: Viewer, title: str, file_id: str) -> Any:
    try:
        file = services.files.get(viewer.access, file_id)
    except Refused:
        return html.Span("deleted or expired", className="note")
    named = {"aria-label": f"Download {title.lower()}"}
    saved = parts.download_link("Download", f"{PREFIX}/download/files/{file_id}", **named)
    shown = [html.Div(file.filename, className="note cut")] if title == "Input file" else []
    return [saved, html.Span(f" {writing.size(file.bytes)}", className="note"), *shown]


def bill(services: ConsoleServices, viewer: Viewer, _: Address, task: Task) -> list[Any]:
    """The ledger's lines of the task."""
    if task.amount is None:
        return []
    charges = charges_of_task(services, viewer.access, task.id)
    if not charges:
        why = "The model is free." if task.currency is None else "No request succeeded with a token count."
        return [parts.panel("Bill", parts.empty("Nothing is charged", why))]
    table = parts.table("Bill", BILL_COLUMNS, charge_rows(charges))
    note = f"{task.currency}, dated {writing.moment(task.ended_at, viewer.zone())}"
    return [parts.panel("Bill", table, note=note)]


SECTIONS: Mapping[str, Draw] = {
    "task": of_task(state),
    "faults": of_task(faults),
    "facts": of_task(facts),
    "outcome": of_task(outcome),
    "bill": of_task(bill),
    "calls": of_task(calls),
}
"""What came of it before the long list of its calls."""
