"""Exact values as text, a column at a time: decimals without exponents, moments as ISO 8601 in UTC."""

from collections.abc import Callable
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from metering.exports.columns import Column, Columns, text_schema

_EPOCH = date(1970, 1, 1)
_SAMPLE = 256
"""By so many values is told whether many are the same."""
_DAY, _HOUR, _MINUTE, _SECOND = 86_400_000_000, 3_600_000_000, 60_000_000, 1_000_000


def as_text(table: pa.Table, columns: Columns) -> pa.Table:
    """The rows as a text file has them: `text_schema` of the columns."""
    cells = [_text(_chunk(table[column.name]), column) for column in columns]
    return pa.Table.from_arrays(cells, schema=text_schema(columns))


def _chunk(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _text(cells: pa.Array, column: Column) -> pa.Array:
    cells = cells.cast(column.typed)
    match column.content:
        case "money":
            return _by_value(cells, lambda values: _decimals(values, column.scale, trimmed=True))
        case "fixed":
            return _by_value(cells, lambda values: _decimals(values, column.scale, trimmed=False))
        case "moment":
            return _by_value(cells, lambda values: _moments(values, fraction=True))
        case "second":
            return _by_value(cells, lambda values: _moments(values, fraction=False))
        case _:
            return cells.cast(column.plain)


def _by_value(cells: pa.Array, convert: Callable[[pa.Array], pa.Array]) -> pa.Array:
    """Converts each different value once where many are the same: prices, and moments of one task."""
    if 2 * len(cells.slice(0, _SAMPLE).unique()) > min(len(cells), _SAMPLE):
        return convert(cells)
    encoded = cells.dictionary_encode()
    return convert(encoded.dictionary).take(encoded.indices)


def _decimals(cells: pa.Array, scale: int, *, trimmed: bool) -> pa.Array:
    # Read as whole numbers, since Arrow writes those without an exponent; the point is put in by hand.
    whole_type = pa.decimal128(38, 0)
    units = pa.Array.from_buffers(whole_type, len(cells), cells.buffers(), offset=cells.offset)
    digits = pc.ascii_lpad(_magnitudes(units).cast(pa.string()), scale + 1, "0").cast(pa.binary())
    whole = pc.binary_slice(digits, 0, -scale).cast(pa.string())
    part = pc.binary_slice(digits, -scale).cast(pa.string())
    if trimmed:
        texts = pc.ascii_rtrim(pc.binary_join_element_wise(whole, pc.ascii_rtrim(part, "0"), "."), ".")
    else:
        texts = pc.binary_join_element_wise(whole, part, ".")
    below = pc.less(units, pa.scalar(0, whole_type))
    if not pc.any(below).as_py():
        return texts
    return pc.if_else(below, pc.binary_join_element_wise("-", texts, ""), texts)


def _magnitudes(units: pa.Array) -> pa.Array:
    """Without their signs, and with 64 bits if they have room there: written three times as fast."""
    try:
        return pc.abs_checked(units.cast(pa.int64()))
    except pa.ArrowInvalid:
        return pc.abs(units)


def _moments(cells: pa.Array, *, fraction: bool) -> pa.Array:
    days, rest = _divided(cells.cast(pa.timestamp("us", "UTC")).cast(pa.int64()), _DAY)
    hours, rest = _divided(rest, _HOUR)
    minutes, rest = _divided(rest, _MINUTE)
    seconds, rest = _divided(rest, _SECOND)
    two = pa.array([f"{n:02}" for n in range(60)])
    named = days.dictionary_encode()
    dates = pa.array(
        [
            None if n is None else (_EPOCH + timedelta(days=n)).isoformat()
            for n in named.dictionary.to_pylist()
        ],
        pa.string(),
    )
    parts = [dates.take(named.indices), "T", two.take(hours), ":", two.take(minutes), ":", two.take(seconds)]
    if fraction:
        parts += [".", pc.ascii_lpad(rest.cast(pa.string()), 6, "0")]
    return pc.binary_join_element_wise(*parts, "Z", "")


def _divided(whole: pa.Array, by: int) -> tuple[pa.Array, pa.Array]:
    """Quotient and rest; nothing before 1970 comes here."""
    quotient = pc.divide(whole, by)
    return quotient, pc.subtract(whole, pc.multiply(quotient, by))
