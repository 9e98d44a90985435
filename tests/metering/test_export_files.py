"""Workbooks, lines of JSON, events, statements, and how rows come in slices."""

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metering.access import ADMIN
from metering.errors import InvalidParameter, NotFound
from metering.exports import KINDS, ExportRequest, Exports, workbook
from metering.exports import sources as export_sources
from metering.exports.columns import Column
from metering.exports.text import as_text
from metering.store import Store
from tests.metering.billed import StandingClock, rows
from tests.metering.golden_month import OPTIONS, golden_ledger

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with golden_ledger(tmp_path_factory.mktemp("files")) as opened:
        yield opened


@pytest.fixture(scope="module")
def exports(store: Store) -> Exports:
    return Exports(store, OPTIONS, StandingClock())


def body(exports: Exports, *request: Any, **more: Any) -> bytes:
    return b"".join(exports.write(ADMIN, ExportRequest(*request, **more)).pieces())


def cells(content: bytes) -> list[dict[str, tuple[str, str]]]:
    """Type and value of each cell, a row a dict by column letters; the sheet has no formula and no link."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        sheet = ElementTree.fromstring(archive.read("xl/worksheets/sheet1.xml"))
    assert not [name for name in names if "sharedStrings" in name or "rels/sheet" in name]
    assert not list(sheet.iter(f"{MAIN}f"))
    return [
        {_letters(c.get("r", "")): (c.get("t", "n"), "".join(c.itertext())) for c in row}
        for row in sheet.iter(f"{MAIN}row")
    ]


def _letters(reference: str) -> str:
    return reference.rstrip("0123456789")


def table(content: bytes) -> list[dict[str, Any]]:
    """Rows of a workbook by the names in its head."""
    head, *lines = cells(content)
    return [{head[k][1]: (kind, value) for k, (kind, value) in line.items()} for line in lines]


@pytest.mark.parametrize("kind", ["charges", "usage", "statement"])
def test_a_workbook_has_exact_amounts_beside_rounded_numbers(exports: Exports, kind: str) -> None:
    """Texts are texts; the same ledger gives the same cells."""
    one = body(exports, kind, "xlsx", period="2026-03")
    assert cells(one) == cells(body(exports, kind, "xlsx", period="2026-03"))
    text = body(exports, kind, "csv", period="2026-03").decode()
    listed = list(csv.DictReader(io.StringIO(text, newline="")))
    for row, line in zip(table(one), listed, strict=True):
        assert row["amount_exact"] == ("inlineStr", line["amount"])
        kind_of, number = row["amount"]
        assert kind_of == "n"
        assert abs(Decimal(number) - Decimal(line["amount"])) <= Decimal("0.0000005")


def test_a_workbook_runs_no_text_of_a_user(exports: Exports) -> None:
    """As in the spreadsheet profile of csv: an apostrophe stands before it."""
    found = {row["customer"] for row in table(body(exports, "statement", "xlsx", period="2026-03"))}
    assert found == {("inlineStr", "Research"), ("inlineStr", '\'=Sales, "East"')}


def test_a_workbook_of_too_many_rows_is_refused(exports: Exports, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before and while it is written, naming what there is instead."""
    monkeypatch.setattr(workbook, "MOST_ROWS", 2)
    for kind in ("charges", "statement"):
        with pytest.raises(InvalidParameter, match="format=csv") as caught:
            exports.write(ADMIN, ExportRequest(kind, "xlsx", period="2026-03"))
        assert caught.value.param == "format"


def test_lines_of_json_are_the_rows(exports: Exports) -> None:
    """Counts are numbers, amounts are texts, what is missing is null."""
    lines = [json.loads(line) for line in body(exports, "charges", "jsonl", period="2026-04").splitlines()]
    text = body(exports, "charges", period="2026-04").decode()
    listed = list(csv.DictReader(io.StringIO(text, newline="")))
    assert [{k: "" if v is None else str(v) for k, v in line.items()} for line in lines] == listed
    assert {type(line["quantity"]) for line in lines} == {int}
    assert {type(line["amount"]) for line in lines} == {str}


def test_events_are_those_of_ended_tasks(exports: Exports, store: Store) -> None:
    """Of the tasks that ended in the month; the manifest counts their tokens."""
    export = exports.write(ADMIN, ExportRequest("events", "parquet", period="2026-03"))
    found = pq.read_table(io.BytesIO(b"".join(export.pieces()))).to_pylist()
    ended = [row for row in rows(store, "request_events") if row["task_id"] <= "batch_03"]
    assert [(row["task_id"], row["line_no"]) for row in found] == sorted(
        (row["task_id"], row["line_no"]) for row in ended
    )
    assert export.manifest["requests"] == export.rows == len(ended)
    for name in ("input_tokens", "output_tokens"):
        assert export.manifest["tokens"][name] == sum(row[name] or 0 for row in found)
    assert [amount["currency"] for amount in export.manifest["amounts"]] == ["CNY", "USD"]


def test_statements_add_up_to_what_is_paid(exports: Exports) -> None:
    """Line by line with the rounding, and as JSON the same as the API gives."""
    text = body(exports, "statement", period="2026-03").decode()
    lines = list(csv.DictReader(io.StringIO(text, newline="")))
    statements = json.loads(body(exports, "statement", "json", period="2026-03"))
    assert statements == exports._statements.of(ADMIN, "2026-03")
    for statement in statements:
        own = [line for line in lines if line["number"] == statement["number"]]
        assert sum(Decimal(line["amount"]) for line in own) == Decimal(statement["payable"])


@pytest.mark.parametrize(
    ("kind", "form"), [(name, form) for name, kind in KINDS.items() for form in kind.formats]
)
def test_an_export_of_nothing_has_a_head_and_no_rows(exports: Exports, kind: str, form: str) -> None:
    """Of every kind, in every format."""
    export = exports.write(ADMIN, ExportRequest(kind, form, period="2025-01"))
    content = b"".join(export.pieces())
    assert (export.rows, export.manifest["rows"], export.manifest["amounts"]) == (0, 0, [])
    if form == "json":
        assert json.loads(content) == []
    else:
        assert content or form == "jsonl"


def test_slices_are_the_sorted_whole(exports: Exports, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are, and in whatever order entries lie in the table."""
    whole = {
        kind: body(exports, kind, start="0", end="4000000000") for kind in ("charges", "events", "focus")
    }
    monkeypatch.setattr(export_sources, "SLICE_ROWS", 2)
    monkeypatch.setattr(export_sources, "SLICE_EVENTS", 2)
    for kind, content in whole.items():
        assert body(exports, kind, start="0", end="4000000000") == content


def test_an_unknown_workspace_is_not_found(exports: Exports) -> None:
    """Rather than an empty file that looks like an answer."""
    with pytest.raises(NotFound):
        exports.write(ADMIN, ExportRequest("charges", period="2026-03", workspace_id="ws_3"))


def test_amounts_are_written_with_every_digit_and_no_exponent() -> None:
    """Small, large and negative, from the middle of a column too; `fixed` keeps its zeros."""
    amounts = ["0.000000000000001", "-0.0000001", "0", "12345678901234567890.5", "-1.5", "100", None]
    column = pa.array([None if a is None else Decimal(a) for a in amounts], pa.decimal128(38, 15))
    given = pa.table({"a": column, "b": column})
    shown = as_text(given, [Column("a", "money"), Column("b", "fixed", 15)])
    assert shown["a"].to_pylist() == amounts
    assert shown["b"].to_pylist()[4:] == ["-1.500000000000000", "100.000000000000000", None]
    assert as_text(given.slice(3, 2), [Column("a", "money")])["a"].to_pylist() == amounts[3:5]
