"""A file that is hashed while it is written."""

import hashlib
import io
from typing import Any, BinaryIO


class Hashed(io.RawIOBase):
    """Writes through to a file. One that was written out of order is read again for its hash."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self._in_order = True

    def write(self, content: Any) -> int:
        """Writes all of it."""
        self._digest.update(content)
        return self._file.write(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes somewhere else."""
        self._in_order = self._in_order and (offset, whence) == (self._file.tell(), io.SEEK_SET)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Where the next byte goes."""
        return self._file.tell()

    def writable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def sha256(self) -> str:
        """Of all that was written."""
        if self._in_order:
            return self._digest.hexdigest()
        self._file.seek(0)
        return hashlib.file_digest(self._file, "sha256").hexdigest()  # type: ignore[arg-type]
