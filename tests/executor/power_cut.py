"""What a power cut leaves of the output files: the bytes that were synced, under the names that were."""

import os
import shutil
from pathlib import Path
from unittest.mock import patch


class Disk:
    """Stands in for `fsync` and remembers what each call made durable; everything else is lost by `cut`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: set[Path] = set()
        self._content: dict[Path, bytes] = {}
        self._patch = patch.object(os, "fsync", self._fsync)
        self._patch.start()

    def stop(self) -> None:
        """Gives the real `fsync` back."""
        self._patch.stop()

    def cut(self) -> None:
        """The power is gone and comes back. What the database says is durable is left to it."""
        outputs = self._folder / "outputs"
        if outputs not in self._names:
            shutil.rmtree(outputs, ignore_errors=True)
            return
        for path in list(outputs.iterdir()):
            if path in self._names:
                path.write_bytes(self._content.get(path, b""))
            else:
                path.unlink()

    def has(self, path: Path) -> bool:
        """Whether a power cut would take nothing of a file."""
        named = {path, path.parent} <= self._names
        return named and self._content.get(path) == path.read_bytes()

    def _fsync(self, descriptor: int) -> None:
        asked = os.fstat(descriptor)
        for path in (self._folder, *self._folder.rglob("*")):
            if os.path.samestat(path.stat(), asked):
                self._sync(path)

    def _sync(self, path: Path) -> None:
        if path.is_dir():
            self._names = {name for name in self._names if name.parent != path} | set(path.iterdir())
        else:
            self._content[path] = path.read_bytes()
