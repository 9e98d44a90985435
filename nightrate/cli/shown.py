"""How answers look in a terminal: tables to standard output, progress and remarks to standard error."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

PIPED_WIDTH = 400
"""Columns for output that is not a terminal: nothing is cut off there."""

Column = tuple[str, str]
"""A heading and the field below it; a heading that begins with `>` is for numbers."""


class Screen:
    """Where a command writes."""

    def __init__(self) -> None:
        self.out = Console(highlight=False)
        self.err = Console(stderr=True, highlight=False)
        if not self.out.is_terminal:
            self.out = Console(highlight=False, width=PIPED_WIDTH)

    def say(self, text: str) -> None:
        """A remark for people, on standard error, so that standard output can be piped."""
        self.err.print(escape(text), soft_wrap=True)

    def json(self, value: object) -> None:
        """The value as indented JSON, without any markup."""
        print(json.dumps(value, indent=2, ensure_ascii=False))

    def rows(self, columns: Sequence[Column], rows: Iterable[dict[str, Any]], *, empty: str) -> None:
        """A table; if there is nothing in it, the sentence `empty` instead."""
        listed = list(rows)
        if not listed:
            return self.say(empty)
        table = Table(box=None, header_style="bold", pad_edge=False)
        for heading, _ in columns:
            right = heading.startswith(">")
            table.add_column(heading.lstrip(">"), justify="right" if right else "left", overflow="fold")
        for row in listed:
            table.add_row(*(escape(_cell(row.get(field))) for _, field in columns))
        return self.out.print(table)

    @contextmanager
    def bytes_bar(self, label: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """A bar over bytes; call what it gives with the bytes done so far."""
        columns = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
        with self._progress(*columns) as progress:
            task = progress.add_task(label, total=total)
            yield lambda done: progress.update(task, completed=done)

    @contextmanager
    def steps_bar(self, label: str) -> Iterator[Callable[[int, int], None]]:
        """A bar over steps; call what it gives with those done and all of them. It ends with the last."""
        with self._progress(TimeElapsedColumn(), TimeRemainingColumn()) as progress:
            bar = progress.add_task(label, total=None)

            def progressed(done: int, total: int) -> None:
                progress.update(bar, completed=done, total=total)
                if done == total:
                    progress.stop()

            yield progressed

    @contextmanager
    def audit_bar(self) -> Iterator[Callable[[dict[str, Any]], None]]:
        """A bar over the bytes of result files; call what it gives with each sign of progress."""
        columns = (DownloadColumn(), TextColumn("{task.fields[tasks]}"), TimeRemainingColumn())
        with self._progress(*columns) as progress:
            bar = progress.add_task("Auditing", total=None, tasks="")

            def progressed(step: dict[str, Any]) -> None:
                told = f"{step['tasks']:,} of {step['tasks_total']:,} tasks"
                progress.update(bar, completed=step["bytes"], total=step["bytes_total"], tasks=told)

            yield progressed

    @contextmanager
    def requests_bar(self) -> Iterator["RequestsBar"]:
        """A bar over the requests of a running task."""
        columns = (MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), _EndColumn(), TimeElapsedColumn())
        with self._progress(*columns) as progress:
            yield RequestsBar(progress)

    def _progress(self, *more: ProgressColumn) -> Progress:
        base = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
        return Progress(*base, *more, console=self.err, disable=not self.err.is_terminal)


class RequestsBar:
    """A task's requests: done of all, how many a second, when it will be through."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("Validating", total=None, rate="", ends=None)

    def show(self, batch: dict[str, Any]) -> None:
        """Draws a batch object as the API gives it."""
        counts, own = batch["request_counts"], batch.get("nightrate") or {}
        rate = own.get("requests_per_second")
        self._progress.update(
            self._task,
            description=_doing(batch, own),
            total=counts["total"] or None,
            completed=counts["completed"] + counts["failed"],
            rate=f"{float(rate):,.1f}/s" if rate else "",
            ends=own.get("estimated_end_at"),
        )


class _EndColumn(ProgressColumn):
    """When the service expects the task to end."""

    def render(self, task: Any) -> Text:
        ends = task.fields.get("ends")
        return Text(f"ends about {local_time(ends)}" if ends else "", style="progress.remaining")


def _doing(batch: dict[str, Any], own: dict[str, Any]) -> str:
    waiting = own.get("waiting")
    reason = f" (waiting: {waiting['reason']})" if waiting else ""
    failed = batch["request_counts"]["failed"]
    return (
        str(batch["status"]).capitalize().replace("_", " ")
        + reason
        + (f", {failed} failed" if failed else "")
    )


def utc_time(seconds: object) -> str:
    """Unix seconds or ISO 8601 as `2026-03-01 12:00:00` in UTC; nothing for nothing."""
    moment = _moment(seconds)
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def local_time(seconds: object) -> str:
    """The time of day where the command runs."""
    moment = _moment(seconds)
    return "" if moment is None else moment.astimezone().strftime("%H:%M:%S")


def _moment(value: object) -> datetime | None:
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC)
    return datetime.fromisoformat(value) if isinstance(value, str) else None


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
