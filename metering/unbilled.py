"""What of a month's requests was not charged, and why: they stand in no ledger, so that they are counted here."""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

from metering.access import Access
from metering.ranges import month
from metering.store import Store


@dataclass(frozen=True, slots=True)
class Unbilled:
    """Requests of the tasks that ended in a month; each is counted once."""

    failed: int
    never_executed: int
    """Cancelled or expired before they were asked."""
    unmetered: int
    """Delivered without usable usage."""
    free: int
    """Of free models."""

    @property
    def all(self) -> int:
        """Together."""
        return self.failed + self.never_executed + self.unmetered + self.free


class UnbilledRequests:
    """Counts them for a caller."""

    def __init__(self, store: Store, zone: ZoneInfo) -> None:
        self._store, self._zone = store, zone

    def of(
        self, access: Access, period: str, workspace_id: str | None = None, model: str | None = None
    ) -> Unbilled:
        """Those of a month `YYYY-MM` of the billing zone; refused is what is no month (400)."""
        span = month(period, zone=self._zone)
        row = self._store.one(
            "unbilled.of_month",
            start=span.start,
            end=span.end,
            workspace_id=access.visible(workspace_id),
            model=model,
        )
        assert row is not None
        return Unbilled(**row)
