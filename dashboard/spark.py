"""A small trend in a row, drawn by the browser (assets/spark.js) from a few whole numbers, which are few bytes."""

from collections.abc import Sequence

from dashboard import writing
from dashboard.component import OwnComponent

HEIGHT = 20


class Spark(OwnComponent):
    """`heights` from 0 to `HEIGHT`, the highest of them being all of it, and `label` for those who don't see it."""

    _namespace, _type = "nightrate", "Spark"
    properties = ("id", "heights", "label")


def spark(calls: Sequence[int]) -> Spark | None:
    """Calls over a period as a small line; none where there was no call."""
    highest = max(calls, default=0)
    if not highest:
        return None
    told = f"Calls: at most {writing.count(highest)} in one of {len(calls)} parts"
    return Spark(heights=[round(HEIGHT * n / highest) for n in calls], label=told)
