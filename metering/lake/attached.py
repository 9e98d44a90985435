"""A DuckDB of its own, in memory, with the lake attached as `lake`.

PostgreSQL can hang, and nothing ends a wait for it: so neither the writer nor a reader of the node's own database
ever meets it, and whoever does may be kept waiting without harm to anything else.
"""

import threading
from collections.abc import Callable

from metering.connection import DUCKDB_VERSION, Connection, DatabaseError, connect
from metering.failures import LakeFailed
from metering.lake.catalogue import conninfo, without_password
from metering.lake.extensions import extension_files
from metering.options import StorageOptions


def check_extensions(options: StorageOptions) -> None:
    """Raises `ExtensionsMissing` if the lake is wanted and can't be had."""
    if options.lake is not None:
        extension_files(DUCKDB_VERSION, options.lake_data or "")


class Lake:
    """The lake as one DuckDB sees it; `cursor` may be called from any thread."""

    def __init__(
        self,
        options: StorageOptions,
        *,
        read_only: bool = False,
        prepare: Callable[[Connection], None] = lambda _: None,
    ) -> None:
        """`prepare` is called whenever the lake was attached."""
        self._options, self._read_only, self._prepare = options, read_only, prepare
        self._lock = threading.Lock()
        self._loaded: Connection | None = None
        self._attached = False

    def cursor(self) -> Connection:
        """A connection of the caller's own; raises `LakeFailed` if the lake can't be reached."""
        with self._lock:
            if self._loaded is None:
                self._loaded = self._load()
            if not self._attached:
                self._attach(self._loaded)
            return self._loaded.cursor()

    def leave(self) -> None:
        """Forgets the lake's connections, of which one failed: the next cursor makes new ones."""
        with self._lock:
            self._attached = False
            if self._loaded is not None:
                try:
                    self._loaded.execute("DETACH DATABASE IF EXISTS lake")
                except DatabaseError:
                    self._loaded = None

    def close(self) -> None:
        """Ends it."""
        with self._lock:
            if self._loaded is not None:
                self._loaded.close()
            self._loaded, self._attached = None, False

    def _load(self) -> Connection:
        """Which takes a second: DuckDB checks the signature of each extension."""
        loaded = connect(":memory:", self._options)
        try:
            for file in extension_files(DUCKDB_VERSION, self._options.lake_data or ""):
                loaded.execute(f"LOAD {_quoted(str(file))}")
            if (self._options.lake_data or "").startswith("s3://"):
                loaded.execute(f"SET GLOBAL s3_url_style = {_quoted(self._options.lake_s3_url_style)}")
        except BaseException:
            loaded.close()
            raise
        return loaded

    def _attach(self, loaded: Connection) -> None:
        options = self._options
        target = f"ducklake:postgres:{conninfo(options.lake or '', options.lake_timeout_seconds)}"
        how = f"DATA_PATH {_quoted(options.lake_data or '')}{', READ_ONLY' if self._read_only else ''}"
        try:
            loaded.execute("DETACH DATABASE IF EXISTS lake")  # if it could not be prepared
            loaded.execute(f"ATTACH {_quoted(target)} AS lake ({how})")
            self._prepare(loaded)
        except DatabaseError as error:
            raise LakeFailed(without_password(str(error))) from None
        self._attached = True


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
