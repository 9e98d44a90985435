"""What was worked out lately, so that the sections of a page and a second console don't work it out again."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Recall:
    """The last results by key. What one thread is working out, others wait for; a failure is not kept."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._lock = threading.Lock()
        self._results: OrderedDict[Hashable, Future[Any]] = OrderedDict()

    def once(self, key: Hashable, work_out: Callable[[], T]) -> T:
        """The result of a key: remembered, or worked out now."""
        with self._lock:
            known = self._results.get(key)
            if known is not None:
                self._results.move_to_end(key)
            else:
                mine: Future[Any] = Future()
                self._results[key] = mine
                while len(self._results) > self._kept:
                    self._results.popitem(last=False)
        if known is not None:
            found: T = known.result()
            return found
        return self._work_out(key, mine, work_out)

    def _work_out(self, key: Hashable, mine: "Future[Any]", work_out: Callable[[], T]) -> T:
        try:
            result = work_out()
        except BaseException as error:
            with self._lock:
                if self._results.get(key) is mine:
                    del self._results[key]
            mine.set_exception(error)
            raise
        mine.set_result(result)
        return result
