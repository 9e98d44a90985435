"""Rows as lines of JSON, many at a time: the texts between the values are put in by one pass over columns."""

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from metering.exports.columns import Column, Columns

LINES_AT_ONCE = 16_384
_QUOTE, _BACKSLASH, _FIRST_PRINTABLE = 34, 92, 32


def json_lines(table: pa.Table, columns: Columns) -> pa.Buffer:
    """An object a line, of rows as `as_text` gives them: texts are texts, numbers are numbers, what is missing is null."""
    parts: list[str | pa.Array] = []
    before = "{"
    for column, cells in zip(columns, table.columns, strict=True):
        opened, values, closed = _values(cells.combine_chunks(), column)
        parts += [f'{before}"{column.name}":{opened}', values]
        before = f"{closed},"
    lines = pc.binary_join_element_wise(*parts, f"{before[:-1]}}}\n", "")
    return lines.buffers()[2]


def _values(cells: pa.Array, column: Column) -> tuple[str, pa.Array, str]:
    """A value of JSON a row, and what stands before and after each of them."""
    if column.content == "number":
        return "", _numbers(cells), ""
    if not pa.types.is_string(cells.type):
        return "", cells.cast(pa.string()).fill_null("null"), ""
    texts = _escaped(cells)
    if texts.null_count:
        return "", pc.binary_join_element_wise('"', texts, '"', "").fill_null("null"), ""
    return '"', texts, '"'


def _numbers(cells: pa.Array) -> pa.Array:
    """As JSON writes them, with the fewest digits that give the same number."""
    texts = msgspec.json.encode(cells.to_pylist())[1:-1].split(b",")
    return pa.array(texts, pa.binary()).cast(pa.string())


def _escaped(cells: pa.Array) -> pa.Array:
    """Texts as they stand between the quotes of JSON."""
    if not _wants_escapes(cells):
        return cells
    encoded = cells.dictionary_encode()
    texts = [msgspec.json.encode(text)[1:-1].decode() for text in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)


def _wants_escapes(cells: pa.Array) -> bool:
    _, offsets, content = cells.buffers()
    if content is None:
        return False
    places = np.frombuffer(offsets, np.int32)
    bytes_of = np.frombuffer(content, np.uint8)[places[cells.offset] : places[cells.offset + len(cells)]]
    special = (bytes_of < _FIRST_PRINTABLE) | (bytes_of == _QUOTE) | (bytes_of == _BACKSLASH)
    return bool(special.any())
