"""Rows as an xlsx workbook: no text is ever a formula, and exact amounts stand as text beside a rounded number."""

import tempfile
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

from xlsxwriter import Workbook
from xlsxwriter.worksheet import Worksheet

from metering.errors import InvalidParameter
from metering.exports.columns import Column, Columns
from metering.exports.formats import Sink, Tables

MOST_ROWS = 1_000_000
"""A sheet holds 1,048,576; the limit is what SPEC §7 says."""
_CREATED = datetime(2000, 1, 1)  # noqa: DTZ001  (a property of the file, which must not differ from run to run)
_SHOWN = Decimal("0.000001")
_OPTIONS = {
    "constant_memory": True,
    "strings_to_formulas": False,
    "strings_to_numbers": False,
    "strings_to_urls": False,
}


def write_workbook(sink: Sink, columns: Columns, tables: Tables) -> int:
    """One sheet. Refused (400, param `format`): more than `MOST_ROWS` rows."""
    rows = 0
    # Sheets wait in files there until the workbook is closed; a refusal leaves none behind.
    with tempfile.TemporaryDirectory(prefix="nightrate-xlsx-") as folder:
        book = Workbook(sink, {**_OPTIONS, "tmpdir": folder})
        book.set_properties({"created": _CREATED})
        sheet = book.add_worksheet()
        rounded = book.add_format({"num_format": "#,##0.000000"})
        _head(book, sheet, columns)
        for table in tables:
            check_rows(rows + table.num_rows)
            for row in _rows(table, columns):
                rows += 1
                _write_row(sheet, rows, columns, row, rounded)
        book.close()
    return rows


def check_rows(rows: int) -> None:
    """Refuses (400) more rows than a sheet takes."""
    if rows > MOST_ROWS:
        raise InvalidParameter(
            f"An xlsx file takes at most {MOST_ROWS:,} rows, and this would have more. Write format=csv.",
            param="format",
            code="too_many_rows",
        )


def _head(book: Workbook, sheet: Worksheet, columns: Columns) -> None:
    bold = book.add_format({"bold": True})
    sheet.freeze_panes(1, 0)
    sheet.set_column(0, 2 * len(columns), 18)
    names = [name for column in columns for name in _names(column)]
    for place, name in enumerate(names):
        sheet.write_string(0, place, name, bold)


def _names(column: Column) -> list[str]:
    return [column.name, f"{column.name}_exact"] if column.content == "money" else [column.name]


def _rows(table: Any, columns: Columns) -> Iterator[tuple[Any, ...]]:
    yield from zip(*(table[column.name].to_pylist() for column in columns), strict=True)


def _write_row(sheet: Worksheet, number: int, columns: Columns, row: tuple[Any, ...], rounded: Any) -> None:
    place = 0
    for column, value in zip(columns, row, strict=True):
        if column.content == "money":
            if value is not None:
                # A spreadsheet's number is a double: rounded here, and never read back by anything of ours.
                sheet.write_number(number, place, float(Decimal(value).quantize(_SHOWN)), rounded)
                sheet.write_string(number, place + 1, value)
            place += 1
        elif isinstance(value, str):
            sheet.write_string(number, place, value)
        elif value is not None:
            sheet.write_number(number, place, value)
        place += 1
