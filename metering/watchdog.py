"""Ends what takes too long: one thread that sleeps until the first deadline, however many there are.

A timer each would be a thread each; starting one takes longer than most of the reads it would watch.
"""

import heapq
import itertools
import threading
import time
from collections.abc import Callable


class Watch:
    """A deadline for one piece of work."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self.passed = False
        """Whether the time was over before the work was."""
        self._stop: Callable[[], object] | None = stop
        self._lock = threading.Lock()

    def end(self) -> None:
        """The work is done: afterwards nothing of it is stopped."""
        with self._lock:
            self._stop = None

    def bite(self) -> None:
        """The time is over."""
        with self._lock:
            if self._stop is not None:
                self.passed = True
                self._stop()


class Watchdog:
    """Watches any number of pieces of work; its thread begins with the first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watches: list[tuple[float, int, Watch]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False

    def close(self) -> None:
        """Ends its thread; nothing is watched any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def watch(self, seconds: float, stop: Callable[[], object]) -> Watch:
        """Calls `stop` in so many seconds, unless the watch was ended before."""
        watch, due = Watch(stop), time.monotonic() + seconds
        with self._changed:
            heapq.heappush(self._watches, (due, next(self._order), watch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)
                self._thread.start()
            elif self._watches[0][2] is watch:
                self._changed.notify()
        return watch

    def _run(self) -> None:
        while (watch := self._next()) is not None:
            watch.bite()

    def _next(self) -> Watch | None:
        """Waits until one is due; none once it is closed."""
        with self._changed:
            while not self._closed:
                left = self._watches[0][0] - time.monotonic() if self._watches else None
                if left is not None and left <= 0:
                    return heapq.heappop(self._watches)[2]
                self._changed.wait(left)
            return None
