import random

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering.histogram import (
    SMALLEST,
    SQL_PARAMETERS,
    ZERO_BUCKET,
    bucket_of,
    histogram,
    merge,
    nearest_rank,
    percentile,
    value_of,
)

MILLISECONDS = st.floats(0, 1e12, allow_nan=False)


def exact(values: list[float], per_cent: int) -> float:
    return sorted(values)[max(0, -(-per_cent * len(values) // 100) - 1)]


@given(MILLISECONDS)
def test_a_bucket_stands_for_each_of_its_values(value: float) -> None:
    """Within 1 %, from a picosecond to thirty years; what is smaller counts as zero."""
    found = value_of(bucket_of(value))
    assert found == 0 if value < SMALLEST else abs(found - value) <= 0.01 * value


@given(MILLISECONDS, MILLISECONDS)
def test_buckets_are_in_the_order_of_their_values(one: float, other: float) -> None:
    """So that ranks of buckets are ranks of values."""
    low, high = sorted((one, other))
    assert bucket_of(low) <= bucket_of(high)


@given(
    st.lists(st.lists(MILLISECONDS, max_size=60), min_size=1, max_size=5),
    st.sampled_from([1, 50, 95, 99, 100]),
)
def test_percentiles_of_merged_histograms_are_nearest_ranks(parts: list[list[float]], per_cent: int) -> None:
    """Merging loses nothing: within 1 % of the exact percentile of all values."""
    values = [value for part in parts for value in part]
    found = percentile(merge(histogram(part) for part in parts), per_cent)
    if not values:
        assert found is None
    else:
        true = exact(values, per_cent)
        assert found is not None
        assert found == 0 if true < SMALLEST else abs(found - true) <= 0.01 * true


@pytest.mark.parametrize(("per_cent", "calls", "rank"), [(50, 1, 1), (50, 2, 1), (50, 3, 2), (95, 20, 19), (99, 100, 99), (99, 101, 100)])  # fmt: skip
def test_the_nearest_rank_is_computed_in_whole_numbers(per_cent: int, calls: int, rank: int) -> None:
    """The smallest rank that at least so many per cent lie at or below."""
    assert nearest_rank(per_cent, calls) == rank


def test_zero_negative_and_tiny_values_share_a_bucket_of_their_own() -> None:
    """It stands below all others and for 0."""
    assert {bucket_of(x) for x in (0, -1, 1e-300, SMALLEST / 2)} == {ZERO_BUCKET}
    assert value_of(ZERO_BUCKET) == 0
    assert bucket_of(SMALLEST) > ZERO_BUCKET


def test_sql_finds_the_same_buckets() -> None:
    """With the parameters that are offered for it."""
    draw = random.Random(7)
    values = [0.0, SMALLEST, 1.0, *(draw.lognormvariate(6, 3) for _ in range(2000))]
    query = """SELECT CASE WHEN x < $smallest THEN $zero_bucket ELSE ceil(ln(x) / $log_gamma)::INTEGER END
        FROM (SELECT unnest(string_split($values, ',')::DOUBLE[]) AS x)"""
    told = ",".join(map(repr, values))
    rows = duckdb.connect().execute(query, {**SQL_PARAMETERS, "values": told}).fetchall()
    for value, (bucket,) in zip(values, rows, strict=True):
        assert abs(value_of(bucket) - value) <= 0.01 * value
