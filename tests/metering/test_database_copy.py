"""A database in use copies itself: of one moment, with its keys, and while the writer commits."""

import itertools
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from metering.options import StorageOptions
from metering.store import Reader, ReadFailed, Store, Transaction

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SCHEMA = "SELECT table_name, sql FROM duckdb_tables() ORDER BY table_name"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(StorageOptions(data_dir=tmp_path / "data"))
    yield store
    store.close()


def both(number: int, tx: Transaction) -> None:
    """A row in the first table of the database, and one in the last, in one transaction."""
    tx.insert("workspaces", [{"id": f"w{number}", "name": "w", "created_at": NOW}])
    tx.insert(
        "audits",
        [dict.fromkeys(AUDIT, 0) | {"audit_id": f"a{number}", "started_at": NOW, "finished_at": NOW}],
    )


AUDIT = ("verified", "digest_only", "not_verifiable", "different", "differences")


def copied(store: Store, file: Path) -> duckdb.DuckDBPyConnection:
    with store.reading(60, snapshot=False) as reader:
        reader.copy_to(file)
    return duckdb.connect(str(file))


def counts(copy: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    found = copy.execute("SELECT (SELECT count(*) FROM workspaces), (SELECT count(*) FROM audits)").fetchone()
    assert found is not None
    return found[0], found[1]


def test_a_copy_is_of_one_moment_while_commits_go_on(store: Store, tmp_path: Path) -> None:
    """What one transaction wrote into two tables is in both or in none; each copy has more than the one before."""
    stopping = threading.Event()

    def write() -> None:
        for number in itertools.count():
            store.write(lambda tx, number=number: both(number, tx))
            if stopping.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found = []
        for number in range(6):
            with copied(store, tmp_path / f"{number}.duckdb") as copy:
                found.append(counts(copy))
    finally:
        stopping.set()
        writer.join()
    assert all(first == last for first, last in found)
    assert found[0][0] < found[-1][0]


def test_a_copy_has_the_same_tables_and_keys(store: Store, tmp_path: Path) -> None:
    """And its own file alone, without a write-ahead log beside it."""
    store.write(lambda tx: both(1, tx))
    with copied(store, tmp_path / "it's a copy.duckdb") as copy:
        tables = copy.execute(SCHEMA).fetchall()
        with pytest.raises(duckdb.ConstraintException):
            copy.execute("INSERT INTO workspaces BY NAME SELECT * FROM workspaces")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["it's a copy.duckdb"]
    store.close()
    with duckdb.connect(str(tmp_path / "data" / "nightrate.duckdb")) as original:
        assert original.execute(SCHEMA).fetchall() == tables


def test_a_copy_that_fails_leaves_nothing_behind(store: Store, tmp_path: Path) -> None:
    """It is a `ReadFailed`; the next one succeeds, and the database is read and written on."""
    for wrong in (tmp_path / "no" / "such" / "folder.duckdb", tmp_path):
        with pytest.raises(ReadFailed), store.reading(60, snapshot=False) as reader:
            reader.copy_to(wrong)
    store.write(lambda tx: both(1, tx))
    with copied(store, tmp_path / "copy.duckdb") as copy:
        assert counts(copy) == (1, 1)


def interrupted(reader: Reader, folder: Path) -> None:
    """Copies until it is interrupted."""
    stopping = threading.Event()

    def interrupt() -> None:
        while not stopping.wait(0.001):
            reader.interrupt()

    ending = threading.Thread(target=interrupt)
    ending.start()
    try:
        for number in itertools.count():
            reader.copy_to(folder / f"{number}.duckdb")
    finally:
        stopping.set()
        ending.join()


def test_a_copy_is_ended_from_another_thread(store: Store, tmp_path: Path) -> None:
    """As a service does that stops; the next copy succeeds."""
    with pytest.raises(ReadFailed), store.reading(60, snapshot=False) as reader:
        interrupted(reader, tmp_path)
    with copied(store, tmp_path / "copy.duckdb") as copy:
        assert counts(copy) == (0, 0)


def test_a_closed_store_leaves_no_thread(tmp_path: Path) -> None:
    """Neither its writer nor the one that watches its reads: a backup opens a store of its own each time."""
    before = set(threading.enumerate())
    store = Store(StorageOptions(data_dir=tmp_path))
    with store.reading() as reader:
        reader.query("terms.kept")
    began = set(threading.enumerate()) - before
    assert len(began) == 2
    store.close()
    for thread in began:
        thread.join(30)
    assert not any(thread.is_alive() for thread in began)
