"""Whether closed months still follow from the ledger, however long ago they were closed (SPEC §5.6)."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

from metering.access import Access
from metering.errors import Conflict
from metering.ranges import month
from metering.statement import canonical, compared, verification
from metering.statements import Statements, frozen
from metering.store import Row, Store


class Verification:
    """Proves frozen statements from charges and rollups; it reads only."""

    def __init__(self, store: Store, statements: Statements, zone: ZoneInfo) -> None:
        self._store, self._statements, self._zone = store, statements, zone

    def closed(self) -> list[str]:
        """The months that are closed, the first one first."""
        return [row["period"] for row in self._store.query("closing.periods")]

    def verify(self, access: Access, period: str) -> dict[str, Any]:
        """Whether a closed month's statements still follow from the ledger, and what of them does not.

        Refused: anyone but the admin (403), what is no month (400), a month that is not closed (409).
        """
        access.require_admin()
        span = month(period, zone=self._zone)
        with self._store.reading() as read:
            if read.one("closing.period", period=period) is None:
                raise Conflict(
                    f"{period} is not closed: nothing of it is frozen yet, and its statements are drafts.",
                    param="period",
                    code="period_open",
                )
            rows = read.query("statements.frozen", period=period, workspace_id=None)
            final = {_key(statement): statement for statement in frozen(read, period)}
            mains = _main_currencies(final.values())
            drafts = self._statements.drafts(read, span, main_currencies=mains)
            now = {_key(statement): statement for statement in drafts}
            serials = [row["number"] for row in read.query("closing.numbers", workspace_id=None)]
        found = [f"{_named(row)}: {said}" for row in rows for said in _broken(row)]
        found += [f"the statement {one} of {period} is missing" for one in now.keys() - final.keys()]
        found += [f"{s['number']} has no charges" for key, s in final.items() if key not in now]
        for key in final.keys() & now.keys():
            statement = final[key]
            kept = {name: statement[name] for name in ("number", "status", "issuer", "customer")}
            found += [f"{statement['number']}: {said}" for said in compared(statement, {**now[key], **kept})]
        expected = [f"NR-{n:06d}" for n in range(1, len(serials) + 1)]
        found += [] if serials == expected else ["the numbers of statements have gaps"]
        return verification(period, final.values(), found)


def _main_currencies(final: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """On which statement of each workspace requests of free models stood when the month was closed.

    The settings that decided it then may be other ones by now.
    """
    found: dict[str, str] = {}
    for one in final:
        if one["free_requests"] or (one["unmetered_requests"] and not one["lines"]):
            found[one["workspace_id"]] = one["currency"]
    return found


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
