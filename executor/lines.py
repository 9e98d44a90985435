"""Reads a file by lines in bounded memory, however long a line is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 2**20
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class LineBatch:
    """Consecutive lines, without their newline (a CR before it stays: JSON takes it for a blank)."""

    first_line_no: int
    """Physical number of the first one, from 1."""
    lines: Sequence[bytes | None]
    """None stands for a line above the limit, which was not kept."""
    ascii: bool
    """True if every line is known to be ASCII; False says nothing."""
    bytes_read: int
    """How much of the file was read so far."""


def line_batches(path: Path, line_bytes: int) -> Iterator[LineBatch]:
    """The lines of a file, some thousand at a time; a byte order mark at its begin is left out.

    No more than a block and one line of at most `line_bytes` is held at once.
    """
    number, bytes_read, rest, rest_ascii = 1, 0, _Rest(line_bytes), True
    with path.open("rb", buffering=0) as file:
        while block := file.read(BLOCK_BYTES):
            text = block.removeprefix(_BOM) if bytes_read == 0 else block
            bytes_read += len(block)
            block_ascii = text.isascii()
            pieces = text.split(b"\n")
            last = pieces.pop()
            if pieces:
                pieces[0] = rest.finish(pieces[0])
                lines = _bounded(pieces, line_bytes)
                yield LineBatch(number, lines, block_ascii and rest_ascii, bytes_read)
                number += len(lines)
                rest_ascii = True
            rest.add(last)
            rest_ascii = rest_ascii and block_ascii
        if rest.begun:
            yield LineBatch(number, _bounded([rest.finish(b"")], line_bytes), rest_ascii, bytes_read)


def _bounded(lines: list[bytes], line_bytes: int) -> Sequence[bytes | None]:
    if max(map(len, lines)) <= line_bytes:
        return lines
    return [line if _size(line) <= line_bytes else None for line in lines]


def _size(line: bytes) -> int:
    return len(line) - line.endswith(b"\r")


class _Rest:
    """The line that the last block left unfinished; of one that is too long only that it is so."""

    def __init__(self, line_bytes: int) -> None:
        self._enough = line_bytes + 2  # a CR is no part of the line; one byte more is too long for sure
        self._parts: list[bytes] = []
        self._bytes = 0

    @property
    def begun(self) -> bool:
        return self._bytes > 0

    def add(self, part: bytes) -> None:
        kept = part[: self._enough - self._bytes]
        self._parts.append(kept)
        self._bytes += len(kept)

    def finish(self, part: bytes) -> bytes:
        """The whole line with its last part, or the begin of it that is longer than the limit."""
        self.add(part)
        line = b"".join(self._parts)
        self._parts.clear()
        self._bytes = 0
        return line
