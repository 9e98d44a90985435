"""Sums and percentiles of groups of ended tasks: of models and workspaces, and of the points of a trend."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, compress
from typing import Any

import numpy as np

from metering.ended_tasks import AMOUNTS, COUNTS, TIMES, EndedTasks, amount_of
from metering.spreads import Buckets, Flags, Merged, Numbers, Spreads

PER_CENTS = (50, 95, 99)
GROUPS_AT_ONCE = 2000
"""Groups whose histograms are in memory together; for more, the tasks are gone over again."""
BLOCK = 1 << 18
"""About so many buckets are merged at once: what merging takes beside its result."""

KeyOf = Callable[[Numbers, Numbers], Numbers]
"""The group of each of some tasks, any number from 0 on, by the microseconds in which they ended and by their
owners' numbers; -1 for a task that is left out."""


@dataclass(frozen=True, slots=True)
class Group:
    """What the tasks of a group come to."""

    sums: dict[str, Any]
    """`tasks`, and each of `COUNTS`, `TIMES` and `AMOUNTS`."""
    durations: Buckets | None
    """The buckets of `PER_CENTS`; none without a succeeded call."""
    first_tokens: Buckets | None
    """The same, if they were asked for."""


def grouped(
    tasks: Iterable[EndedTasks], key_of: KeyOf, *, first_tokens: bool
) -> tuple[dict[int, Group], Group]:
    """The groups that have tasks, by their key, and all of them together."""
    own_keys = [_keys(block, key_of) for block in _blocks(tasks)]
    keys = np.unique(np.concatenate([np.empty(0, np.int64), *own_keys]))
    keys = keys[keys >= 0]
    found: list[Group] = []
    together = _Sums(1, first_tokens)
    for first in range(0, len(keys), GROUPS_AT_ONCE):
        some = keys[first : first + GROUPS_AT_ONCE]
        sums = _Sums(len(some), first_tokens)
        for block in _blocks(tasks):
            own = _keys(block, key_of)
            wanted = np.isin(own, some)
            sums.add(wanted, np.searchsorted(some, own[wanted]), block)
        found += sums.groups()
        together.add_all(sums)
    return dict(zip(keys.tolist(), found, strict=True)), together.groups()[0]


def _keys(block: Sequence[EndedTasks], key_of: KeyOf) -> Numbers:
    ended_us = np.concatenate([part.ended_us for part in block])
    return key_of(ended_us, np.concatenate([part.owners for part in block]))


def _blocks(tasks: Iterable[EndedTasks]) -> Iterator[list[EndedTasks]]:
    """Parts that are added at once, since each step costs time of its own."""
    block: list[EndedTasks] = []
    cells = 0
    for part in tasks:
        block.append(part)
        cells += len(part.durations.places)
        if cells >= BLOCK:
            yield block
            block, cells = [], 0
    if block:
        yield block


class _Sums:
    """The sums of groups, which are numbered from 0."""

    def __init__(self, groups: int, first_tokens: bool) -> None:
        self._of_first_tokens = first_tokens
        self._tasks = np.zeros(groups, np.int64)
        self._counts = np.zeros((groups, len(COUNTS)), np.int64)
        self._times = np.zeros((groups, len(TIMES)))
        self._list_amounts, self._amounts = [0] * groups, [0] * groups
        self._durations, self._first_tokens = Merged(groups), Merged(groups)

    def add(self, wanted: Flags, numbers: Numbers, block: Sequence[EndedTasks]) -> None:
        """Adds those tasks that are wanted, each to the group of this number."""
        np.add.at(self._tasks, numbers, 1)
        np.add.at(self._counts, numbers, np.concatenate([part.counts for part in block])[wanted])
        np.add.at(self._times, numbers, np.concatenate([part.times for part in block])[wanted])
        amounts = compress(chain.from_iterable(part.amounts for part in block), wanted.tolist())
        for number, (listed, amount) in zip(numbers.tolist(), amounts, strict=True):
            self._list_amounts[number] += listed
            self._amounts[number] += amount
        self._durations.add(numbers, Spreads.joined([part.durations for part in block]).only(wanted))
        if self._of_first_tokens:
            joined = Spreads.joined([part.first_tokens for part in block])
            self._first_tokens.add(numbers, joined.only(wanted))

    def add_all(self, other: "_Sums") -> None:
        """Adds all groups of another to the first group of this one."""
        self._tasks[0] += other._tasks.sum()
        self._counts[0] += other._counts.sum(axis=0)
        self._times[0] += other._times.sum(axis=0)
        self._list_amounts[0] += sum(other._list_amounts)
        self._amounts[0] += sum(other._amounts)
        self._durations.add_all(other._durations)
        self._first_tokens.add_all(other._first_tokens)

    def groups(self) -> list[Group]:
        """All groups in their order."""
        columns = (self._tasks, *self._counts.T, *self._times.T)
        amounts = (map(amount_of, amounts) for amounts in (self._list_amounts, self._amounts))
        rows = zip(*(column.tolist() for column in columns), *amounts, strict=True)
        sums = [dict(zip(("tasks", *COUNTS, *TIMES, *AMOUNTS), row, strict=True)) for row in rows]
        spreads = (self._durations.percentiles(PER_CENTS), self._first_tokens.percentiles(PER_CENTS))
        return [Group(*its) for its in zip(sums, *spreads, strict=True)]
