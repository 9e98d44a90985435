"""Mergeable histograms of durations: logarithmic buckets whose middle is within 1 % of every value in them.

Bucket `i` holds the values in (γ^(i-1), γ^i]; `value_of` gives the point of it that is equally far, in
relation, from both ends. The error is 0.95 %, so that the arithmetic of another language stays below 1 %.
SQL finds the same bucket with the parameters `SQL_PARAMETERS`:

    CASE WHEN x < $smallest THEN $zero_bucket ELSE ceil(ln(x) / $log_gamma)::INTEGER END
"""

import math
from collections.abc import Iterable, Mapping

RELATIVE_ERROR = 0.0095
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
LOG_GAMMA = math.log(GAMMA)
SMALLEST = 1e-9
"""What is below it, zero and negative values among them, counts as zero."""
ZERO_BUCKET = -1_000_000
"""Below every other bucket, so that buckets are in the order of their values."""
SQL_PARAMETERS: Mapping[str, float | int] = {
    "log_gamma": LOG_GAMMA,
    "smallest": SMALLEST,
    "zero_bucket": ZERO_BUCKET,
}

Counts = Mapping[int, int]
"""How many values lie in each bucket."""


def bucket_of(value: float) -> int:
    """The bucket in which a finite value is counted."""
    return ZERO_BUCKET if value < SMALLEST else math.ceil(math.log(value) / LOG_GAMMA)


def value_of(bucket: int) -> float:
    """The value that stands for all of a bucket; within 1 % of each of them, 0 for the zero bucket."""
    return 0.0 if bucket == ZERO_BUCKET else 2 * math.exp(bucket * LOG_GAMMA) / (GAMMA + 1)


def histogram(values: Iterable[float]) -> dict[int, int]:
    """Counts values by bucket, in the order of the buckets."""
    counts: dict[int, int] = {}
    for value in values:
        bucket = bucket_of(value)
        counts[bucket] = counts.get(bucket, 0) + 1
    return dict(sorted(counts.items()))


def merge(parts: Iterable[Counts]) -> dict[int, int]:
    """The histogram of all values of several histograms, in the order of the buckets."""
    counts: dict[int, int] = {}
    for part in parts:
        for bucket, count in part.items():
            counts[bucket] = counts.get(bucket, 0) + count
    return dict(sorted(counts.items()))


def nearest_rank(per_cent: int, calls: int) -> int:
    """The 1-based rank of a percentile among `calls` sorted values, in whole numbers: ceil(p/100 × n), at least 1."""
    return max(1, -(-per_cent * calls // 100))


def percentile(counts: Counts, per_cent: int) -> float | None:
    """The value at the nearest rank, within 1 % of the exact one; none of an empty histogram."""
    rank = nearest_rank(per_cent, sum(counts.values()))
    for bucket in sorted(counts):
        rank -= counts[bucket]
        if rank <= 0:
            return value_of(bucket)
    return None
