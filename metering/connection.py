"""The only file that imports duckdb: how a database is opened, and named queries on one connection."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, Literal, Protocol

import duckdb
import pyarrow as pa

from metering.incoming import are_few, as_table, as_values
from metering.no_pandas import NoPandas
from metering.options import DATABASE_NAME, StorageOptions
from metering.queries import Query

Row = dict[str, Any]
Connection = duckdb.DuckDBPyConnection
DatabaseError = duckdb.Error
Fatal = duckdb.FatalException
DUCKDB_VERSION = f"v{duckdb.__version__}"


class Readable(Protocol):
    """Where statistics, statements and exports are read from: a `Store`, or all nodes' lake."""

    @property
    def data_dir(self) -> Path:
        """The data folder of this node."""
        ...

    @property
    def nodes(self) -> Literal["this", "all"]:
        """Whose tables they are."""
        ...

    def reading(
        self, seconds: float | None = None, *, snapshot: bool = True
    ) -> AbstractContextManager["Reader"]:
        """A reader on one snapshot."""
        ...

    def query(self, name: str, /, **values: Any) -> list[Row]:
        """All rows of a named query."""
        ...


def connect(database: str, options: StorageOptions) -> Connection:
    """Opens a file, or `:memory:`, with what the settings let DuckDB use; times are in UTC."""
    NoPandas.install()
    connection = duckdb.connect(
        database,
        config={
            "threads": str(options.database_threads),
            "memory_limit": f"{options.database_memory_bytes // 2**20}MiB",
            "temp_directory": str(options.data_dir / "tmp"),
            "autoinstall_known_extensions": "false",
        },
    )
    try:
        connection.execute("SET GLOBAL TimeZone = 'UTC'")
    except BaseException:
        connection.close()
        raise
    return connection


class Reader:
    """Runs named queries on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, queries: Mapping[str, Query]) -> None:
        self._connection = connection
        self._queries = queries

    def _run(
        self, name: str, values: Mapping[str, Any], incoming: pa.Table | None = None
    ) -> duckdb.DuckDBPyConnection:
        """`incoming` is the table of that name in the statement: DuckDB finds it among the caller's variables,
        in a third of the time that registering it takes."""
        query = self._queries[name]
        return self._connection.execute(query.text, query.bind(values))

    def query(self, name: str, /, **values: Any) -> list[Row]:
        """All rows of a named query; timestamps are aware UTC, decimals are `Decimal`.

        A row or a few come in half the time that they take through Arrow; thousands take the same.
        """
        found = self._run(name, values)
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def one(self, name: str, /, **values: Any) -> Row | None:
        """The first row, or none."""
        rows = self.query(name, **values)
        return rows[0] if rows else None

    def table(self, name: str, /, **values: Any) -> pa.Table:
        """All rows of a named query as an Arrow table, with the database's types."""
        return self._run(name, values).to_arrow_table()

    def batches(self, name: str, /, rows_per_batch: int = 50_000, **values: Any) -> Iterator[pa.RecordBatch]:
        """The rows as Arrow batches, in constant memory."""
        yield from self._run(name, values).to_arrow_reader(rows_per_batch)

    def copy_to(self, path: Path) -> None:
        """Writes all that is committed now to a new database file, with tables, keys and defaults, while the writer
        goes on; one copy at a time.

        Not on a snapshot: a transaction that only reads may not write to another file either.
        """
        written = str(path).replace("'", "''")  # a statement that attaches takes no parameters
        self._connection.execute("DETACH DATABASE IF EXISTS copied")  # one whose end was interrupted too
        self._connection.execute(f"ATTACH '{written}' AS copied")
        try:
            self._connection.execute("BEGIN")
            self._connection.execute(f"COPY FROM DATABASE {DATABASE_NAME} TO copied")
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # it ended with the failure
                self._connection.execute("ROLLBACK")
            raise
        finally:
            self._connection.execute("DETACH copied")

    def interrupt(self) -> None:
        """Ends what it reads just now, from another thread."""
        self._connection.interrupt()


class Transaction(Reader):
    """What a job of the writer may do; it is committed when the job returns."""

    def execute(self, name: str, /, **values: Any) -> int:
        """Runs a named INSERT, UPDATE or DELETE; returns the number of rows it touched."""
        return _touched(self._run(name, values))

    def insert(self, table: str, rows: Sequence[Any]) -> None:
        """Adds rows (mappings of the same keys, dataclasses or structs): many at Arrow's speed, a few as they are."""
        if not rows:
            return
        if are_few(rows):
            columns, marks, values = as_values(rows)
            self._connection.execute(f"INSERT INTO {table} ({columns}) VALUES {marks}", values)  # noqa: S608
            return
        incoming = as_table(rows)
        self._connection.execute(f"INSERT INTO {table} BY NAME SELECT * FROM incoming")  # noqa: S608  (our own name)
        del incoming  # it was read, as `_run` says

    def merge(self, name: str, /, rows: Sequence[Any], **values: Any) -> int:
        """Runs a named statement that reads the rows as the table `incoming`; returns what it touched."""
        return self.pour(name, as_table(rows), **values)

    def pour(self, name: str, /, incoming: pa.Table, **values: Any) -> int:
        """The same with rows that are an Arrow table."""
        return _touched(self._run(name, values, incoming))

    def compare(self, name: str, /, incoming: pa.Table, **values: Any) -> pa.Table:
        """All rows of a named query that reads the table `incoming`."""
        return self._run(name, values, incoming).to_arrow_table()


def _touched(result: duckdb.DuckDBPyConnection) -> int:
    row = result.fetchone()
    return int(row[0]) if row else 0
