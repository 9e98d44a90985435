"""All nodes' tables, read as one node's are: the same named queries run over views on the lake."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from metering.connection import Connection, DatabaseError, Reader, Row
from metering.failures import LakeFailed, ReadTimeout
from metering.lake.attached import Lake
from metering.lake.catalogue import without_password
from metering.options import StorageOptions
from metering.queries import load_migrations, load_queries
from metering.watchdog import Watchdog


class LakeTables:
    """A `Readable`. Whoever waits for a lake that hangs has one of a few places; the others are told at once."""

    def __init__(self, options: StorageOptions) -> None:
        self._options = options
        self._queries = load_queries(["metering"])
        self._watchdog = Watchdog()
        self._lake = Lake(options, read_only=True, prepare=self._prepare)
        self._slots = threading.BoundedSemaphore(options.lake_read_connections)

    @property
    def data_dir(self) -> Path:
        """The data folder of this node."""
        return self._options.data_dir

    @property
    def nodes(self) -> Literal["all"]:
        """Whose tables they are."""
        return "all"

    def _prepare(self, lake: Connection) -> None:
        """The tables of a node, empty, and before them in the search path the views on those that the lake has."""
        if not Reader(lake, self._queries).query("lake_views.made"):
            for _, _, sql in load_migrations():
                lake.execute(sql)
        lake.execute(self._queries["lake_views.create"].text)

    @contextmanager
    def reading(self, seconds: float | None = None, *, snapshot: bool = True) -> Iterator[Reader]:
        """A reader on one snapshot of the lake; raises `LakeFailed`, or `ReadTimeout` as a store's does."""
        limit = float(self._options.read_timeout_seconds) if seconds is None else seconds
        if not self._slots.acquire(timeout=self._options.lake_timeout_seconds):
            raise LakeFailed(
                "all that may read the lake at once do; set storage.lake_read_connections higher"
            )
        try:
            cursor = self._lake.cursor()
            watch = self._watchdog.watch(limit, cursor.interrupt)
            try:
                cursor.execute("SET search_path = 'memory.nodes,memory.main'")
                if snapshot:
                    cursor.execute("BEGIN TRANSACTION READ ONLY")
                yield Reader(cursor, self._queries)
            except DatabaseError as error:
                self._lake.leave()
                if watch.passed:
                    raise ReadTimeout(f"the lake took longer than {limit:g} s and was stopped") from None
                raise LakeFailed(without_password(str(error))) from None
            finally:
                watch.end()
                cursor.close()
        finally:
            self._slots.release()

    def query(self, name: str, /, **values: Any) -> list[Row]:
        """All rows of a named query."""
        with self.reading(snapshot=False) as read:
            return read.query(name, **values)

    def close(self) -> None:
        """Lets go of the lake."""
        self._lake.close()
