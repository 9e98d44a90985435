"""A folder that holds a backup: filled from an archive, and as a whole or not at all.

What comes is put aside in `.incoming` first. What is there already is checked by its hash and not sent again, from a
run that was cut off as well. Only when everything is there does it take the place of the backup before it.
"""

import fcntl
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from executor.result_files import make_folder, sha256_of, sync_folder
from nightrate.backup.content import ABOUT, DATABASE, SUMS, NotABackup, about_of, checked, sums_of

_INCOMING = ".incoming"
_PART = ".part"
_PRIVATE = 0o600
_BLOCK = 1 << 20
_ALWAYS_SENT = frozenset({DATABASE, ABOUT, SUMS})

Progressed = Callable[[int], None]
"""Called with the number of bytes of each step."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a backup came to."""

    files: int
    """Beside the database."""
    received: int
    """Of them, those that were not there before."""
    bytes: int
    """Of all of it."""
    created_at: str
    missing: tuple[str, ...]
    """Files that the database names and the data folder did not have."""


class BackupFolder:
    """One folder of the receiver's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._incoming = path / _INCOMING

    def prepare(self) -> None:
        """Makes it if there is none; raises `NotABackup` for a folder that holds something else."""
        self._path.mkdir(parents=True, exist_ok=True, mode=0o700)
        found = {entry.name for entry in self._path.iterdir()}
        if found and not found & {SUMS, _INCOMING}:
            raise NotABackup(f"{self._path} holds something else than a backup; name a new or empty folder")
        self._path.chmod(0o700)
        self._lock = os.open(self._path, os.O_RDONLY)  # until the process ends
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise NotABackup(f"another backup is being written to {self._path}; wait for its end") from None
        make_folder(self._incoming)
        for part in self._incoming.rglob(f"*{_PART}"):
            part.unlink()

    def have(self, progressed: Progressed) -> dict[str, str]:
        """Names and hashes of what is there and is what it should be; reads all of it."""
        there = [path for path in self._incoming.rglob("*") if path.is_file()]
        found = {path.relative_to(self._incoming).as_posix(): _hash(path, progressed) for path in there}
        for name, sha256 in self._sums().items():
            if name not in found and _hash(self._path / name, progressed) == sha256:
                found[name] = sha256
        return {name: sha256 for name, sha256 in found.items() if sha256 and name not in _ALWAYS_SENT}

    def receive(self, archive: IO[bytes], progressed: Progressed, have: Mapping[str, str]) -> Kept:
        """Takes an archive and makes it the backup; raises `NotABackup` if it is not whole."""
        received = self._unpack(archive, progressed)
        if SUMS not in received:
            raise NotABackup("the backup broke off before its end")
        sums = sums_of(self._incoming)
        for name, sha256 in sums.items():
            if received.get(name, have.get(name)) != sha256:
                raise NotABackup(f"{name} did not come as it was sent")
        self._take_place(sums)
        return self._kept(sums, len(received.keys() & sums.keys() - {DATABASE, ABOUT}))

    # -- inside ------------------------------------------------------------------------------------

    def _sums(self) -> Mapping[str, str]:
        """Of the backup that is there, or that was just about to be."""
        for folder in (self._path, self._incoming):
            with suppress(NotABackup):
                return sums_of(folder)
        return {}

    def _unpack(self, archive: IO[bytes], progressed: Progressed) -> dict[str, str]:
        """The names and hashes of what came, durable in its place aside."""
        received = {}
        try:
            with tarfile.open(fileobj=archive, mode="r|") as members:
                for member in members:
                    name = member.name if member.name == SUMS else checked(member.name)
                    content = members.extractfile(member)
                    if content is None:
                        raise NotABackup(f"{name} is no file")
                    received[name] = write_file(self._incoming / name, content, progressed)
        except (tarfile.TarError, EOFError) as error:
            raise NotABackup(f"the backup broke off before its end ({error})") from error
        return received

    def _take_place(self, sums: Mapping[str, str]) -> None:
        """From here on until the list is there the folder holds no backup: seconds, since files are only renamed."""
        (self._path / SUMS).unlink(missing_ok=True)
        sync_folder(self._path)
        for name in sums:
            if (came := self._incoming / name).exists():
                make_folder((self._path / name).parent)
                came.replace(self._path / name)
        for folder in ("files", "outputs"):
            self._clear(folder, sums)
        (self._incoming / SUMS).replace(self._path / SUMS)
        sync_folder(self._path)
        shutil.rmtree(self._incoming)

    def _clear(self, folder: str, sums: Mapping[str, str]) -> None:
        """What was deleted must not live on in a backup."""
        if (path := self._path / folder).is_dir():
            for entry in path.iterdir():
                if f"{folder}/{entry.name}" not in sums:
                    entry.unlink()
            sync_folder(path)

    def _kept(self, sums: Mapping[str, str], received: int) -> Kept:
        about = about_of(self._path)
        return Kept(
            files=len(sums.keys() - {DATABASE, ABOUT}),
            received=received,
            bytes=sum((self._path / name).stat().st_size for name in sums),
            created_at=about["created_at"],
            missing=tuple(about["missing"]),
        )


def _hash(path: Path, progressed: Progressed) -> str | None:
    """None of a file that is not there or can't be read: it is fetched again."""
    try:
        size = path.stat().st_size
        progressed(size)
        return sha256_of(path, size)
    except OSError:
        return None


def write_file(path: Path, content: IO[bytes], progressed: Progressed) -> str:
    """Writes what is read, durably and for its owner alone; its hash."""
    make_folder(path.parent)
    part = path.with_name(path.name + _PART)
    digest = hashlib.sha256()
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _PRIVATE), "wb") as file:
        while block := content.read(_BLOCK):
            digest.update(block)
            file.write(block)
            progressed(len(block))
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return digest.hexdigest()
