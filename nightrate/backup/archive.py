"""A tar archive that is made while it is sent: each member's length is known when its turn comes."""

import io
import tarfile
from collections.abc import Iterable, Iterator
from typing import IO

END = bytes(2 * tarfile.BLOCKSIZE)
"""Behind the last member."""
_MODE = 0o600
_BUFFER_BYTES = 1 << 20


class Shrunk(OSError):
    """A file ended before the length that was announced."""


def member(name: str, size: int, content: Iterable[bytes]) -> Iterator[bytes]:
    """A file in the archive; raises `Shrunk` if the content is not as long as announced."""
    about = tarfile.TarInfo(name)
    about.size, about.mode = size, _MODE
    yield about.tobuf(tarfile.PAX_FORMAT)
    left = size
    for piece in content:
        left -= len(piece)
        yield piece
    if left:
        raise Shrunk(f"{name} was cut short while it was read")
    yield bytes(-size % tarfile.BLOCKSIZE)


def as_file(pieces: Iterator[bytes]) -> IO[bytes]:
    """Pieces as they come, to be read as a file."""
    return io.BufferedReader(_Pieces(pieces), _BUFFER_BYTES)


class _Pieces(io.RawIOBase):
    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            if (piece := next(self._pieces, None)) is None:
                return 0
            self._rest = memoryview(piece)
        given = min(len(buffer), len(self._rest))
        buffer[:given], self._rest = self._rest[:given], self._rest[given:]
        return given
