import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from metering.histogram import Counts, histogram, merge, percentile, value_of
from metering.spreads import Merged, Spreads

PER_CENTS = (1, 50, 95, 99, 100)
DURATIONS = st.lists(st.floats(0, 1e300, allow_nan=False) | st.floats(0, 1e5), max_size=30)
TASKS = st.lists(st.tuples(st.integers(-1, 3), DURATIONS.map(histogram)), max_size=12)


def spreads(parts: list[Counts]) -> Spreads:
    """As they come out of the database."""
    buckets = pa.chunked_array([[list(part) for part in parts]], pa.list_(pa.int32()))
    counts = pa.chunked_array([[list(part.values()) for part in parts]], pa.list_(pa.int64()))
    return Spreads.read(buckets, counts)


def merged(tasks: list[tuple[int, Counts]], groups: int, at_once: int) -> Merged:
    found = Merged(groups)
    for first in range(0, len(tasks), at_once):
        some = tasks[first : first + at_once]
        numbers = np.array([group for group, _ in some])
        kept = numbers >= 0
        found.add(numbers[kept], spreads([part for _, part in some]).only(kept))
    return found


def values(counts: Counts) -> list[float] | None:
    """By the plain way: bucket by bucket."""
    return [value for p in PER_CENTS if (value := percentile(counts, p)) is not None] or None


@given(TASKS, st.integers(1, 12))
def test_arrays_give_what_histograms_give_one_by_one(tasks: list[tuple[int, Counts]], at_once: int) -> None:
    """The same percentiles, group by group and of all together, in whatever portions tasks are added."""
    found = merged(tasks, 4, at_once)
    by_group = [merge(part for group, part in tasks if group == number) for number in range(4)]
    told = [buckets and list(map(value_of, buckets)) for buckets in found.percentiles(PER_CENTS)]
    assert told == [values(counts) for counts in by_group]
    one = Merged(1)
    one.add_all(found)
    (together,) = one.percentiles(PER_CENTS)
    assert (together and list(map(value_of, together))) == values(merge(by_group))


@given(st.lists(DURATIONS.map(histogram), max_size=8), st.integers(0, 8), st.integers(0, 8))
def test_a_part_of_the_tasks_is_as_if_the_others_were_not_there(
    parts: list[Counts], first: int, last: int
) -> None:
    """Cut out, chosen one by one, or joined again."""
    whole = spreads(parts)
    kept = np.array([first <= number < last for number in range(len(parts))], bool)
    cut, chosen = whole.part(first, max(first, last)), whole.only(kept)
    expected = spreads(parts[first:last])
    rest = spreads(parts[:first]), cut, spreads(parts[max(first, last) :])
    for one, other in ((cut, expected), (chosen, expected), (Spreads.joined(rest), whole)):
        assert [a.tolist() for a in (one.lengths, one.places, one.counts)] == [
            b.tolist() for b in (other.lengths, other.places, other.counts)
        ]
