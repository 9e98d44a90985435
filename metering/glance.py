"""What a page shows beside the API's figures: one task's failures and durations, and small trends of models.

Reads rollups only, so that it costs the same for a task of ten requests and of fifty thousand.
"""

from datetime import datetime, timedelta

from metering.access import Access
from metering.histogram import Counts
from metering.store import Row, Store


class Glance:
    """Answers for a caller; what they may not see is as if it were not there."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def ended(self) -> int:
        """How many tasks ended, of all workspaces: as long as it stays, so do the statistics."""
        row = self._store.one("glance.ended")
        return int(row["tasks"]) if row else 0

    def errors(self, access: Access, task_id: str) -> list[Row]:
        """An ended task's failed calls: `status_code`, `error_code`, `calls`, the most frequent first."""
        return self._store.query("glance.task_errors", task_id=task_id, workspace_id=access.visible())

    def durations(self, access: Access, task_id: str) -> Counts:
        """An ended task's succeeded calls by bucket of `metering.histogram`, in milliseconds."""
        row = self._store.one("glance.task_durations", task_id=task_id, workspace_id=access.visible())
        return dict(zip(row["buckets"], row["counts"], strict=True)) if row else {}

    def calls(
        self, access: Access, start: datetime, end: datetime, steps: int, workspace_id: str | None = None
    ) -> dict[tuple[str, str], list[int]]:
        """Calls by model and workspace in `steps` equal parts of [start, end), by the moment their task ended."""
        step = max((end - start) / steps, timedelta(microseconds=1))
        rows = self._store.query(
            "glance.calls",
            start=start,
            end=end,
            step_us=step / timedelta(microseconds=1),
            workspace_id=access.visible(workspace_id),
        )
        found: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            values = found.setdefault((row["model"], row["workspace_id"]), [0] * steps)
            values[min(row["step"], steps - 1)] += row["calls"]
        return found
