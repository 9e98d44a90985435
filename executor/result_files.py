"""A task's result file and error file: they grow by whole lines, and only a stored length counts."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from executor.request import line_no_of

_BLOCK = 1 << 20


class _ResultId(msgspec.Struct):
    id: str


class CutShort(OSError):
    """Somebody took lines that count away while the file was open."""


class LineFile:
    """One append-only file of lines. `length` is what is known to count; bytes behind it don't."""

    def __init__(self, path: Path, length: int) -> None:
        self.path = path
        self.length = length
        self._descriptor: int | None = None
        self._named = length > 0  # a file that a commit named has its folder entry on disk

    def append(self, data: bytes) -> int:
        """Writes behind the length that counts and returns the new length, which doesn't count yet.

        Raises `CutShort` if lines that count are gone: what is written now would lie behind a hole.
        """
        descriptor = self._open()
        found = os.fstat(descriptor)
        if found.st_size < self.length or not found.st_nlink:
            raise CutShort(f"{self.path} was cut short or deleted under the running task")
        view, position = memoryview(data), self.length
        while view:
            written = os.pwrite(descriptor, view, position)
            view, position = view[written:], position + written
        return position

    def sync(self) -> None:
        """Makes what was written durable, and the file's name with its first bytes."""
        if self._descriptor is None:
            return
        os.fsync(self._descriptor)
        if not self._named:
            sync_folder(self.path.parent)
            self._named = True

    def cut(self) -> None:
        """Drops everything behind the length that counts."""
        if self.length == 0 and not self.path.exists():
            return
        os.ftruncate(self._open(), self.length)
        self.sync()

    def close(self) -> None:
        """Gives the descriptor back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            make_folder(self.path.parent)
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return self._descriptor


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Both files of one task."""

    output: LineFile
    error: LineFile

    @classmethod
    def of(cls, data_dir: Path, task_id: str, output_bytes: int, error_bytes: int) -> "ResultFiles":
        """The files of a task at the lengths that its row stores."""
        return cls(
            LineFile(data_dir / output_path(task_id), output_bytes),
            LineFile(data_dir / error_path(task_id), error_bytes),
        )

    def both(self) -> tuple[LineFile, LineFile]:
        """Result file, error file."""
        return self.output, self.error

    def close(self) -> None:
        """Closes both."""
        for file in self.both():
            file.close()


def output_path(task_id: str) -> str:
    """Where a task's result file lies in the data folder."""
    return f"outputs/{task_id}.output.jsonl"


def error_path(task_id: str) -> str:
    """Where a task's error file lies in the data folder."""
    return f"outputs/{task_id}.error.jsonl"


def make_folder(folder: Path) -> None:
    """Makes a folder, if it isn't there, and its name durable."""
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path, length: int) -> str:
    """The SHA-256 of a file's first `length` bytes; an `OSError` if it has fewer."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        left = length
        while left:
            block = file.read(min(left, _BLOCK))
            if not block:
                raise OSError(f"{path} ended {left} bytes early")
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def whole_lines(path: Path, length: int) -> tuple[int, set[int]]:
    """Of a damaged file: the length of its leading whole lines and the input lines that they answer."""
    kept, lines = 0, set[int]()
    if path.exists():
        for end, number in _readable(path, length):
            kept = end
            lines.add(number)
    return kept, lines


def _readable(path: Path, length: int) -> Iterator[tuple[int, int]]:
    decode = msgspec.json.Decoder(_ResultId).decode
    position = 0
    with path.open("rb") as file:
        for line in file:
            position += len(line)
            if not line.endswith(b"\n") or position > length:
                return
            try:
                yield position, line_no_of(decode(line).id)
            except (msgspec.DecodeError, ValueError):
                return


def first_bytes(file: BinaryIO, length: int) -> Iterator[bytes]:
    """The first `length` bytes of an open file that may still grow; closes it."""
    with file:
        while length and (block := file.read(min(length, _BLOCK))):
            length -= len(block)
            yield block
