"""A task's events, read window by window, so that no number of them fills the memory."""

from collections.abc import Iterator

from metering.audit.calls import Call
from metering.store import Store

BEFORE_ALL = -(2**31) - 1
TALLY_ROWS = 100_000
COMPARE_ROWS = 20_000
_BATCH_ROWS = 5_000
_COLUMNS = (
    "line_no",
    "custom_id",
    "outcome",
    "status_code",
    "unmetered",
    "thinking",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
)


def windows(store: Store, task_id: str, rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of line numbers, the first exclusive, that hold about so many events each; together all of them."""
    after = BEFORE_ALL
    while True:
        found = store.one("audit.event_window", task_id=task_id, after=after, rows=rows)
        if found is None or found["last"] is None:
            return
        yield after, found["last"]
        if found["events"] < rows:
            return
        after = found["last"]


def calls(store: Store, task_id: str, after: int, last: int) -> Iterator[Call]:
    """The events of a window, as calls."""
    with store.reading() as read:
        batches = read.batches("audit.events", _BATCH_ROWS, task_id=task_id, after=after, last=last)
        for batch in batches:
            columns = (batch.column(name).to_pylist() for name in _COLUMNS)
            for values in zip(*columns, strict=True):
                yield _call(*values)


def _call(
    line_no: int,
    custom_id: str,
    outcome: str,
    status_code: int | None,
    unmetered: bool,
    thinking: bool,
    *tokens: int | None,
) -> Call:
    if outcome != "succeeded":
        return Call(line_no, custom_id, outcome, None, False, False, None, None, None, None)
    if unmetered:
        return Call(line_no, custom_id, outcome, status_code, False, False, None, None, None, None)
    given, cached, made, reasoning = tokens
    return Call(line_no, custom_id, outcome, status_code, True, thinking, given, cached, made, reasoning)
