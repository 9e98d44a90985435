"""Making a backup of a data folder that is in use.

First the database copies itself, as of one moment, while the writer goes on. Then the files go that this copy names:
they are never changed once it does, and of those that still grow only the lengths in it count. A file that is deleted
meanwhile is deleted in the copy too, which goes last but for the list of hashes.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from executor.result_files import error_path, first_bytes, output_path
from metering.clock import Clock
from metering.errors import Conflict, Refused
from metering.options import StorageOptions
from metering.queries import load_migrations
from metering.store import Reader, Store, Transaction
from nightrate.backup.archive import END, member
from nightrate.backup.content import ABOUT, DATABASE, RESTORED, SUMS, line_of

log = logging.getLogger("nightrate.backup")

_PREFIX = "backup-"
_COPY_MEMORY_BYTES = 256 << 20
_ROWS_AT_ONCE = 10_000


class NoRoom(Refused):
    """The copy of the database doesn't fit on the disk."""

    status = 507
    type = "server_error"

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        super().__init__(
            f"The database is copied within the data folder first: that takes {needed_bytes:,} bytes beside "
            f"storage.min_free_bytes, and {free_bytes:,} are free. Make room and try again.",
            code="no_room",
        )


@dataclass(frozen=True, slots=True)
class _File:
    """A file that the database names."""

    path: str
    sha256: str | None
    """None while it grows."""
    counted: int | None = None
    """Of one that grows: so many bytes of it count."""

    def size(self, found: int) -> int:
        """How much of it belongs to the backup."""
        return found if self.counted is None else min(found, self.counted)


class Backup:
    """One backup: read `pieces` once, then close it."""

    def __init__(
        self, source: Store, copy: Store, have: Mapping[str, str], about: Mapping[str, object]
    ) -> None:
        self._source, self._copy = source, copy
        self._have, self._about = have, about
        self._hashes: BinaryIO = tempfile.TemporaryFile(dir=copy.data_dir)  # noqa: SIM115  (`close` ends it)
        self.bytes = copy.size_bytes() + sum(map(self._bytes_of, self._files()))
        """About what is sent: the database may change a little, and files may be deleted."""

    def pieces(self) -> Iterator[bytes]:
        """The archive: the files that the receiver doesn't have, the database, what it is, and the hashes of all."""
        gone = []
        for file in self._files():
            if self._has(file):
                self._hashes.write(line_of(file.path, str(file.sha256)))
                continue
            try:
                content = (self._source.data_dir / file.path).open("rb")
            except OSError:
                gone.append(file.path)
                continue
            yield from self._hashed(file.path, content, file)
        missing = self._forgotten(gone)
        self._copy.close()
        database = self._copy.data_dir / DATABASE
        yield from self._hashed(DATABASE, database.open("rb"), _File(DATABASE, None))
        about = json.dumps({**self._about, "missing": missing}, indent=2).encode() + b"\n"
        self._hashes.write(line_of(ABOUT, hashlib.sha256(about).hexdigest()))
        yield from member(ABOUT, len(about), [about])
        length = self._hashes.tell()
        self._hashes.seek(0)
        yield from member(SUMS, length, first_bytes(self._hashes, length))
        yield END

    def close(self) -> None:
        """Removes the copy."""
        self._copy.close()
        self._hashes.close()
        shutil.rmtree(self._copy.data_dir, ignore_errors=True)

    # -- inside ------------------------------------------------------------------------------------

    def _files(self) -> Iterator[_File]:
        """First what running tasks need, since it may be deleted once they have ended."""
        for task in self._copy.query("backup.running"):
            yield _File(task["path"], task["sha256"])
            for path, counted in (
                (output_path(task["id"]), task["output_bytes"]),
                (error_path(task["id"]), task["error_bytes"]),
            ):
                if counted:
                    yield _File(path, None, counted)
        after = ""
        while rows := self._copy.query("backup.files", after=after, rows=_ROWS_AT_ONCE):
            yield from (_File(**row) for row in rows)
            after = rows[-1]["path"]

    def _has(self, file: _File) -> bool:
        return file.sha256 is not None and self._have.get(file.path) == file.sha256

    def _bytes_of(self, file: _File) -> int:
        if self._has(file):
            return 0
        try:
            return file.size((self._source.data_dir / file.path).stat().st_size)
        except FileNotFoundError:
            return 0

    def _hashed(self, name: str, content: BinaryIO, file: _File) -> Iterator[bytes]:
        """The member; its hash is of what was sent, whatever the database says: the audit compares them."""
        digest = hashlib.sha256()

        def passing(pieces: Iterable[bytes]) -> Iterator[bytes]:
            for piece in pieces:
                digest.update(piece)
                yield piece

        length = file.size(os.fstat(content.fileno()).st_size)
        yield from member(name, length, passing(first_bytes(content, length)))
        self._hashes.write(line_of(name, digest.hexdigest()))

    def _forgotten(self, gone: Iterable[str]) -> list[str]:
        """Marks as deleted in the copy what was deleted meanwhile; gives what is missing for another reason, and what
        a task needs that still runs in the copy."""
        missing = []
        for path in gone:
            row = self._source.one("backup.deleted_at", path=path)
            if row is None or not self._copy.write(partial(_forget, path=path, deleted_at=row["deleted_at"])):
                missing.append(path)
        if missing:
            log.warning(
                "%d files that the database names are missing, %s among them", len(missing), missing[0]
            )
        return missing


def _forget(tx: Transaction, path: str, deleted_at: datetime) -> int:
    return tx.execute("backup.forget", path=path, deleted_at=deleted_at)


class Backups:
    """Makes backups of one data folder, one at a time."""

    def __init__(self, store: Store, options: StorageOptions, version: str, clock: Clock) -> None:
        self._store, self._options = store, options
        self._version, self._clock = version, clock
        self._one = threading.Lock()
        self._reader: Reader | None = None
        self._folder = options.data_dir / "tmp"

    def begin(self, have: Mapping[str, str]) -> Backup:
        """Copies the database; `have` are the names and hashes of files that need not be sent.

        Refused: while another backup is made (409), without room for the copy (507).
        """
        if not self._one.acquire(blocking=False):
            raise Conflict("A backup is being made; wait for its end.", code="backup_running")
        try:
            self._check_room()
            return self._begun(have)
        except BaseException:
            self._one.release()
            raise

    def end(self, backup: Backup) -> None:
        """Removes what a backup needed, whether or not it came to its end."""
        backup.close()
        self._one.release()

    def stop(self) -> None:
        """Ends a copy that is being made."""
        if (reader := self._reader) is not None:
            reader.interrupt()

    def discard_unfinished(self) -> None:
        """Removes copies that a crash left, of a restore too; call it at start."""
        for folder in self._folder.glob(f"{_PREFIX}*"):
            shutil.rmtree(folder, ignore_errors=True)
        for file in self._folder.glob(f"{RESTORED}*"):
            file.unlink(missing_ok=True)

    def _check_room(self) -> None:
        free = shutil.disk_usage(self._options.data_dir).free
        if (needed := self._store.size_bytes()) > free - self._options.min_free_bytes:
            raise NoRoom(needed, free)

    def _begun(self, have: Mapping[str, str]) -> Backup:
        about = {
            "object": "backup",
            "created_at": self._clock().isoformat(),
            "version": self._version,
            "schema_version": load_migrations()[-1][0],
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=self._folder))
        try:
            self._copy(folder / DATABASE)
            with ExitStack() as undo:
                copy = Store(self._as_copied(folder), clock=self._clock)
                undo.callback(copy.close)
                backup = Backup(self._store, copy, have, about)
                undo.pop_all()
            return backup
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    def _copy(self, path: Path) -> None:
        with self._store.reading(float(self._options.backup_timeout_seconds), snapshot=False) as reader:
            self._reader = reader
            try:
                reader.copy_to(path)
            finally:
                self._reader = None

    def _as_copied(self, folder: Path) -> StorageOptions:
        less = {"data_dir": folder, "database_threads": 1, "database_memory_bytes": _COPY_MEMORY_BYTES}
        return self._options.model_copy(update=less)
