"""Statements as rows, and as JSON: the same statements as the API gives them (SPEC §5.5)."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import pyarrow as pa

from metering.exports.columns import STATEMENT, typed_schema
from metering.exports.formats import texts
from metering.exports.sources import Asked
from metering.statements import frozen
from metering.store import Reader

_HEADING = ("number", "status", "period", "workspace_id", "currency", "issuer", "customer")
_AMOUNTS = ("list_unit_price", "unit_price", "list_amount", "discount_amount", "amount")


def statements_of(read: Reader, asked: Asked) -> list[dict[str, Any]]:
    """The month's statements in this snapshot: as frozen if it is closed, else what they would say by now."""
    period = str(asked.span.period)
    if read.one("closing.period", period=period) is None:
        return asked.statements.drafts(read, asked.span, asked.workspace_id)
    return frozen(read, period, asked.workspace_id)


def statement_rows(read: Reader, asked: Asked) -> Iterator[pa.Table]:
    """A row a line; then the rounding, and what was not charged by count. `amount` adds up to what is paid."""
    schema = typed_schema(STATEMENT)
    for statement in statements_of(read, asked):
        yield pa.Table.from_pylist(list(_lines(statement)), schema=schema)


def _lines(statement: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    heading = {name: statement[name] for name in _HEADING}
    for line in statement["lines"]:
        exact = {name: Decimal(line[name]) for name in _AMOUNTS}
        yield {**heading, "line": "charge", **line, **exact}
    yield {**heading, "line": "rounding", "amount": Decimal(statement["rounding"])}
    for name in ("unmetered_requests", "free_requests"):
        if statement[name]:
            yield {**heading, "line": name, "requests": statement[name], "amount": Decimal(0)}


def statement_json(read: Reader, asked: Asked) -> Iterator[pa.Table]:
    """A JSON list of one object a statement."""
    yield from texts([("[", False)])
    before = ""
    for statement in statements_of(read, asked):
        yield from texts([(f"{before}\n{json.dumps(statement, ensure_ascii=False)}", True)])
        before = ","
    yield from texts([("\n]\n", False)])
