"""The database of one data folder: one writer thread, reader cursors with a time limit, migrations.

A job for the writer is a function of a `Transaction`; it runs alone, and either all of it is durable
or none of it happened. Readers see committed state only.
"""

import logging
import queue
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, TypeVar

from metering.clock import Clock, utc_now
from metering.connection import Connection, DatabaseError, Fatal, Reader, Row, Transaction, connect
from metering.failures import (
    DataFolderInUse,
    DataFolderNewer,
    ReadFailed,
    ReadTimeout,
    StoreClosed,
    StoreError,
    StoreInvalid,
    WriteFailed,
)
from metering.options import StorageOptions
from metering.queries import load_migrations, load_queries
from metering.watchdog import Watchdog

__all__ = [
    "DataFolderInUse",
    "DataFolderNewer",
    "ReadFailed",
    "ReadTimeout",
    "Reader",
    "Row",
    "Store",
    "StoreClosed",
    "StoreError",
    "StoreInvalid",
    "Transaction",
    "WriteFailed",
]

T = TypeVar("T")
log = logging.getLogger("nightrate.store")


class Store:
    """The database of one data folder. Open it, then share it between threads."""

    def __init__(
        self,
        options: StorageOptions,
        packages: Sequence[str] = ("metering", "executor", "nightrate"),
        clock: Clock = utc_now,
    ) -> None:
        self._options = options
        self._clock = clock
        self._queries = load_queries(packages)
        self._jobs: queue.Queue[tuple[Callable[[Transaction], Any], Future[Any]] | None]
        self._jobs = queue.Queue(options.write_queue_jobs)
        self._cursors: queue.LifoQueue[tuple[int, Connection]] = queue.LifoQueue()
        self._watchdog = Watchdog()
        self._slots = threading.BoundedSemaphore(options.read_connections)
        self._lock = threading.Lock()
        self._generation = 0
        self._invalid = False
        self._trouble: str | None = None
        self.commits = 0
        """Transactions made durable since it was opened: the same number means the same tables."""
        self._closed = False
        self._connection = self._open()
        self._identity = _identity(options.database_path)
        self._writer = threading.Thread(target=self._write_all, name="store-writer", daemon=True)
        self._writer.start()

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return self._options.data_dir

    @property
    def nodes(self) -> Literal["this"]:
        """Whose tables they are."""
        return "this"

    # -- opening -----------------------------------------------------------------------------------

    def _open(self) -> Connection:
        path = self._options.database_path
        _make_folder(path.parent)
        try:
            connection = connect(str(path), self._options)
        except DatabaseError as error:
            if "set lock" in str(error):
                owner = re.search(r"PID (\d+)", str(error))
                raise DataFolderInUse(str(path), owner and owner[1]) from error
            raise StoreError(f"the database {path} can't be opened: {error}") from error
        try:
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _migrate(self, connection: Connection) -> None:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations "
            "(version INTEGER PRIMARY KEY, name VARCHAR NOT NULL, applied_at TIMESTAMPTZ NOT NULL)"
        )
        found = connection.execute("SELECT coalesce(max(version), 0) FROM schema_migrations").fetchone()
        version = int(found[0]) if found else 0
        migrations = load_migrations()
        if version > migrations[-1][0]:
            raise DataFolderNewer(str(self._options.database_path), version, migrations[-1][0])
        for number, name, sql in migrations:
            if number > version:
                connection.execute("BEGIN")
                connection.execute(sql)
                connection.execute(
                    "INSERT INTO schema_migrations VALUES (?, ?, ?)", [number, name, self._clock()]
                )
                connection.execute("COMMIT")

    def reopen(self) -> None:
        """Closes and opens the database again if DuckDB gave up on it; else nothing happens.

        Raises `StoreError` if it can't be opened now: nothing can be read or written until a later call can.
        """

        def swap(_: Transaction) -> None:
            with self._lock:
                if not self._invalid:
                    return
                self._find_file()  # else a blank one would be made in its place
                self._generation += 1
                self._close_idle_cursors()
                self._connection.close()
                try:
                    self._connection = self._open()
                except DatabaseError as error:
                    raise StoreError(f"the database can't be opened again: {error}") from error
                self._invalid = False

        self._enqueue(swap).result()

    def _close_idle_cursors(self) -> None:
        """Each keeps the old database and its files open."""
        with suppress(queue.Empty):
            while True:
                self._cursors.get_nowait()[1].close()

    def close(self) -> None:
        """Finishes the queued jobs and closes the file."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._jobs.put(None)
        self._writer.join()
        self._watchdog.close()
        self._connection.close()

    # -- writing -----------------------------------------------------------------------------------

    def _enqueue(self, job: Callable[[Transaction], T]) -> "Future[T]":
        if self._closed:
            raise StoreClosed("the store is closed")
        future: Future[T] = Future()
        self._jobs.put((job, future))
        return future

    def submit(self, job: Callable[[Transaction], T]) -> "Future[T]":
        """Queues a job for the writer; waits while the queue is full."""
        return self._enqueue(lambda transaction: self._commit(transaction, job))

    def write(self, job: Callable[[Transaction], T]) -> T:
        """Runs a job in a transaction of the writer and waits until it is durable."""
        return self.submit(job).result()

    def queued(self) -> int:
        """Jobs that wait for the writer."""
        return self._jobs.qsize()

    def _commit(self, transaction: Transaction, job: Callable[[Transaction], T]) -> T:
        connection = self._connection
        try:
            connection.execute("BEGIN")
            result = job(transaction)
            self._make_durable(connection)
        except DatabaseError as error:
            _roll_back(connection)
            if self._gave_up(error):
                raise StoreInvalid(str(error)) from error
            raise WriteFailed(str(error)) from error
        except BaseException:
            _roll_back(connection)
            raise
        return result

    def _find_file(self) -> None:
        """What is written to a file without a name would be gone with the next start."""
        if _identity(path := self._options.database_path) != self._identity:
            raise WriteFailed(f"the database {path} was deleted or replaced while it was open; put it back")

    def _make_durable(self, connection: Connection) -> None:
        try:
            self._find_file()
            connection.execute("COMMIT")
        except (DatabaseError, WriteFailed) as error:
            self._trouble = str(error)
            raise
        self._trouble = None
        self.commits += 1

    def _gave_up(self, error: DatabaseError) -> bool:
        """Whether the database must be reopened; remembered until it was."""
        if isinstance(error, Fatal) or "invalidated" in str(error):
            self._invalid = True
            self._trouble = str(error)
        return self._invalid

    @property
    def trouble(self) -> str | None:
        """Why the last transaction could not be made durable; none once one was."""
        return self._trouble

    def size_bytes(self) -> int:
        """What the database and its write-ahead log take on disk."""
        path = self._options.database_path
        parts = (path, path.with_name(f"{path.name}.wal"))
        return sum(part.stat().st_size for part in parts if part.exists())

    def _write_all(self) -> None:
        while (item := self._jobs.get()) is not None:
            job, future = item
            try:
                future.set_result(job(Transaction(self._connection, self._queries)))
            except BaseException as error:  # noqa: BLE001  (whoever asked is told; the writer lives on)
                future.set_exception(error)

    # -- reading -----------------------------------------------------------------------------------

    @contextmanager
    def reading(self, seconds: float | None = None, *, snapshot: bool = True) -> Iterator[Reader]:
        """A reader, on one snapshot if it reads more than once; all of it must end within `seconds`, or
        `storage.read_timeout_seconds`."""
        limit = float(self._options.read_timeout_seconds) if seconds is None else seconds
        with self._slots:
            generation, cursor = self._take_cursor()
            watch = self._watchdog.watch(limit, cursor.interrupt)
            try:
                if snapshot:
                    cursor.execute("BEGIN TRANSACTION READ ONLY")
                yield Reader(cursor, self._queries)
                if snapshot:
                    cursor.execute("COMMIT")
            except DatabaseError as error:
                watch.end()
                cursor.close()
                if watch.passed:
                    raise ReadTimeout(f"the query took longer than {limit:g} s and was stopped") from error
                self._gave_up(error)
                raise ReadFailed(str(error)) from error
            except BaseException:
                watch.end()
                cursor.close()
                raise
            else:
                watch.end()  # before anybody else gets the cursor
                self._cursors.put((generation, cursor))

    def _take_cursor(self) -> tuple[int, Connection]:
        while True:
            try:
                generation, cursor = self._cursors.get_nowait()
            except queue.Empty:
                with self._lock:
                    if self._closed:
                        raise StoreClosed("the store is closed") from None
                    return self._generation, self._new_cursor()
            if generation == self._generation:
                return generation, cursor
            cursor.close()

    def _new_cursor(self) -> Connection:
        try:
            return self._connection.cursor()
        except DatabaseError as error:  # the database could not be opened again so far
            raise ReadFailed(f"the database is closed: {error}") from error

    def query(self, name: str, /, **values: Any) -> list[Row]:
        """All rows of a named query."""
        with self.reading(snapshot=False) as read:
            return read.query(name, **values)

    def one(self, name: str, /, **values: Any) -> Row | None:
        """The first row of a named query, or none."""
        with self.reading(snapshot=False) as read:
            return read.one(name, **values)


def _identity(path: Path) -> tuple[int, int] | None:
    return (path.stat().st_dev, path.stat().st_ino) if path.exists() else None


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the data folder {folder} can't be made: {error.strerror}; set another storage.data_dir"
        ) from error


def _roll_back(connection: Connection) -> None:
    try:
        connection.execute("ROLLBACK")
    except DatabaseError as error:  # no transaction is open any more, or the database is invalid
        log.debug("rollback: %s", error)
