"""Rows on their way into a table: as an Arrow table, or, where they are few, as values bound to the statement."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import msgspec
import pyarrow as pa

_FEW = 3
"""Up to so many rows are sooner there as bound values."""


def are_few(rows: Sequence[Any]) -> bool:
    """Whether `as_values` is the faster way, for rows that it takes: mappings."""
    return len(rows) <= _FEW and isinstance(rows[0], Mapping)


def as_values(rows: Sequence[Mapping[str, Any]]) -> tuple[str, str, list[Any]]:
    """Mappings of the same keys as the columns, the marks and the values of a statement."""
    row = f"({', '.join('?' * len(rows[0]))})"
    return ", ".join(rows[0]), ", ".join([row] * len(rows)), [value for row in rows for value in row.values()]


def as_table(rows: Sequence[Any]) -> pa.Table:
    """Mappings of the same keys, dataclasses or structs by column."""
    first = rows[0]
    if isinstance(first, Mapping):
        return pa.table({name: [row[name] for row in rows] for name in first})
    if isinstance(first, msgspec.Struct):  # half the time that reading them field by field takes
        values = zip(*map(msgspec.structs.astuple, rows), strict=True)
        return pa.table(dict(zip(first.__struct_fields__, values, strict=True)))
    return pa.table({field.name: list(map(attrgetter(field.name), rows)) for field in fields(first)})
