"""The events of ended tasks, page by page (SPEC §3.4). A running task's are not shown to anybody."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from metering.access import Access
from metering.errors import InvalidParameter
from metering.pages import Page, page_of
from metering.ranges import unwindowed
from metering.store import Reader, Row, Store

OUTCOMES = ("succeeded", "failed")
LONGEST_PAGE = 10_000

_CURSOR = re.compile(r"(.{1,200}):([0-9]{1,10})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are asked for; none means all. `start` and `end` are of the task's end."""

    task_id: str | None = None
    workspace_id: str | None = None
    model: str | None = None
    outcome: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class _After:
    task_id: str
    ended_at: datetime
    line_no: int


class Events:
    """Reads events for a caller."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def list(
        self, access: Access, asked: EventFilter | None = None, *, limit: int = 100, after: str | None = None
    ) -> Page[dict[str, Any]]:
        """Events of the task that ended last first, and in the order of its lines; `after` is an event's id.

        Each has the columns of `request_events`, its `id` `{task_id}:{line_no}` and its task's `ended_at`.
        """
        asked = asked or EventFilter()
        if asked.outcome not in (None, *OUTCOMES):
            raise InvalidParameter(
                f"{asked.outcome!r} is no outcome. Write succeeded or failed.", param="outcome"
            )
        span = unwindowed(asked.start, asked.end)
        visible = access.visible(asked.workspace_id)
        with self._store.reading() as read:
            place = None if after is None else _place(read, after, visible)
            chosen = {
                "start": span.start,
                "end": span.end,
                "task_id": asked.task_id,
                "model": asked.model,
                "workspace_id": visible,
                "outcome": asked.outcome,
                "after_task_id": place and place.task_id,
                "after_ended_at": place and place.ended_at,
                "after_line_no": place and place.line_no,
                "limit": limit + 1,
            }
            return page_of(_rows(read, chosen, limit + 1), limit)


def _rows(read: Reader, chosen: dict[str, Any], wanted: int) -> list[Row]:
    rows = read.query("events.page", wanted=wanted, **chosen)
    left_out = len(rows) < wanted and read.one("events.left_out", wanted=wanted, **chosen)
    if left_out and left_out["any"]:
        # Some events are gone (retention): the tasks that were joined hold fewer than their rollups say.
        rows = read.query("events.page", wanted=None, **chosen)
    return rows


def _place(read: Reader, after: str, workspace_id: str | None) -> _After:
    found = _CURSOR.fullmatch(after)
    task = found and read.one("events.ended_task", task_id=found[1], workspace_id=workspace_id)
    if not found or not task:
        raise InvalidParameter(
            f"{after!r} is not the id of an event here. Give the last_id of the page before.", param="after"
        )
    return _After(task["task_id"], task["ended_at"], int(found[2]))
