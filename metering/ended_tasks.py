"""Rollups of ended tasks as arrays: what statistics add up, however many tasks there are."""

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.money import EXACT
from metering.spreads import Numbers, Spreads

Whose = tuple[str, str, str | None]
"""A task's model, workspace and currency."""


class Owners:
    """Numbers for the models, workspaces and currencies that were seen. May be used from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[Whose, int] = {}

    def numbers(self, whose: Iterable[Whose]) -> Numbers:
        """The number of each, given when it is seen first."""
        with self._lock:
            known = self._numbers
            return np.array([known.setdefault(its, len(known)) for its in whose], np.int64)

    def known(self) -> list[Whose]:
        """All of them, in the order of their numbers."""
        with self._lock:
            return list(self._numbers)


SHOWN_COUNTS = (
    "calls",
    "succeeded",
    "failed",
    "rate_limited",
    "content_filtered",
    "unmetered",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
)
COUNTS = (*SHOWN_COUNTS, "first_token_calls", "output_token_calls", "timed_output_tokens")
TIMES = ("running_ms", "duration_ms_sum", "first_token_ms_sum", "output_token_ms_sum", "timed_output_ms")
AMOUNTS = ("list_amount", "amount")
SCALE = 15
"""Digits behind the decimal point of an amount."""
_TASK_BYTES = 200
"""About what a task takes beside its arrays."""


@dataclass(frozen=True, slots=True)
class EndedTasks:
    """Some ended tasks, by the moment of their end."""

    ended_us: Numbers
    """Microseconds since 1970."""
    owners: Numbers
    """By the numbers of an `Owners`."""
    counts: Numbers
    """A row a task, a column each of `COUNTS`."""
    times: NDArray[np.float64]
    """The same of `TIMES`."""
    amounts: Sequence[tuple[int, ...]]
    """The same of `AMOUNTS`, exact, in units of the database's last digit."""
    durations: Spreads
    first_tokens: Spreads

    @classmethod
    def read(cls, table: pa.Table, owners: Owners) -> "EndedTasks":
        """From rows of `statistics.tasks`."""
        table = table.sort_by("ended_us")
        return cls(
            table["ended_us"].to_numpy(),
            owners.numbers(_rows(table, ("model", "workspace_id", "currency"))),
            np.stack([table[name].to_numpy() for name in COUNTS], axis=1).astype(np.int64),
            np.stack([table[name].to_numpy() for name in TIMES], axis=1),
            tuple(tuple(map(units, amounts)) for amounts in _rows(table, AMOUNTS)),
            Spreads.read(table["duration_buckets"], table["duration_counts"]),
            Spreads.read(table["first_token_buckets"], table["first_token_counts"]),
        )

    def between(self, start_us: int, end_us: int) -> "EndedTasks":
        """Those that ended from `start_us` to before `end_us`. They share no memory with the others."""
        first, last = np.searchsorted(self.ended_us, (start_us, end_us)).tolist()
        if last - first == len(self.ended_us):
            return self
        return EndedTasks(
            self.ended_us[first:last].copy(),
            self.owners[first:last].copy(),
            self.counts[first:last].copy(),
            self.times[first:last].copy(),
            self.amounts[first:last],
            self.durations.part(first, last),
            self.first_tokens.part(first, last),
        )

    @property
    def size_bytes(self) -> int:
        """About what it takes in memory."""
        arrays = (self.ended_us, self.owners, self.counts, self.times)
        spreads = self.durations.size_bytes + self.first_tokens.size_bytes
        return _TASK_BYTES * (1 + len(self.ended_us)) + sum(array.nbytes for array in arrays) + spreads


def units(amount: Decimal) -> int:
    """An amount of the ledger as a whole number."""
    return int(EXACT.scaleb(amount, SCALE))


def amount_of(whole: int) -> Decimal:
    """The other way."""
    return EXACT.scaleb(Decimal(whole), -SCALE)


def _rows(table: pa.Table, names: Sequence[str]) -> Iterable[tuple[Any, ...]]:
    return zip(*(table[name].to_pylist() for name in names), strict=True)
