"""Where the rows of an export come from, piece by piece, so that memory does not grow with the ledger.

DuckDB would sort a million wide rows on disk and in memory. Here time is cut into slices that hold about
`SLICE_ROWS` rows each; a slice is read as it lies and sorted alone. Whatever the order in which entries
were made, the slices one after the other are the sorted whole. While one is written the next is read.
"""

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa

from metering.exports.focus import whole_rows
from metering.ranges import Range
from metering.statements import Statements
from metering.store import Reader

SLICE_ROWS = 16_000
SLICE_EVENTS = 200_000
"""Larger, since each slice of events has to look at the whole table of events."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an export is of."""

    span: Range
    statements: Statements
    workspace_id: str | None
    values: Mapping[str, Any]
    """The parameters of its queries."""


@contextmanager
def ahead(tables: Iterable[pa.Table]) -> Iterator[Iterator[pa.Table]]:
    """The same tables, each read while the one before it is used; nothing is being read any more at the end."""
    with ThreadPoolExecutor(1, thread_name_prefix="export-reader") as thread:
        yield _ahead(thread, iter(tables))


def _ahead(thread: ThreadPoolExecutor, tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    coming = thread.submit(next, tables, None)
    while (table := coming.result()) is not None:
        coming = thread.submit(next, tables, None)
        yield table


def charges(read: Reader, asked: Asked) -> Iterator[pa.Table]:
    """Entries of the ledger, by the moment of entry and id."""
    return _by_entry(read, asked, "exports.charges")


def focus(read: Reader, asked: Asked) -> Iterator[pa.Table]:
    """The same entries as FOCUS has them, then the roundings of the period's final statements."""
    for table in _by_entry(read, asked, "focus.rows", identity="x_ChargeId"):
        yield whole_rows(table, asked.values)
    if asked.span.period is not None:
        yield whole_rows(read.table("focus.roundings", **asked.values), asked.values)


def usage(read: Reader, asked: Asked) -> Iterator[pa.Table]:
    """Sums by day, workspace, model, SKU and currency."""
    yield read.table("exports.usage", **asked.values)


def events(read: Reader, asked: Asked) -> Iterator[pa.Table]:
    """Calls of ended tasks, by the task's end, the task and its lines."""
    starts = [
        row["first_end"] for row in read.query("exports.event_slices", rows=SLICE_EVENTS, **asked.values)
    ]
    for start, end in pairwise([*starts, asked.values["end"]]):
        yield _slice(read, "exports.events", asked, start, end, ("ended_at", "task_id", "line_no"))


def _by_entry(read: Reader, asked: Asked, block: str, identity: str = "charge_id") -> Iterator[pa.Table]:
    order = ("recorded_at", identity)
    for start, end in pairwise(_charge_slices(read, asked)):
        yield _slice(read, block, asked, start, end, order)


def _charge_slices(read: Reader, asked: Asked) -> list[datetime]:
    rows = read.query("exports.charge_count", **asked.values)[0]["rows"]
    slices = rows // SLICE_ROWS + 1
    shares = [n / slices for n in range(1, slices)]
    borders = (
        read.query("exports.charge_borders", shares=shares, **asked.values)[0]["borders"] if shares else []
    )
    return [asked.values["start"], *sorted(set(borders or ())), asked.values["end"]]


def _slice(
    read: Reader, block: str, asked: Asked, start: datetime, end: datetime, order: tuple[str, ...]
) -> pa.Table:
    table = read.table(block, **{**asked.values, "start": start, "end": end})
    return table.sort_by([(name, "ascending") for name in order])
