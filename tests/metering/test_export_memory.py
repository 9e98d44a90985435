"""What an export holds in memory is the same however many rows there are: some slices, and no more."""

import weakref
from collections.abc import Iterator

import pyarrow as pa
import pytest

from benchmarks.export import filled
from metering.access import ADMIN
from metering.exports import ExportRequest, Exports
from metering.exports import sources as export_sources
from metering.options import BillingOptions, StorageOptions
from metering.store import Store
from tests.metering.billed import StandingClock

ROWS = 24_000
SLICE_ROWS = 500
MOST_SLICES = 5
"""One is read, one waits, one becomes text, one waits, one is written."""
FILES = [(kind, form) for kind in ("charges", "focus") for form in ("csv", "parquet", "jsonl", "xlsx")]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    folder = tmp_path_factory.mktemp("memory")
    filled(folder, ROWS)
    opened = Store(StorageOptions(data_dir=folder / "data"), packages=("metering",))
    yield opened
    opened.close()


class Slices:
    """Counts the slices that are alive."""

    def __init__(self) -> None:
        self.made = self.most = 0
        self._alive: set[int] = set()

    def watch(self, table: pa.Table) -> None:
        """From here on it is counted, until nobody has it any more."""
        self.made += 1
        number = self.made
        self._alive.add(number)
        weakref.finalize(table, self._alive.discard, number)
        self.most = max(self.most, len(self._alive))


@pytest.mark.parametrize(
    ("kind", "form"), [one for one in FILES if one[0] == "charges" or one[1] in ("csv", "parquet")]
)
def test_an_export_holds_a_few_slices_however_many_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch, kind: str, form: str
) -> None:
    """They are read ahead one by one, and let go as soon as they are written."""
    slices, read = Slices(), export_sources._slice

    def watched(*asked: object) -> pa.Table:
        table = read(*asked)  # type: ignore[arg-type]
        slices.watch(table)
        return table

    monkeypatch.setattr(export_sources, "SLICE_ROWS", SLICE_ROWS)
    monkeypatch.setattr(export_sources, "_slice", watched)
    exports = Exports(store, BillingOptions(), StandingClock())
    made = exports.write(ADMIN, ExportRequest(kind, form, period="2026-11"))
    made.content.close()
    assert made.rows == ROWS
    assert slices.made >= ROWS // SLICE_ROWS
    assert slices.most <= MOST_SLICES
