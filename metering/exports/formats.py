"""How rows become a file: csv in two profiles, and parquet. Batch by batch, and always the same bytes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from metering.exports.columns import Column, text_schema, typed_schema

ROW_GROUP_ROWS = 65_536
"""Rows of a parquet row group; fixed, since the database's batches need not be the same twice."""

_FORMULA = "^[\\s\\x00\\x{FEFF}]*[=+\\-@\\x{FF1D}\\x{FF0B}\\x{FF0D}\\x{FF20}]|^[\\t\\r\\n\\x00]"
"""What a spreadsheet would run (OWASP, CSV injection), behind blanks and in full width too."""

Batches = Iterable[pa.RecordBatch]
Write = Callable[[BinaryIO, Sequence[Column], Batches], int]
"""Writes all rows and tells how many there were."""


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file."""

    suffix: str
    media_type: str
    query: str
    """Ending of the SQL block whose rows it wants: `rows` or `text`."""
    write: Write


def write_csv(sink: BinaryIO, columns: Sequence[Column], batches: Batches) -> int:
    """UTF-8, commas, line feeds; texts in quotes, nothing for null."""
    return _csv(sink, columns, batches)


def write_spreadsheet(sink: BinaryIO, columns: Sequence[Column], batches: Batches) -> int:
    """As `write_csv`, with a byte order mark and every text cell made harmless by a leading apostrophe."""
    sink.write(b"\xef\xbb\xbf")
    return _csv(sink, columns, (_harmless(batch, columns) for batch in batches))


def write_parquet(sink: BinaryIO, columns: Sequence[Column], batches: Batches) -> int:
    """Zstandard, exact decimals, moments in UTC, row groups of `ROW_GROUP_ROWS`."""
    schema = typed_schema(columns)
    rows = 0
    with pq.ParquetWriter(sink, schema, compression="zstd", version="2.6") as writer:
        for group in _regrouped(batches, schema):
            writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
            rows += group.num_rows
    return rows


def _csv(sink: BinaryIO, columns: Sequence[Column], batches: Batches) -> int:
    schema = text_schema(columns)
    rows = 0
    with pa_csv.CSVWriter(sink, schema, write_options=pa_csv.WriteOptions(batch_size=8192)) as writer:
        for batch in batches:
            writer.write_table(pa.Table.from_batches([batch]).cast(schema))
            rows += batch.num_rows
    return rows


def _harmless(batch: pa.RecordBatch, columns: Sequence[Column]) -> pa.RecordBatch:
    """By the column's content, not the cell's: an amount of -1.5 stays a number, a text "-1.5" does not."""
    cells = [
        _quoted(cell) if column.content == "text" else cell
        for column, cell in zip(columns, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(cells, names=batch.schema.names)


def _quoted(cells: pa.Array) -> pa.Array:
    texts = cells.cast(pa.string())
    dangerous = pc.match_substring_regex(texts, _FORMULA)
    return pc.if_else(dangerous, pc.binary_join_element_wise("'", texts, ""), texts)


def _regrouped(batches: Batches, schema: pa.Schema) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    rows = 0
    for batch in batches:
        waiting.append(pa.Table.from_batches([batch]).cast(schema))
        rows += batch.num_rows
        while rows >= ROW_GROUP_ROWS:
            table = pa.concat_tables(waiting)
            yield table.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting = [table.slice(ROW_GROUP_ROWS)]
            rows -= ROW_GROUP_ROWS
    if rows:
        yield pa.concat_tables(waiting).combine_chunks()


FORMATS: Mapping[tuple[str, str], Format] = {
    ("csv", "machine"): Format("csv", "text/csv; charset=utf-8", "text", write_csv),
    ("csv", "spreadsheet"): Format("csv", "text/csv; charset=utf-8", "text", write_spreadsheet),
    ("parquet", "machine"): Format("parquet", "application/vnd.apache.parquet", "rows", write_parquet),
}
"""The files that exist, by format and profile."""
