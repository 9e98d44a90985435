"""After a failure of the storage nothing is resumed before a write and a transaction have succeeded again.

Without that a full disk would be found out by asking upstreams for answers that can't be kept.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

from executor.result_files import make_folder
from metering.store import Store, StoreClosed, StoreError

log = logging.getLogger("nightrate.storage")

ROOM_BYTES = 4 << 20
"""So much must fit on the disk before work goes on: some commits' lines and their events."""
CHECK_SECONDS = 1.0
"""Between two checks."""


def check_storage(store: Store, data_dir: Path) -> None:
    """Reopens the database if it must be, then writes a little in every way that work needs.

    Raises `OSError` or `StoreError` with what is still wrong.
    """
    store.reopen()
    folder = data_dir / "outputs"
    make_folder(folder)
    path = folder / f".check-{secrets.token_hex(8)}"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        path.unlink()
        os.posix_fallocate(descriptor, 0, ROOM_BYTES)
        os.pwrite(descriptor, b"\n", 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    store.write(lambda tx: tx.execute("engine.touch"))


class StorageGate:
    """Open while the data folder takes writes. Belongs to the dispatch loop."""

    def __init__(self, check: Callable[[], None], threads: Executor, on_open: Callable[[], None]) -> None:
        self.reason = ""
        """Why it is closed; empty while it is open."""
        self._check = check
        self._threads = threads
        self._on_open = on_open
        self._opened = asyncio.Event()
        self._opened.set()
        self._checking: asyncio.Task[None] | None = None

    def close(self, error: object) -> None:
        """A write failed: until a check succeeds nothing passes."""
        if not self.reason:
            log.error("the storage failed, work pauses until it takes writes again: %s", error)
            self._opened.clear()
            self._checking = asyncio.get_running_loop().create_task(self._check_until_sound())
        self.reason = str(error)

    async def passed(self) -> None:
        """Returns while it is open, or once it is again."""
        await self._opened.wait()

    def stop(self) -> None:
        """Checks no more."""
        if self._checking is not None:
            self._checking.cancel()

    async def _check_until_sound(self) -> None:
        loop = asyncio.get_running_loop()
        while (error := await loop.run_in_executor(self._threads, self._fault)) is not None:
            self.reason = error
            await asyncio.sleep(CHECK_SECONDS)
        log.warning("the storage takes writes again: work goes on")
        self.reason = ""
        self._opened.set()
        self._on_open()

    def _fault(self) -> str | None:
        """What is wrong now, if anything."""
        try:
            self._check()
        except StoreClosed:
            return "the service stops"
        except (OSError, StoreError) as error:
            return str(error)
        return None
