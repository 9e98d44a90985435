"""The calls of an ended task on its page, each with a way to its request and to its line of the result file."""

from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.bill import charges_of_task
from dashboard.filters import PREFIX, Address
from dashboard.parts import Column
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from executor.tasks import Task
from metering.calls import CallPart, CallSums
from metering.store import Row

SHOWN = 25
COLUMNS = (
    Column("Line", number=True),
    Column("Custom ID"),
    Column("Outcome"),
    Column("Input tokens", number=True),
    Column("Cached", number=True),
    Column("Output tokens", number=True),
    Column("Reasoning", number=True),
    Column("Duration", number=True),
    Column("Answer"),
)
TOKENS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


def calls(services: ConsoleServices, viewer: Viewer, address: Address, task: Task) -> list[Any]:
    """A page of calls and what all of them come to; nothing of a task that runs or that was refused."""
    if not task.settled or task.status == "failed" or not task.completed + task.failed:
        return []
    part = _part(services, viewer, address, task)
    sums = services.calls.sums(viewer.access, task.id, part)
    if not sums.calls:
        gone = parts.empty(
            "These calls are no longer kept",
            "The ledger and the digests remain; so do files until they expire.",
        )
        return [parts.panel("Calls", gone)]
    after = int(address.get("call")) if address.get("call").isdecimal() else 0
    page = services.calls.page(viewer.access, task.id, part, after=after, limit=SHOWN)
    rows = [_row(task, call) for call in page.data]
    body = [parts.table("Calls", COLUMNS, [*rows, _sum(sums)])]
    body += _ways(address, after, page.data[-1]["line_no"] if page.has_more else None)
    whole = (
        [parts.link("All calls", address.with_(tier=None, mode=None, call=None).href)] if part.metered else []
    )
    return [parts.panel("Calls", body, *whole, note=_about(address, part))]


def _part(services: ConsoleServices, viewer: Viewer, address: Address, task: Task) -> CallPart:
    tier, mode = address.get("tier"), address.get("mode")
    if not (tier and mode):
        return CallPart()
    charge = next(
        (c for c in charges_of_task(services, viewer.access, task.id) if c["kind"] == "usage"), None
    )
    price = services.prices.price(charge["price_id"]) if charge else None
    return CallPart.of_charge(price, tier, mode) if price else CallPart()


def _about(address: Address, part: CallPart) -> str:
    if part.metered is None:
        return "in the order of the input file; a line's number shows the request"
    return f"only those of tier {address.get('tier')}, {address.get('mode')}"


def _row(task: Task, call: Row) -> html.Tr:
    line, code = call["line_no"], call["error_code"]
    failed = call["outcome"] == "failed"
    word = (
        f"{call['status_code'] or 'no answer'} {code or ''}".strip()
        if failed
        else "unmetered"
        if call["unmetered"]
        else "succeeded"
    )
    thinking = html.Div("thinking", className="note") if call["thinking"] else None
    return parts.row(
        f"{task.id}:{line}",
        [
            parts.cell(
                "line_no", _reads(task, "lines", line, writing.count(line), "Request of"), line, number=True
            ),
            parts.cell("custom_id", html.Code(call["custom_id"][:60]), call["custom_id"]),
            parts.cell(
                "outcome", [html.Span(word, className="bad" if failed else None), thinking], call["outcome"]
            ),
            *[parts.cell(name, writing.count(call[name]), call[name], number=True) for name in TOKENS],
            parts.cell(
                "duration_ms", writing.duration(call["duration_ms"]), call["duration_ms"], number=True
            ),
            html.Td(_reads(task, "results", line, "Answer", "Answer to")),
        ],
        outcome=call["outcome"],
    )


def _reads(task: Task, what: str, line: int, text: str, title: str) -> html.Button:
    said = f"{title} line {writing.count(line)}"
    hooks = parts.data(reads=f"{PREFIX}/read/tasks/{task.id}/{what}/{line}", line=line, title=said)
    return html.Button(text, className="link", type="button", **hooks, **{"aria-label": said})


def _sum(sums: CallSums) -> html.Tr:
    tokens = [
        parts.cell(name, writing.count(getattr(sums, name)), getattr(sums, name), number=True)
        for name in TOKENS
    ]
    title = parts.cell("calls", writing.plural(sums.calls, "call"), sums.calls, number=True)
    return parts.row(
        "sum of calls", [title, html.Td(), html.Td(), *tokens, html.Td(), html.Td()], classes="sum"
    )


def _ways(address: Address, after: int, last: int | None) -> list[html.Nav]:
    links = [parts.link("First calls", address.with_(call=None).href)] if after else []
    links += [parts.link("Next calls", address.with_(call=str(last)).href)] if last is not None else []
    return [html.Nav(links, className="pages", **{"aria-label": "Pages of the calls"})] if links else []
