"""Uploaded files and outputs: bytes under the data folder, one row each in `files`.

A file's bytes are durable before its row is written, and its row is marked before its bytes go: a row
that says present always has its bytes.
"""

import hashlib
import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Literal, Self

from executor.options import LimitOptions
from executor.owners import enabled_owner
from executor.result_files import make_folder, sync_folder
from metering.access import Access
from metering.clock import Clock
from metering.errors import Conflict, InvalidParameter, NotFound, Refused
from metering.pages import Page, page_of
from metering.store import Store, Transaction

Order = Literal["asc", "desc"]
EXPIRES_AFTER_SECONDS = range(3600, 2_592_000 + 1)
"""What OpenAI allows for `expires_after.seconds`: an hour to 30 days."""

_FILENAME_CHARACTERS = 255
_UNFINISHED = ".upload"
log = logging.getLogger("nightrate.files")


class FileTooLarge(Refused):
    """The upload is above `limits.file_bytes`."""

    status = 413

    def __init__(self, largest_bytes: int) -> None:
        super().__init__(
            f"The file is larger than {largest_bytes:,} bytes; split it into several files.",
            param="file",
            code="file_too_large",
        )


class DiskUnavailable(Refused):
    """The data folder can't be written now."""

    status = 503
    type = "server_error"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The file could not be stored ({reason}); try again later.", code="storage_unavailable"
        )


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A row of `files`."""

    id: str
    workspace_id: str
    api_key_id: str | None
    task_id: str | None
    """Of an output: the task that wrote it."""
    purpose: str
    """`batch` or `batch_output`."""
    filename: str
    path: str
    """Relative to the data folder."""
    bytes: int
    sha256: str
    created_at: datetime
    expires_at: datetime | None
    deleted_at: datetime | None


class Upload:
    """A file that is being received. Leaving its `with` block without a commit leaves nothing behind."""

    def __init__(
        self,
        files: "Files",
        temporary: Path,
        row: StoredFile,
        largest_bytes: int,
        expires_after_seconds: int | None,
    ) -> None:
        self.expires_after_seconds = expires_after_seconds
        """Seconds from the commit to the expiry; may be set until then, since a form may name it last."""
        self._files = files
        self._temporary = temporary
        self._row = row
        self._largest = largest_bytes
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()
        self._bytes = 0

    def __enter__(self) -> Self:
        with _disk():
            self._temporary.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._temporary.open("xb", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        self._close()
        self._temporary.unlink(missing_ok=True)

    def name(self, filename: str | None) -> None:
        """Gives the file its name, which a form may tell late."""
        self._row = replace(self._row, filename=_file_name(filename))

    def write(self, data: bytes) -> None:
        """Takes the next part; above the limit it is `FileTooLarge`."""
        assert self._file is not None
        self._bytes += len(data)
        if self._bytes > self._largest:
            raise FileTooLarge(self._largest)
        self._sha256.update(data)
        view = memoryview(data)
        with _disk():
            while view:
                view = view[self._file.write(view) :]

    def commit(self) -> StoredFile:
        """Makes the file durable and known."""
        return self._files.keep(self.place())

    def place(self) -> StoredFile:
        """Makes the bytes durable in their place. The row is the caller's to write; without it, `Files.drop`."""
        check_expiry(self.expires_after_seconds)
        assert self._file is not None
        with _disk():
            os.fsync(self._file.fileno())
        self._close()
        return self._files.place(
            self._temporary, self._row, self._bytes, self._sha256.hexdigest(), self.expires_after_seconds
        )

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


@contextmanager
def _disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        log.error("an upload could not be written: %s", error)
        raise DiskUnavailable(error.strerror or type(error).__name__) from error


class Files:
    """Everything that is done to files. Thread-safe."""

    def __init__(
        self,
        store: Store,
        data_dir: Path,
        limits: LimitOptions,
        clock: Clock,
    ) -> None:
        self._store = store
        self._data_dir = data_dir
        self.limits = limits
        self._clock = clock

    def receive(
        self,
        access: Access,
        *,
        filename: str | None,
        purpose: str = "batch",
        expires_after_seconds: int | None = None,
        workspace_id: str | None = None,
    ) -> Upload:
        """Begins an upload; use it in a `with` block: write, then commit."""
        check_purpose(purpose)
        check_expiry(expires_after_seconds)
        with self._store.reading() as reader:
            owner = enabled_owner(reader, access, workspace_id)
        now = self._clock()
        identity = f"file-batch-{secrets.token_hex(12)}"
        row = StoredFile(
            id=identity,
            workspace_id=owner.id,
            api_key_id=access.key_id,
            task_id=None,
            purpose=purpose,
            filename=_file_name(filename),
            path=f"files/{identity}",
            bytes=0,
            sha256="",
            created_at=now,
            expires_at=None,
            deleted_at=None,
        )
        temporary = self._data_dir / "tmp" / f"{identity}{_UNFINISHED}"
        return Upload(self, temporary, row, self.limits.file_bytes, expires_after_seconds)

    def place(
        self,
        temporary: Path,
        row: StoredFile,
        file_bytes: int,
        sha256: str,
        expires_after_seconds: int | None,
    ) -> StoredFile:
        """Gives a complete, synced temporary file its place; nobody knows of it until its row is written."""
        now = self._clock()
        file = replace(
            row,
            bytes=file_bytes,
            sha256=sha256,
            created_at=now,
            expires_at=_later(now, expires_after_seconds),
        )
        path = self.path_of(file)
        with _disk():
            make_folder(path.parent)
            temporary.rename(path)
            sync_folder(path.parent)
        return file

    def keep(self, file: StoredFile) -> StoredFile:
        """Writes the row of a file that has its place."""
        # If this fails, nobody knows whether the row is there: bytes too many do less harm than too few.
        self._store.write(lambda tx: tx.insert("files", [file]))
        return file

    def drop(self, file: StoredFile) -> None:
        """Removes the bytes of a file that surely has no row."""
        self.path_of(file).unlink(missing_ok=True)

    def discard_unfinished(self) -> None:
        """Removes what uploads left that a crash cut off; call it at start, before any upload."""
        for path in (self._data_dir / "tmp").glob(f"*{_UNFINISHED}"):
            path.unlink(missing_ok=True)

    def get(self, access: Access, file_id: str, workspace_id: str | None = None) -> StoredFile:
        """A file that the caller may see; deleted and expired ones are `NotFound`."""
        scope = access.visible(workspace_id)
        row = self._store.one("files.one", id=file_id, workspace_id=scope, now=self._clock())
        if row is None:
            raise NotFound("file", file_id, param="file_id")
        return StoredFile(**row)

    def list(
        self,
        access: Access,
        *,
        purpose: str | None = None,
        limit: int = 10_000,
        after: str | None = None,
        order: Order = "desc",
        workspace_id: str | None = None,
    ) -> Page[StoredFile]:
        """Uploads and outputs by their time of creation; `after` is the id that the last page ended with."""
        scope = access.visible(workspace_id)
        with self._store.reading() as reader:
            place = reader.one("files.place", id=after, workspace_id=scope) if after is not None else None
            if after is not None and place is None:
                raise InvalidParameter(f"No such file: {after!r}.", param="after")
            rows = reader.query(
                "files.page",
                workspace_id=scope,
                purpose=purpose,
                now=self._clock(),
                after_at=place and place["created_at"],
                after_id=after,
                descending=order == "desc",
                rows=limit + 1,
            )
        return page_of([StoredFile(**row) for row in rows], limit)

    def delete(self, access: Access, file_id: str, workspace_id: str | None = None) -> StoredFile:
        """Deletes the bytes and keeps the row; a file that a running task reads is a `Conflict`."""
        file = self.get(access, file_id, workspace_id)
        self._store.write(lambda tx: self._mark_deleted(tx, file))
        self.path_of(file).unlink(missing_ok=True)
        return file

    def _mark_deleted(self, tx: Transaction, file: StoredFile) -> None:
        if (user := tx.one("files.users", id=file.id)) is not None:
            raise Conflict(
                f"The file {file.id!r} is used by the batch {user['id']!r}, which has not ended; "
                "cancel it or wait for its end.",
                param="file_id",
                code="file_in_use",
            )
        if tx.execute("files.mark_deleted", id=file.id, now=self._clock()) == 0:
            raise NotFound("file", file.id, param="file_id")

    def path_of(self, file: StoredFile) -> Path:
        """Where the bytes lie."""
        return self._data_dir / file.path


def check_purpose(purpose: str | None) -> None:
    """Refuses every purpose but `batch`: outputs are made by tasks alone."""
    if purpose != "batch":
        raise InvalidParameter(
            f"Invalid value for 'purpose': {purpose!r}. Write 'batch', the only supported value.",
            param="purpose",
        )


def check_expiry(seconds: int | None, param: str = "expires_after[seconds]") -> None:
    """Refuses an expiry outside of OpenAI's bounds; None is no expiry."""
    if seconds is not None and seconds not in EXPIRES_AFTER_SECONDS:
        raise InvalidParameter(
            f"Invalid value for '{param}': {seconds}. It must be between 3600 (an hour) and 2592000 (30 days).",
            param=param,
        )


def _later(moment: datetime, seconds: int | None) -> datetime | None:
    return None if seconds is None else moment + timedelta(seconds=seconds)


def _file_name(sent: str | None) -> str:
    name = PurePosixPath((sent or "").replace("\\", "/")).name
    printable = "".join(character for character in name if character.isprintable())
    return printable[-_FILENAME_CHARACTERS:] or "upload.jsonl"
