"""CSV to a batch's JSONL: one column is the custom_id, another what the user says."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TextIO

from executor.options import TEST_ENDPOINT, TEST_MODEL

Header = Literal["auto", "yes", "no"]

HEADER_NAMES = frozenset({"custom_id", "custom-id", "customid", "custom id", "id"})
CUSTOM_ID_CHARACTERS = 256
REPORTED_ERRORS = 1000
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True)
class RowError:
    """What is wrong with a row, and where it begins."""

    row: int
    """Row of the table, from 1, the header included."""
    line: int
    """Physical line of the file on which the row ends, from 1."""
    message: str


@dataclass(frozen=True)
class Conversion:
    """How the rows become requests."""

    model: str
    system: str | None = None
    header: Header = "auto"
    delimiter: str = ","
    id_column: int | None = 0
    """From 0; without one the rows are numbered."""
    content_column: int = 1

    @property
    def endpoint(self) -> str:
        """The URL that every request asks."""
        return TEST_ENDPOINT if self.model == TEST_MODEL else "/v1/chat/completions"

    def request(self, custom_id: str, content: str) -> str:
        """One line of the batch's input file."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": content})
        line = {
            "custom_id": custom_id,
            "method": "POST",
            "url": self.endpoint,
            "body": {"model": self.model, "messages": messages},
        }
        return json.dumps(line, ensure_ascii=False)


def convert(source: Path, target: TextIO, how: Conversion, *, line_bytes: int) -> tuple[int, list[RowError]]:
    """Writes a request per row; gives their number and every fault. With faults the target is not usable."""
    seen: dict[str, int] = {}
    errors: list[RowError] = []
    count = 0
    for row, line, cells in _rows(source, how.delimiter, line_bytes, errors):
        if row == 1 and _is_header(cells, how.header):
            continue
        problem = _problem(cells, row, how, seen)
        if problem:
            errors.append(RowError(row, line, problem))
        else:
            custom_id = _id(cells, row, how)
            seen[custom_id] = row
            target.write(how.request(custom_id, cells[how.content_column]) + "\n")
            count += 1
        if len(errors) >= REPORTED_ERRORS:
            break
    if not count and not errors:
        errors.append(RowError(1, 1, "there is no row with a request in it"))
    return count, errors


def _rows(
    source: Path, delimiter: str, line_bytes: int, errors: list[RowError]
) -> Iterator[tuple[int, int, list[str]]]:
    """Rows that hold anything, numbered as they are in the table; a file that can't be read on ends here."""
    csv.field_size_limit(line_bytes)
    row, reader = 0, None
    with source.open(encoding="utf-8-sig", newline="") as text:
        try:
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            for cells in reader:
                row += 1
                if any(cell.strip() for cell in cells):
                    yield row, reader.line_num, cells
        except UnicodeDecodeError:
            message = "this is not UTF-8 text; save the table as 'CSV UTF-8'"
            errors.append(RowError(row + 1, _line(reader), message))
        except csv.Error as error:
            errors.append(RowError(row + 1, _line(reader), _reading(error)))


def _line(reader: object) -> int:
    return int(getattr(reader, "line_num", 0)) + 1


def _reading(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end" in text:
        return 'a quoted cell that begins here is never closed; close it with "'
    if "expected after" in text:
        return 'there is text after a closing quote; write a quote within a cell as ""'
    if "field larger" in text:
        return "a cell is longer than a request may be (limits.line_bytes); is a quote left open?"
    if "NUL" in text:
        return "there is a NUL character; is this a CSV file?"
    return f"the row can't be read: {text}"


def _is_header(cells: list[str], header: Header) -> bool:
    return header == "yes" or (header == "auto" and cells[0].strip().lower() in HEADER_NAMES)


def _id(cells: list[str], row: int, how: Conversion) -> str:
    return f"row-{row}" if how.id_column is None else cells[how.id_column].strip()


def _problem(cells: list[str], row: int, how: Conversion, seen: dict[str, int]) -> str | None:
    if "\0" in "".join(cells):
        return "there is a NUL character; is this a CSV file?"
    if len(cells) <= max(how.id_column or 0, how.content_column):
        return _few_columns(cells, how)
    custom_id = _id(cells, row, how)
    if not custom_id:
        return f"the {_nth(how.id_column or 0)} column, custom_id, is empty"
    if len(custom_id) > CUSTOM_ID_CHARACTERS:
        return f"the custom_id has {len(custom_id)} characters, {CUSTOM_ID_CHARACTERS} are allowed"
    if custom_id in seen:
        return f"the custom_id {custom_id!r} is already in row {seen[custom_id]}; each must be unique"
    if not cells[how.content_column].strip():
        return f"the {_nth(how.content_column)} column, what the user says, is empty"
    return None


def _nth(column: int) -> str:
    return ("first", "second", "third")[column] if column < 3 else f"{column + 1}th"


def _few_columns(cells: list[str], how: Conversion) -> str:
    if len(cells) == 1:
        return _one_column(cells[0], how.delimiter)
    return f"there are {len(cells)} columns; the {_nth(max(how.id_column or 0, how.content_column))} is asked for"


def _one_column(cell: str, delimiter: str) -> str:
    other = next((mark for mark in (";", "\t", "|", ",") if mark != delimiter and mark in cell), None)
    if other is None:
        return "there is one column, two are needed: custom_id and what the user says"
    return f"there is one column, two are needed; if {other!r} parts them, give --delimiter {other!r}"


@dataclass(frozen=True)
class Preview:
    """How a table begins, to choose its columns by."""

    delimiter: str
    header: bool
    """Whether the first row looks like names of columns."""
    rows: list[list[str]]


def preview(text: str, rows: int) -> Preview:
    """The first rows of a table whose beginning is `text`, which may end within a row."""
    first = text.partition("\n")[0]
    delimiter = max(DELIMITERS, key=first.count)
    whole = text[: text.rfind("\n") + 1] or text
    found: list[list[str]] = []
    try:
        for cells in csv.reader(whole.splitlines(keepends=True), delimiter=delimiter):
            if any(cell.strip() for cell in cells):
                found.append(cells)
            if len(found) >= rows:
                break
    except csv.Error:  # the conversion says where and why
        pass
    return Preview(delimiter, bool(found) and _is_header(found[0], "auto"), found)
