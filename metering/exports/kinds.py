"""Which files there are: each kind with its rows, and the formats in which it comes (SPEC §7)."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from metering.exports import sources
from metering.exports.beancount import beancount
from metering.exports.columns import CHARGES, EVENTS, STATEMENT, USAGE, Columns
from metering.exports.focus import FOCUS
from metering.exports.formats import (
    Format,
    as_harmless_text,
    as_it_is,
    as_typed,
    write_csv,
    write_jsonl,
    write_parquet,
    write_spreadsheet,
    write_texts,
)
from metering.exports.papers import statement_json, statement_rows
from metering.exports.sources import Asked
from metering.exports.text import as_text
from metering.exports.workbook import write_workbook
from metering.ledger import charge_json
from metering.store import Reader

Source = Callable[[Reader, Asked], Iterable[pa.Table]]
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
FORMATS: Mapping[tuple[str, str], Format] = {
    ("csv", "machine"): Format("csv", "text/csv; charset=utf-8", as_text, write_csv),
    ("csv", "spreadsheet"): Format("csv", "text/csv; charset=utf-8", as_harmless_text, write_spreadsheet),
    ("xlsx", "spreadsheet"): Format("xlsx", _XLSX, as_harmless_text, write_workbook),
    ("parquet", "machine"): Format("parquet", "application/vnd.apache.parquet", as_typed, write_parquet),
    ("jsonl", "machine"): Format("jsonl", "application/x-ndjson", as_text, write_jsonl),
    ("json", "machine"): Format("json", "application/json", as_it_is, write_texts),
    ("beancount", "machine"): Format("beancount", "text/plain; charset=utf-8", as_it_is, write_texts),
}
"""The files that exist, by format and profile."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of export."""

    about: str
    columns: Columns
    formats: tuple[str, ...]
    """The first is the one that is meant when none is named."""
    rows: Source
    profiles: tuple[str, ...] = ("machine", "spreadsheet")
    facts: Callable[[Reader, Asked], dict[str, Any]] = lambda read, asked: ledger_facts(read, asked)
    """What the manifest says beside rows and hash."""
    by_month: bool = False
    """Whether it is of a period only."""
    other_rows: Mapping[str, Source] | None = None
    """What is written instead of `rows`, by format."""

    def rows_for(self, form: str) -> Source:
        """Where the rows of a format come from."""
        return (self.other_rows or {}).get(form, self.rows)


def ledger_facts(read: Reader, asked: Asked) -> dict[str, Any]:
    """Sums of the exported entries: requests, tokens, amounts by currency, price ids."""
    totals = read.query("exports.totals", **asked.values)
    return {
        "requests": sum(row["requests"] for row in totals),
        "tokens": {name: sum(row[name] for row in totals) for name in ("input_tokens", "output_tokens")},
        "amounts": [_amounts(row) for row in totals],
        "price_ids": [row["price_id"] for row in read.query("exports.price_ids", **asked.values)],
    }


def event_facts(read: Reader, asked: Asked) -> dict[str, Any]:
    """Sums of the exported calls, and what their tasks were charged when they ended."""
    [totals] = read.query("exports.event_totals", **asked.values)
    bill = read.query("exports.event_bill", **asked.values)
    return {
        "requests": totals["requests"],
        "tokens": {name: totals[name] for name in ("input_tokens", "output_tokens")},
        "amounts": [_amounts(row) for row in bill],
        "price_ids": sorted({price_id for row in bill for price_id in row["price_ids"]}),
    }


def _amounts(row: Mapping[str, Any]) -> dict[str, Any]:
    return charge_json({name: row[name] for name in ("currency", "list_amount", "discount_amount", "amount")})


_TABLES = ("csv", "xlsx", "parquet", "jsonl")
KINDS: Mapping[str, Kind] = {
    "charges": Kind("the ledger, by time and id", CHARGES, _TABLES, sources.charges),
    "usage": Kind("sums per day, workspace, model, SKU and currency", USAGE, _TABLES, sources.usage),
    "statement": Kind(
        "statements of a month, line by line",
        STATEMENT,
        ("csv", "xlsx", "json"),
        statement_rows,
        by_month=True,
        other_rows={"json": statement_json},
    ),
    "events": Kind(
        "calls of ended tasks with their tokens",
        EVENTS,
        ("csv", "parquet", "jsonl"),
        sources.events,
        facts=event_facts,
    ),
    "focus": Kind("FinOps FOCUS 1.2", FOCUS, ("csv", "parquet"), sources.focus, profiles=("machine",)),
    "ledger": Kind("double entry of a month's statements", (), ("beancount",), beancount, by_month=True),
}
"""The exports that exist."""
