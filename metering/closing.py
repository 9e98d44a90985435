"""Closing a month: its statements are frozen with numbers and hashes, and nothing enters it any more (SPEC §5.6)."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from metering.access import Access
from metering.clock import Clock
from metering.ending import Meter
from metering.errors import Conflict, InvalidParameter, NotFound
from metering.options import BillingOptions
from metering.pages import Page, page_of
from metering.price import instant
from metering.ranges import Range, month
from metering.statement import canonical, compared, sha256_of
from metering.statements import Statements, frozen
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
            running = _month_of(now, self._zone)
            what = "is still running" if period == running else "has not begun"
            raise InvalidParameter(
                f"{period} {what}; it can be closed from {instant(span.end)} on. "
                f"The latest month that can be closed now is {_before(running)}.",
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
        due = _after(last) if last else first
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
        running = _month_of(self._clock(), self._zone)
        begin = min([running, *closed, *([first] if first else [])])
        months = list(_months(begin, max([running, *closed])))[::-1]
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

    # -- proving -----------------------------------------------------------------------------------

    def verify(self, period: str) -> list[str]:
        """What of a closed month's statements does not follow from the ledger any more; empty: all does.

        `NotFound` if the month is not closed.
        """
        span = month(period, zone=self._zone)
        with self._store.reading() as read:
            if read.one("closing.period", period=period) is None:
                raise NotFound("closed period", period, param="period")
            rows = read.query("statements.frozen", period=period, workspace_id=None)
            final = {_key(statement): statement for statement in frozen(read, period)}
            now = {_key(statement): statement for statement in self._statements.drafts(read, span)}
            serials = [row["number"] for row in read.query("closing.numbers", workspace_id=None)]
        found = [f"{_named(row)}: {said}" for row in rows for said in _broken(row)]
        found += [f"the statement {one} of {period} is missing" for one in now.keys() - final.keys()]
        found += [f"{s['number']} has no charges" for key, s in final.items() if key not in now]
        for key in final.keys() & now.keys():
            statement = final[key]
            kept = {name: statement[name] for name in ("number", "status", "issuer", "customer")}
            found += [f"{statement['number']}: {said}" for said in compared(statement, {**now[key], **kept})]
        expected = [f"NR-{n:06d}" for n in range(1, len(serials) + 1)]
        return found if serials == expected else [*found, "the numbers of statements have gaps"]


def _broken(row: Row) -> Iterator[str]:
    """Whether the stored form is what its hash and its columns say."""
    facts = json.loads(row["canonical"])
    if canonical(facts) != row["canonical"]:
        yield "the stored statement is not in its canonical form"
    for name in ("number", "period", "workspace_id", "currency"):
        if facts[name] != row[name]:
            yield f"{name} is {row[name]}, in the stored statement it is {facts[name]}"


def _named(row: Row) -> str:
    return str(row["number"])


def _key(statement: dict[str, Any]) -> tuple[str, str]:
    return statement["workspace_id"], statement["currency"]


def _only(row: Row | None) -> str | None:
    return row["period"] if row else None


def _month_of(at: datetime, zone: ZoneInfo) -> str:
    return at.astimezone(zone).strftime("%Y-%m")


def _after(period: str) -> str:
    year, number = int(period[:4]), int(period[5:])
    return f"{year + number // 12:04d}-{number % 12 + 1:02d}"


def _before(period: str) -> str:
    year, number = int(period[:4]), int(period[5:])
    return f"{year - (number == 1):04d}-{(number - 2) % 12 + 1:02d}"


def _months(first: str, last: str) -> Iterator[str]:
    while first <= last:
        yield first
        first = _after(first)


def is_open(read: Reader, period: str) -> bool:
    """Whether entries may still be made in a month."""
    last = _only(read.one("closing.last_closed"))
    return last is None or period > last
