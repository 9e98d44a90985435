"""Histograms of many tasks as arrays, merged by group: percentiles of whole ranges in milliseconds of work.

A place is a bucket of `metering.histogram` counted from the lowest that there is, so that it fits in two bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from metering.histogram import SMALLEST, ZERO_BUCKET, bucket_of

Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Buckets = tuple[int, ...]
"""One of each percentile that is asked for."""

_LOWEST = bucket_of(SMALLEST) - 1
"""Stands for the zero bucket. The largest number's bucket is 40,000 above it."""


@dataclass(frozen=True)
class Spreads:
    """One histogram a task, one after the other."""

    lengths: Numbers
    """How many buckets each task has."""
    places: NDArray[np.uint16]
    counts: NDArray[np.int32]

    @classmethod
    def read(cls, buckets: pa.ChunkedArray, counts: pa.ChunkedArray) -> "Spreads":
        """From two columns of lists, as rollups have them."""
        lists = buckets.combine_chunks()
        lengths = np.diff(lists.offsets.to_numpy()).astype(np.int64)
        places = np.maximum(lists.flatten().to_numpy(), _LOWEST) - _LOWEST
        calls = counts.combine_chunks().flatten().to_numpy()
        return cls(lengths, places.astype(np.uint16), calls.astype(np.int32))

    @classmethod
    def joined(cls, parts: Sequence["Spreads"]) -> "Spreads":
        """All tasks of several."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.lengths for part in parts]),
            np.concatenate([part.places for part in parts]),
            np.concatenate([part.counts for part in parts]),
        )

    def only(self, tasks: Flags) -> "Spreads":
        """Those of some of the tasks."""
        if tasks.all():
            return self
        cells = np.repeat(tasks, self.lengths)
        return Spreads(self.lengths[tasks], self.places[cells], self.counts[cells])

    def part(self, first: int, last: int) -> "Spreads":
        """Those of the tasks from `first` to before `last`, copied."""
        begins, ends = self.lengths[:first].sum(), self.lengths[:last].sum()
        cells = slice(begins, ends)
        return Spreads(self.lengths[first:last].copy(), self.places[cells].copy(), self.counts[cells].copy())

    @property
    def size_bytes(self) -> int:
        """What the arrays take."""
        return self.lengths.nbytes + self.places.nbytes + self.counts.nbytes


class Merged:
    """The histograms of groups, which are numbered from 0: add tasks to it, then ask."""

    def __init__(self, groups: int) -> None:
        self._low = 0
        # Whole numbers, exact as long as there are fewer than 2**53 calls.
        self._sums = np.zeros((groups, 0))

    def add(self, groups: Numbers, spreads: Spreads) -> None:
        """Adds tasks, each to a group."""
        if not len(spreads.places):
            return
        self._make_room(int(spreads.places.min()), int(spreads.places.max()) + 1)
        cells = np.repeat(groups * self._sums.shape[1] - self._low, spreads.lengths)
        cells += spreads.places
        self._sums += np.bincount(cells, spreads.counts, self._sums.size).reshape(self._sums.shape)

    def _make_room(self, low: int, high: int) -> None:
        """For the places from `low` to before `high`."""
        before = self._sums.shape[1]
        if before:
            low, high = min(low, self._low), max(high, self._low + before)
        if high - low > before:
            wider = np.zeros((len(self._sums), high - low))
            if before:
                wider[:, self._low - low :][:, :before] = self._sums
            self._sums = wider
        self._low = low

    def add_all(self, other: "Merged") -> None:
        """Adds all groups of another to the first group of this one."""
        width = other._sums.shape[1]
        if width:
            self._make_room(other._low, other._low + width)
            begins = other._low - self._low
            self._sums[0, begins : begins + width] += other._sums.sum(axis=0)

    def percentiles(self, per_cents: Sequence[int]) -> list[Buckets | None]:
        """The buckets at the nearest ranks of each group; none of a group without calls."""
        up_to = np.cumsum(self._sums, axis=1).astype(np.int64)
        calls = up_to[:, -1] if up_to.size else np.zeros(len(up_to), np.int64)
        # ceil(per cent × calls ÷ 100) in whole numbers, as `nearest_rank` says.
        ranks = [np.maximum(1, -(-per_cent * calls // 100)) for per_cent in per_cents]
        places = [(up_to < rank[:, None]).sum(axis=1) + self._low for rank in ranks]
        found = zip(*(column.tolist() for column in places), strict=True)
        return [
            tuple(map(_bucket, row)) if some else None
            for row, some in zip(found, calls.tolist(), strict=True)
        ]


def _bucket(place: int) -> int:
    return place + _LOWEST if place else ZERO_BUCKET
