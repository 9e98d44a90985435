"""How rows become a file: csv in two profiles, parquet, jsonl and plain text. Always the same bytes for the same rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from metering.exports.columns import Columns, text_schema, typed_schema
from metering.exports.text import as_text

ROW_GROUP_ROWS = 65_536
"""Rows of a parquet row group; fixed, since the database's batches need not be the same twice."""

_FORMULA = "^[\\s\\x00\\x{FEFF}]*[=+\\-@\\x{FF1D}\\x{FF0B}\\x{FF0D}\\x{FF20}]|^[\\t\\r\\n\\x00]"
"""What a spreadsheet would run (OWASP, CSV injection), behind blanks and in full width too."""
_OBJECTS = 8192
"""Rows that are objects of Python at a time."""

Tables = Iterable[pa.Table]
Write = Callable[[BinaryIO, Columns, Tables], int]
"""Writes all rows and tells how many there were."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file."""

    suffix: str
    media_type: str
    write: Write


def write_csv(sink: BinaryIO, columns: Columns, tables: Tables) -> int:
    """UTF-8, commas, line feeds; texts in quotes, nothing for null."""
    return _csv(sink, columns, (as_text(table, columns) for table in tables))


def write_spreadsheet(sink: BinaryIO, columns: Columns, tables: Tables) -> int:
    """As `write_csv`, with a byte order mark and every text cell made harmless by a leading apostrophe."""
    sink.write(b"\xef\xbb\xbf")
    return _csv(sink, columns, (harmless(as_text(table, columns), columns) for table in tables))


def _csv(sink: BinaryIO, columns: Columns, tables: Tables) -> int:
    rows = 0
    options = pa_csv.WriteOptions(batch_size=8192)
    with pa_csv.CSVWriter(sink, text_schema(columns), write_options=options) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows


def write_parquet(sink: BinaryIO, columns: Columns, tables: Tables) -> int:
    """Zstandard, exact decimals, moments in UTC, row groups of `ROW_GROUP_ROWS`."""
    schema = typed_schema(columns)
    rows = 0
    with pq.ParquetWriter(sink, schema, compression="zstd", version="2.6") as writer:
        for group in _regrouped(tables, schema):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            rows += group.num_rows
    return rows


def write_jsonl(sink: BinaryIO, columns: Columns, tables: Tables) -> int:
    """An object a line: counts are numbers, exact amounts and moments are texts, what is missing is null."""
    encoder = msgspec.json.Encoder()
    line = msgspec.defstruct("Line", [column.name for column in columns])
    rows = 0
    for table in tables:
        for batch in as_text(table, columns).to_batches(max_chunksize=_OBJECTS):
            cells = (cells.to_pylist() for cells in batch.columns)
            sink.write(encoder.encode_lines([line(*row) for row in zip(*cells, strict=True)]))
        rows += table.num_rows
    return rows


def write_texts(sink: BinaryIO, columns: Columns, tables: Tables) -> int:
    """Ready-made pieces of a file one after the other: the columns `text` and `counts`, whether it is a row."""
    rows = 0
    for table in tables:
        for piece in table.to_pylist():
            sink.write(piece["text"].encode())
            rows += piece["counts"]
    return rows


def texts(pieces: Iterable[tuple[str, bool]]) -> Iterator[pa.Table]:
    """Pieces for `write_texts`."""
    for text, counts in pieces:
        yield pa.table({"text": [text], "counts": [counts]})


def harmless(table: pa.Table, columns: Columns) -> pa.Table:
    """By the column's content, not the cell's: an amount of -1.5 stays a number, a text "-1.5" does not."""
    cells = [
        _quoted(table[column.name]) if column.content == "text" else table[column.name] for column in columns
    ]
    return pa.Table.from_arrays(cells, schema=table.schema)


def _quoted(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    dangerous = pc.match_substring_regex(cells, _FORMULA)
    if not pc.any(dangerous).as_py():
        return cells
    return pc.if_else(dangerous, pc.binary_join_element_wise("'", cells, ""), cells)


def _regrouped(tables: Tables, schema: pa.Schema) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table.select(schema.names).cast(schema))
        rows += table.num_rows
        while rows >= ROW_GROUP_ROWS:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting = [joined.slice(ROW_GROUP_ROWS)]
            rows -= ROW_GROUP_ROWS
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()
