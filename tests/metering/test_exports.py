import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.access import ADMIN, Access
from metering.errors import InvalidParameter, NotFound
from metering.exports import Export, ExportRequest, Exports
from metering.exports.formula import ARROW_PATTERN, harmless
from metering.options import BillingOptions
from metering.store import Store
from tests.metering.billed import NOON, StandingClock, book, end, ended, event, meter, open_store, rows

PERIOD = "2026-11"
MONEY = ("list_unit_price", "unit_price", "list_amount", "discount_amount", "amount")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("exports")
    opened = open_store(folder)
    clock = StandingClock()
    metering = meter(book(folder), clock)
    for n in range(6):
        clock.advance(hours=3)
        tiny: dict[str, Any] = {"model": "tiny", "currency": "USD", "api_key_id": None} if n % 2 else {}
        task = ended(f"batch_{n}", workspace_id=f"ws_{n % 3}", **tiny)
        end(opened, metering, task, [event(task, 1, input_tokens=90_000 * n, thinking=n > 3), event(task, 2)])
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def exports(store: Store) -> Exports:
    return Exports(store, BillingOptions(), StandingClock())


def content(export: Export) -> bytes:
    return b"".join(export.pieces())


def table(body: bytes, encoding: str = "utf-8") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode(encoding), newline="")))


def test_charges_as_csv_are_the_ledger(exports: Exports, store: Store) -> None:
    """Every entry, sorted by time and id, exact to the last digit; null is an empty cell."""
    export = exports.write(ADMIN, ExportRequest("charges", period=PERIOD))
    found = table(content(export))
    stored = sorted(rows(store, "charges"), key=lambda row: (row["recorded_at"], row["charge_id"]))
    assert [row["charge_id"] for row in found] == [row["charge_id"] for row in stored]
    assert list(found[0]) == list(stored[0])
    for written, entry in zip(found, stored, strict=True):
        assert {name: Decimal(written[name]) for name in MONEY} == {name: entry[name] for name in MONEY}
        assert int(written["quantity"]) == entry["quantity"]
        assert written["api_key_id"] == (entry["api_key_id"] or "")
        assert written["recorded_at"] == entry["recorded_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        assert not any("E" in written[name] for name in MONEY)


@pytest.mark.parametrize("kind", ["charges", "usage"])
@pytest.mark.parametrize(
    ("form", "profile"), [("csv", "machine"), ("csv", "spreadsheet"), ("parquet", "machine")]
)
def test_the_same_ledger_gives_the_same_bytes(exports: Exports, kind: str, form: str, profile: str) -> None:
    """And what is said of a file is true of it: rows, SHA-256, length, sums."""
    request = ExportRequest(kind, form, profile, period=PERIOD)
    first, second = exports.write(ADMIN, request), exports.write(ADMIN, request)
    body = content(first)
    assert body == content(second)
    assert first.sha256 == hashlib.sha256(body).hexdigest() == first.manifest["sha256"]
    assert (first.size_bytes, first.manifest["bytes"]) == (len(body), len(body))
    assert first.manifest == exports.manifest(ADMIN, request)
    found = pq.read_table(io.BytesIO(body)).to_pylist() if form == "parquet" else table(body, "utf-8-sig")
    assert first.rows == first.manifest["rows"] == len(found)
    for amount in first.manifest["amounts"]:
        of_currency = [row for row in found if row["currency"] == amount["currency"]]
        for name in ("list_amount", "discount_amount", "amount"):
            assert sum((Fraction(row[name]) for row in of_currency), Fraction(0)) == Fraction(amount[name])
    for sku, tokens in first.manifest["tokens"].items():
        assert sum(int(row["quantity"]) for row in found if row["sku"] == sku) == tokens


def test_parquet_has_the_types_of_the_ledger(exports: Exports, store: Store) -> None:
    """Decimals are DECIMAL(38,15), moments UTC microseconds; equal to the table, row by row."""
    body = content(exports.write(ADMIN, ExportRequest("charges", "parquet", period=PERIOD)))
    found = pq.read_table(io.BytesIO(body))
    assert str(found.schema.field("amount").type) == "decimal128(38, 15)"
    assert str(found.schema.field("ended_at").type) == "timestamp[us, tz=UTC]"
    stored = sorted(rows(store, "charges"), key=lambda row: (row["recorded_at"], row["charge_id"]))
    assert found.to_pylist() == stored


def test_usage_sums_the_ledger_by_day(exports: Exports, store: Store) -> None:
    """One row per day, workspace, model and SKU; nothing is lost."""
    found = table(content(exports.write(ADMIN, ExportRequest("usage", period=PERIOD))))
    keys = [(row["day"], row["workspace_id"], row["model"], row["sku"]) for row in found]
    assert keys == sorted(set(keys))
    assert sum(int(row["requests"]) for row in found) == sum(
        row["requests"] for row in rows(store, "charges")
    )


def test_the_manifest_names_the_prices(exports: Exports, store: Store) -> None:
    """All that the exported entries were made with."""
    manifest = exports.manifest(ADMIN, ExportRequest("usage", period=PERIOD))
    assert manifest["price_ids"] == sorted({row["price_id"] for row in rows(store, "charges")})
    assert (manifest["period"], manifest["kind"], manifest["timezone"]) == (PERIOD, "usage", "UTC")


def test_a_workspace_exports_its_own_only(exports: Exports) -> None:
    """A stranger gets a file with a header and no row; another's name is not found."""
    own = table(content(exports.write(Access("ws_1", "k"), ExportRequest("charges", period=PERIOD))))
    assert {row["workspace_id"] for row in own} == {"ws_1"}
    for form in ("csv", "parquet"):
        empty = exports.write(Access("ws_9", "k"), ExportRequest("charges", form, period=PERIOD))
        assert (empty.rows, empty.manifest["amounts"], empty.manifest["price_ids"]) == (0, [], [])
        body = content(empty)
        if form == "csv":
            assert body.startswith(b'"charge_id"')
        else:
            assert pq.read_table(io.BytesIO(body)).num_rows == 0
    with pytest.raises(NotFound):
        exports.write(Access("ws_9", "k"), ExportRequest("charges", period=PERIOD, workspace_id="ws_1"))


def test_a_range_is_by_the_moment_of_entry(exports: Exports) -> None:
    """To the second, inclusive."""
    at = NOON.replace(microsecond=0, hour=15).isoformat()
    found = table(content(exports.write(ADMIN, ExportRequest("charges", start=at, end=at))))
    assert {row["task_id"] for row in found} == {"batch_0"}


@pytest.mark.parametrize(
    ("changes", "param", "said"),
    [
        ({"kind": "bills"}, "kind", "charges, usage, statement, events, focus, ledger"),
        ({"format": "xml"}, "format", "csv, xlsx, parquet, jsonl"),
        ({"kind": "events", "format": "xlsx"}, "format", "csv, parquet, jsonl"),
        ({"kind": "focus", "profile": "spreadsheet"}, "profile", "machine"),
        ({"kind": "ledger", "period": None, "start": "0"}, "period", "YYYY-MM"),
        ({"kind": "statement", "format": "parquet"}, "format", "csv, xlsx, json"),
        ({"profile": "excel"}, "profile", "machine, spreadsheet"),
        ({"format": "parquet", "profile": "spreadsheet"}, "profile", "machine"),
        ({"period": None}, "period", "period"),
        ({"start": "0"}, "period", "both"),
        ({"period": "11-2026"}, "period", "YYYY-MM"),
    ],
)
def test_what_is_not_offered_is_refused(
    exports: Exports, changes: dict[str, Any], param: str, said: str
) -> None:
    """With its parameter, and with what there is instead."""
    with pytest.raises(InvalidParameter, match=said) as caught:
        exports.write(ADMIN, replace(ExportRequest("charges", period=PERIOD), **changes))
    assert caught.value.param == param


NAMES = [
    "=1+1",
    "+1",
    "-1.5",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "＝1",
    "\ufeff=1",
    'a"b,c\nd',
    "qwen/plus",
    "",
]


def test_a_spreadsheet_runs_no_text_and_reads_every_number(tmp_path: Path) -> None:
    """Text cells that begin a formula get an apostrophe; a negative amount stays a number. Machines get bytes as they are."""
    own = open_store(tmp_path)
    try:
        task = ended()
        end(own, meter(book(tmp_path)), task, [event(task, 1, output_tokens=0)])
        [charge] = rows(own, "charges")
        negative = {"quantity": -10, "amount": Decimal("-1.5")}
        odd = [charge | negative | {"charge_id": f"c{n:02}", "model": name} for n, name in enumerate(NAMES)]
        own.write(lambda tx: tx.insert("charges", odd))
        exports = Exports(own, BillingOptions(), StandingClock())
        machine = table(content(exports.write(ADMIN, ExportRequest("charges", period=PERIOD))))
        body = content(exports.write(ADMIN, ExportRequest("charges", profile="spreadsheet", period=PERIOD)))
        assert body.startswith(b"\xef\xbb\xbf")
        safe = table(body, "utf-8-sig")
        assert [row["model"] for row in machine][:-1] == NAMES
        for name, row in zip(NAMES, safe[:-1], strict=True):
            assert row["model"] == (name if name in NAMES[-3:] else "'" + name)
            assert (row["quantity"], row["amount"]) == ("-10", "-1.5")
    finally:
        own.close()


@given(st.text(st.sampled_from("=+-@\t\r\n \x00\ufeff＝＋－＠a1\u00a0'\""), max_size=5))
def test_one_text_is_made_harmless_as_a_column_is(text: str) -> None:
    """The small files of the console follow the same rule as the exports."""
    column = pc.match_substring_regex(pa.array([text]), ARROW_PATTERN)[0].as_py()
    assert (harmless(text) == f"'{text}") == column
    assert harmless(text).removeprefix("'") == text.removeprefix("'") or not column


def test_an_export_leaves_nothing_in_the_data_folder(exports: Exports, store: Store) -> None:
    """The file has no name: even a crash leaves none."""
    export = exports.write(ADMIN, ExportRequest("charges", period=PERIOD))
    assert list((store.data_dir / "tmp").iterdir()) == []
    content(export)
    assert export.content.closed
