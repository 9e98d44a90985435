"""The calls of one ended task, all or those that one of its charges counts: the last step from a bill to results."""

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from metering.access import Access
from metering.pages import Page, page_of
from metering.price import Price
from metering.rating import tier_range
from metering.store import Reader, Row, Store

_SLACK = timedelta(days=1)
"""A machine's clock may have been set while the task ran."""


@dataclass(frozen=True, slots=True)
class CallPart:
    """Which calls of a task; what is None does not matter."""

    metered: bool | None = None
    above: int | None = None
    """Input tokens of the request, exclusive."""
    up_to: int | None = None
    """Inclusive."""
    thinking: bool | None = None

    @classmethod
    def of_charge(cls, price: Price, tier: str, mode: str) -> "CallPart":
        """Those that a charge of this price, tier and mode counts."""
        above, up_to = tier_range(price, tier)
        return cls(True, above, up_to, mode == "thinking")


@dataclass(frozen=True, slots=True)
class CallSums:
    """What calls come to; tokens of those that are metered."""

    calls: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int


class Calls:
    """Reads them for a caller; of a task that has not ended, or is not theirs, there are none."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def page(
        self, access: Access, task_id: str, part: CallPart, *, after: int = 0, limit: int = 50
    ) -> Page[Row]:
        """Calls in the order of the input file's lines, from the line behind `after` on; columns of `request_events`."""
        with self._store.reading() as read:
            if (values := _values(read, access, task_id, part)) is None:
                return page_of([], limit)
            return page_of(read.query("calls.page", after=after, rows=limit + 1, **values), limit)

    def sums(self, access: Access, task_id: str, part: CallPart) -> CallSums:
        """What all of them come to."""
        with self._store.reading() as read:
            values = _values(read, access, task_id, part)
            row = read.one("calls.sums", **values) if values is not None else None
        return CallSums(**row) if row is not None else CallSums(0, 0, 0, 0, 0)


def _values(read: Reader, access: Access, task_id: str, part: CallPart) -> dict[str, Any] | None:
    ended = read.one("calls.ended", task_id=task_id, workspace_id=access.visible())
    if ended is None:
        return None
    began = ended["ended_at"] - timedelta(milliseconds=ended["running_ms"])
    span = {"since": began - _SLACK, "until": ended["ended_at"] + _SLACK}
    return {"task_id": task_id, **span, **asdict(part)}
