"""What makes exports fast changes nothing of them: lines of JSON, hashes on the way, reading ahead."""

import hashlib
import io
import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.access import ADMIN
from metering.exports import KINDS, ExportRequest, Exports
from metering.exports.columns import columns_of
from metering.exports.export import Export
from metering.exports.formats import write_jsonl
from metering.exports.hashed import Hashed
from metering.exports.sources import ahead
from metering.exports.text import as_text
from metering.store import Store
from tests.metering.billed import StandingClock
from tests.metering.golden_month import OPTIONS, golden_ledger

COLUMNS = columns_of(name="text", calls="count", ms="number", unmetered="flag", amount="money", other="text")
TEXT = (
    st.none()
    | st.text(st.characters(codec="utf-8"), max_size=6)
    | st.sampled_from(['"', "\\", "\x7f\n", "é"])
)
UNITS = st.integers(-(10**37), 10**37) | st.integers(-(2**64), 2**64) | st.sampled_from([-(2**63), 0])
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "name": TEXT,
            "calls": st.none() | st.integers(-(2**63), 2**63 - 1),
            "ms": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "unmetered": st.none() | st.booleans(),
            "amount": st.none() | UNITS.map(lambda units: Decimal(f"{units}E-15")),
            "other": TEXT,
        }
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with golden_ledger(tmp_path_factory.mktemp("speed")) as opened:
        yield opened


@pytest.fixture(scope="module")
def exports(store: Store) -> Exports:
    return Exports(store, OPTIONS, StandingClock())


def table(rows: list[dict[str, object]]) -> pa.Table:
    return pa.Table.from_pylist(rows, pa.schema([(column.name, column.typed) for column in COLUMNS]))


def one_by_one(rows: pa.Table) -> bytes:
    """The plain way: an object of Python a row."""
    line = msgspec.defstruct("Line", [column.name for column in COLUMNS])
    return msgspec.json.Encoder().encode_lines([line(**row) for row in rows.to_pylist()])


@settings(max_examples=40)
@given(ROWS, st.integers(0, 12))
def test_lines_of_json_are_what_an_encoder_writes_one_by_one(
    rows: list[dict[str, object]], first: int
) -> None:
    """Byte for byte, whatever a text holds; from the middle of a column too."""
    texts = as_text(table(rows).slice(first), COLUMNS)
    sink = io.BytesIO()
    assert write_jsonl(sink, COLUMNS, [texts]) == texts.num_rows
    assert sink.getvalue() == one_by_one(texts)
    for row, given_row in zip(texts.to_pylist(), rows[first:], strict=True):
        written = row["amount"]
        assert written is None or Decimal(written) == given_row["amount"]
        assert written is None or (written != "-0" and "E" not in written and not written.endswith("."))


@given(st.lists(st.binary(max_size=9), max_size=5), st.booleans())
def test_a_file_is_hashed_on_the_way(pieces: list[bytes], goes_back: bool) -> None:
    """And read again if it was not written from its beginning to its end."""
    file = io.BytesIO()
    sink = Hashed(file)
    for piece in pieces:
        assert sink.write(piece) == len(piece)
        sink.seek(sink.tell())
    if goes_back:
        sink.seek(0)
        sink.write(b"?")
    assert sink.sha256() == hashlib.sha256(file.getvalue()).hexdigest()


@pytest.mark.parametrize(
    ("kind", "form"), [(name, form) for name, kind in KINDS.items() for form in kind.formats]
)
def test_every_export_has_the_hash_and_size_of_its_bytes(exports: Exports, kind: str, form: str) -> None:
    """Workbooks too, whose parts are not written in order."""
    export: Export = exports.write(ADMIN, ExportRequest(kind, form, period="2026-03"))
    content = b"".join(export.pieces())
    assert (export.sha256, export.size_bytes) == (hashlib.sha256(content).hexdigest(), len(content))


def test_tables_come_in_their_order_and_an_error_where_it_happened() -> None:
    """Though they are read ahead."""

    def tables(last: int) -> Iterator[pa.Table]:
        yield from (pa.table({"n": [n]}) for n in range(last))
        raise OSError("unreadable")

    found: list[int] = []
    with pytest.raises(OSError, match="unreadable"), ahead(tables(3)) as read:
        found.extend(table["n"][0].as_py() for table in read)
    assert found == [0, 1, 2]


def test_nothing_is_read_once_writing_failed(
    exports: Exports, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A full disk ends the export; the connection that was reading is free for the next."""
    with (tmp_path / "full").open("wb") as full, monkeypatch.context() as patched:
        patched.setattr(Hashed, "write", lambda *_: full.seek(-1))
        for _ in range(20):
            with pytest.raises(OSError, match="Invalid argument"):
                exports.write(ADMIN, ExportRequest("charges", period="2026-03"))
    assert exports.write(ADMIN, ExportRequest("charges", period="2026-03")).rows > 0


def test_a_number_is_written_with_the_digits_that_give_it_again() -> None:
    """What JSON has no word for is null."""
    texts = table([{"ms": math.inf}, {"ms": 0.1}, {"ms": 1e22}, {"ms": 5.0}])
    sink = io.BytesIO()
    write_jsonl(sink, COLUMNS, [as_text(texts, COLUMNS)])
    assert [line["ms"] for line in map(msgspec.json.decode, sink.getvalue().splitlines())] == [
        None,
        0.1,
        1e22,
        5.0,
    ]
