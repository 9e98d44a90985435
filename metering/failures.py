"""What can go wrong with the database.

StoreError
├── DataFolderInUse      another process owns the file
├── DataFolderNewer      a newer Nightrate wrote it
├── WriteFailed          the transaction was rolled back, or its outcome is unknown: trust the stored state
│   └── StoreInvalid     the database must be reopened first
├── ReadFailed           a query could not be answered
│   └── ReadTimeout      it took longer than `storage.read_timeout_seconds`
├── StoreClosed
└── LakeFailed           the lake that several nodes share can't be read or written now
    └── LakeRefused      it is not one that this node may write to: somebody must decide
"""


class StoreError(Exception):
    """Something about the database."""


class DataFolderInUse(StoreError):
    """Another process owns the data folder."""

    def __init__(self, path: str, pid: str | None) -> None:
        self.path, self.pid = path, pid
        owner = f"process {pid}" if pid else "another process"
        super().__init__(f"the database {path} is in use by {owner}; stop it or use another storage.data_dir")


class DataFolderNewer(StoreError):
    """The data folder was written by a newer version."""

    def __init__(self, path: str, found: int, known: int) -> None:
        self.path, self.found, self.known = path, found, known
        super().__init__(
            f"the database {path} has schema version {found}, this Nightrate knows only {known}: "
            "it was written by a newer version; upgrade, or use another storage.data_dir"
        )


class WriteFailed(StoreError):
    """A transaction failed; its effects are all there or not at all, which only a read can tell."""


class StoreInvalid(WriteFailed):
    """DuckDB gave up on the whole database until it is reopened."""


class ReadFailed(StoreError):
    """A query failed."""


class ReadTimeout(ReadFailed):
    """A query was stopped at its time limit."""


class StoreClosed(StoreError):
    """The store was closed."""


class LakeFailed(StoreError):
    """The lake can't be reached, or refused what it was asked."""


class LakeRefused(LakeFailed):
    """The lake belongs to nodes that bill otherwise, or is of another version."""
