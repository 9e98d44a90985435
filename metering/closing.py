"""Closing a month: its statements are frozen with numbers and hashes, and nothing enters it any more (SPEC §5.6)."""

from datetime import datetime
from typing import Any

from metering.access import Access
from metering.clock import Clock
from metering.ending import Meter
from metering.errors import Conflict, InvalidParameter, NotFound
from metering.months import month_after, month_before, month_of, months_between
from metering.options import BillingOptions
from metering.pages import Page, page_of
from metering.price import instant
from metering.ranges import Range, month
from metering.statement import canonical, sha256_of
from metering.statements import Statements
from metering.store import Reader, Row, Store, Transaction


class Closing:
    """Closes periods and tells which are closed. Thread-safe: a closing is one transaction of the writer."""

    def __init__(
        self, store: Store, statements: Statements, meter: Meter, billing: BillingOptions, clock: Clock
    ) -> None:
        self._store, self._statements, self._meter = store, statements, meter
        self._zone, self._clock = billing.zone, clock

    def close(self, access: Access, period: str) -> dict[str, Any]:
        """Closes a month of all workspaces for good; gives it as `periods` does.

        Refused: what is no month, the running or a later one (400), a closed one or one out of turn (409).
        """
        access.require_admin()
        span = month(period, zone=self._zone)
        return self._store.write(lambda tx: self._close(tx, span, period))

    def _close(self, tx: Transaction, span: Range, period: str) -> dict[str, Any]:
        self._check_past(span, period)
        self._check_turn(tx, period)
        at = self._meter.moment(tx)
        last = tx.one("closing.last_serial")
        serial = int(last["serial"]) if last else 0
        rows = []
        for draft in self._statements.drafts(tx, span):
            serial += 1
            final = {**draft, "number": f"NR-{serial:06d}", "status": "final"}
            rows.append(
                {
                    "serial": serial,
                    **{name: final[name] for name in ("number", "period", "workspace_id", "currency")},
                    "canonical": canonical(final),
                    "sha256": sha256_of(final),
                    "closed_at": at,
                }
            )
        tx.insert("statements", rows)
        tx.execute("closing.close", period=period, ends_at=span.end, closed_at=at)
        return self._json(span, at, rows)

    def _check_past(self, span: Range, period: str) -> None:
        now = self._clock()
        if span.end > now:
            running = month_of(now, self._zone)
            what = "is still running" if period == running else "has not begun"
            raise InvalidParameter(
                f"{period} {what}; it can be closed from {instant(span.end)} on. "
                f"The latest month that can be closed now is {month_before(running)}.",
                param="period",
                code="period_not_over",
            )

    def _check_turn(self, tx: Transaction, period: str) -> None:
        if (closed := tx.one("closing.period", period=period)) is not None:
            raise Conflict(
                f"{period} was closed at {instant(closed['closed_at'])}; it can't be closed again and "
                "never reopens.",
                param="period",
                code="period_closed",
            )
        last = _only(tx.one("closing.last_closed"))
        first = _only(tx.one("closing.first_used", workspace_id=None, zone=self._zone.key))
        due = month_after(last) if last else first
        if due is not None and (period != due if last else period > due):
            raise Conflict(
                f"{period} can't be closed now: periods are closed in order, the next one is {due}.",
                param="period",
                code="period_out_of_order",
            )

    # -- seeing ------------------------------------------------------------------------------------

    def periods(self, access: Access, *, limit: int = 100, after: str | None = None) -> Page[dict[str, Any]]:
        """Months from the first with anything in it to the running one, newest first.

        Each with the numbers of those of its statements that the caller may see. An `after` that is none
        of them is refused (404).
        """
        scope = access.visible()
        with self._store.reading() as read:
            closed = {row["period"]: row for row in read.query("closing.periods")}
            numbers = read.query("closing.numbers", workspace_id=scope)
            first = _only(read.one("closing.first_used", workspace_id=scope, zone=self._zone.key))
        running = month_of(self._clock(), self._zone)
        begin = min([running, *closed, *([first] if first else [])])
        months = list(months_between(begin, max([running, *closed])))[::-1]
        if after is not None:
            if after not in months:
                raise NotFound("period", after, param="after")
            months = months[months.index(after) + 1 :]
        return page_of([self._seen(name, closed.get(name), numbers) for name in months[: limit + 1]], limit)

    def _seen(self, period: str, closed: Row | None, numbers: list[Row]) -> dict[str, Any]:
        own = [row for row in numbers if row["period"] == period]
        return self._json(month(period, zone=self._zone), closed["closed_at"] if closed else None, own)

    def _json(self, span: Range, closed_at: datetime | None, statements: list[Row]) -> dict[str, Any]:
        over = span.end <= self._clock()
        names = ("number", "workspace_id", "currency", "sha256")
        return {
            "id": span.period,
            "object": "billing.period",
            "period": span.period,
            "status": "closed" if closed_at else "open" if over else "running",
            "starts_at": instant(span.start),
            "ends_at": instant(span.end),
            "timezone": self._zone.key,
            "closed_at": instant(closed_at) if closed_at else None,
            "statements": [{name: row[name] for name in names} for row in statements],
        }


def _only(row: Row | None) -> str | None:
    return row["period"] if row else None


def is_open(read: Reader, period: str) -> bool:
    """Whether entries may still be made in a month."""
    last = _only(read.one("closing.last_closed"))
    return last is None or period > last
