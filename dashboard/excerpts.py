"""Single lines of a data file, as far as a person reads them: the way from a fault to where it stands."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

BLOCK = 1 << 16
SHOWN_BYTES = 4000


def line_of(path: Path, number: int) -> str | None:
    """The beginning of a physical line, from 1; none if the file has fewer."""
    return excerpts(path, {number}).get(number)


def line_beginning(path: Path, mark: bytes) -> tuple[int, str] | None:
    """The first line that begins so, with its number; none if no line does."""
    with path.open("rb") as file:
        for number, begun in _beginnings(file, SHOWN_BYTES):
            if begun.startswith(mark):
                return number, begun.decode("utf-8", errors="replace").rstrip("\r\n")
    return None


def excerpts(path: Path, numbers: Collection[int], most_bytes: int = SHOWN_BYTES) -> dict[int, str]:
    """The beginnings of some physical lines, each of at most so many bytes."""
    wanted, last = set(numbers), max(numbers, default=0)
    found: dict[int, str] = {}
    with path.open("rb") as file:
        for number, begun in _beginnings(file, most_bytes):
            if number in wanted:
                found[number] = begun.decode("utf-8", errors="replace").rstrip("\r\n")
            if number >= last:
                break
    return found


def _beginnings(file: BinaryIO, most_bytes: int) -> Iterator[tuple[int, bytes]]:
    number = 0
    while begun := file.readline(most_bytes):
        number += 1
        yield number, begun
        while begun and not begun.endswith(b"\n"):  # the rest of a long line, a block at a time
            begun = file.readline(BLOCK)
