"""How rows become a file: csv in two profiles, parquet, jsonl and plain text. Always the same bytes for the same rows."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from metering.exports.columns import Columns, text_schema, typed_schema
from metering.exports.formula import ARROW_PATTERN
from metering.exports.json_lines import LINES_AT_ONCE, json_lines
from metering.exports.text import as_text

ROW_GROUP_ROWS = 32_768
"""Rows of a parquet row group; fixed, since the database's batches need not be the same twice."""


Tables = Iterable[pa.Table]
Prepare = Callable[[pa.Table, Columns], pa.Table]
"""Turns rows of the database into what the file has; the next rows are prepared while these are written."""


class Sink(Protocol):
    """Where the bytes of a file go."""

    def write(self, content: Any, /) -> int:
        """Takes all of them."""


Write = Callable[[Sink, Columns, Tables], int]
"""Writes all prepared rows and tells how many there were."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file."""

    suffix: str
    media_type: str
    prepare: Prepare
    write: Write


def write_csv(sink: Sink, columns: Columns, tables: Tables) -> int:
    """UTF-8, commas, line feeds; texts in quotes, nothing for null."""
    rows = 0
    options = pa_csv.WriteOptions(batch_size=8192)
    with pa_csv.CSVWriter(sink, text_schema(columns), write_options=options) as writer:
        for table in tables:
            writer.write_table(table)
            rows += table.num_rows
    return rows


def write_spreadsheet(sink: Sink, columns: Columns, tables: Tables) -> int:
    """As `write_csv`, with a byte order mark."""
    sink.write(b"\xef\xbb\xbf")
    return write_csv(sink, columns, tables)


def write_parquet(sink: Sink, columns: Columns, tables: Tables) -> int:
    """Zstandard, exact decimals, moments in UTC, row groups of `ROW_GROUP_ROWS`."""
    schema = typed_schema(columns)
    rows = 0
    with pq.ParquetWriter(sink, schema, compression="zstd", version="2.6") as writer:
        for group in _regrouped(tables):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            rows += group.num_rows
    return rows


def write_jsonl(sink: Sink, columns: Columns, tables: Tables) -> int:
    """An object a line: counts are numbers, exact amounts and moments are texts, what is missing is null."""
    rows = 0
    for table in tables:
        for first in range(0, table.num_rows, LINES_AT_ONCE):
            sink.write(json_lines(table.slice(first, LINES_AT_ONCE), columns))
        rows += table.num_rows
    return rows


def write_texts(sink: Sink, columns: Columns, tables: Tables) -> int:
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


def as_it_is(table: pa.Table, columns: Columns) -> pa.Table:
    """Rows that are ready."""
    return table


def as_typed(table: pa.Table, columns: Columns) -> pa.Table:
    """Rows with the types of a database."""
    schema = typed_schema(columns)
    return table.select(schema.names).cast(schema)


def as_harmless_text(table: pa.Table, columns: Columns) -> pa.Table:
    """Rows as text, with every text cell made harmless by a leading apostrophe.

    By the column's content, not the cell's: an amount of -1.5 stays a number, a text "-1.5" does not.
    """
    texts = as_text(table, columns)
    cells = [
        _quoted(texts[column.name]) if column.content == "text" else texts[column.name] for column in columns
    ]
    return pa.Table.from_arrays(cells, schema=texts.schema)


def _quoted(cells: pa.ChunkedArray) -> pa.ChunkedArray:
    dangerous = pc.match_substring_regex(cells, ARROW_PATTERN)
    if not pc.any(dangerous).as_py():
        return cells
    return pc.if_else(dangerous, pc.binary_join_element_wise("'", cells, ""), cells)


def _regrouped(tables: Tables) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        while rows >= ROW_GROUP_ROWS:
            joined = pa.concat_tables(waiting)
            yield joined.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting = [joined.slice(ROW_GROUP_ROWS)]
            rows -= ROW_GROUP_ROWS
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()
