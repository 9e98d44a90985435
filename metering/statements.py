"""Statements per workspace, period and currency: drafts from the ledger, final ones as they were frozen."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from metering.access import Access
from metering.connection import Readable, Reader, Row
from metering.errors import InvalidParameter, NotFound
from metering.options import BillingOptions
from metering.ranges import Range, month
from metering.statement import Heading, line_json, statement_of

NO_CURRENCY = "X" * 3
"""Three X are ISO 4217 for "no currency": of a statement on which there are only free requests and nothing names one."""


class Statements:
    """Reads statements. Every answer is of one snapshot, and of what the caller may see."""

    def __init__(self, store: Readable, billing: BillingOptions) -> None:
        self._store, self._billing = store, billing

    def of(
        self, access: Access, period: str, workspace_id: str | None = None, *, by_api_key: bool = False
    ) -> list[dict[str, Any]]:
        """The statements of a month `YYYY-MM`, by workspace and currency, each as the API gives it.

        With `by_api_key` their lines are by API key; the sums are the same. Refused: what is no month
        (400), an unknown or foreign workspace (404).
        """
        scope = access.visible(workspace_id)
        span = month(period, zone=self._billing.zone)
        with self._store.reading() as read:
            if scope is not None and not read.query("statements.customers", workspace_id=scope):
                raise NotFound("workspace", scope, param="workspace_id")
            if read.one("closing.period", period=period) is None:
                return self.drafts(read, span, scope, by_api_key=by_api_key)
            final = frozen(read, period, scope)
            return _by_api_key(read, final, period, scope) if by_api_key else final

    def drafts(
        self,
        read: Reader,
        span: Range,
        workspace_id: str | None = None,
        *,
        by_api_key: bool = False,
        main_currencies: Mapping[str, str] | None = None,
    ) -> list[dict[str, Any]]:
        """What the statements of a month would say by now; `workspace_id` None is every workspace.

        `main_currencies`, by workspace, say on which statement requests of free models stand; without them
        today's settings do.
        """
        mains = main_currencies or {}
        values = {"period": span.period, "workspace_id": workspace_id, "start": span.start, "end": span.end}
        lines = _lines(read, values, by_api_key)
        counts = read.query("statements.counts", **values)
        made = []
        for customer in _customers(read, workspace_id, lines):
            own = {currency: found for (owner, currency), found in lines.items() if owner == customer["id"]}
            main = mains.get(customer["id"]) or self._main_currency(read, customer, own)
            uncharged = _uncharged(customer["id"], main, counts)
            for currency in sorted(own.keys() | uncharged.keys()):
                heading = Heading(
                    number=None,
                    period=str(span.period),
                    workspace_id=customer["id"],
                    currency=currency,
                    issuer=self._billing.issuer_name,
                    customer=customer["name"],
                )
                made.append(statement_of(heading, own.get(currency, ()), *uncharged.get(currency, (0, 0))))
        return made

    def _main_currency(self, read: Reader, customer: Row, lines: Mapping[str, Any]) -> str:
        default: str | None = customer["currency"] or self._billing.currency
        if default is not None and (default in lines or not lines):
            return default
        if lines:
            return min(lines)
        known = read.query("statements.price_currencies")
        return str(known[0]["currency"]) if len(known) == 1 else NO_CURRENCY


def _uncharged(workspace_id: str, main: str, counts: list[Row]) -> dict[str, tuple[int, int]]:
    """Unmetered and free requests by currency; those of free models stand on the workspace's main statement."""
    found: dict[str, tuple[int, int]] = {}
    for row in counts:
        if row["workspace_id"] == workspace_id and (row["unmetered"] or row["free"]):
            currency = row["currency"] or main
            unmetered, free = found.get(currency, (0, 0))
            found[currency] = (unmetered + row["unmetered"], free + row["free"])
    return found


def require_period(period: str | None) -> str:
    """The period that a caller gave; none is refused (400)."""
    if period is None:
        raise InvalidParameter("Give period=YYYY-MM.", param="period", code="missing_parameter")
    return period


def frozen(read: Reader, period: str, workspace_id: str | None = None) -> list[dict[str, Any]]:
    """The statements of a closed period as they were frozen, with their hashes."""
    rows = read.query("statements.frozen", period=period, workspace_id=workspace_id)
    return [{**_in_order(json.loads(row["canonical"])), "sha256": row["sha256"]} for row in rows]


def _in_order(facts: dict[str, Any]) -> dict[str, Any]:
    """Fields in the order in which every statement has them; the canonical form sorts them by name."""
    model = statement_of(Heading(**{name: facts[name] for name in Heading.__dataclass_fields__}), (), 0, 0)
    lines = [line_json(line) for line in facts["lines"]]
    return {name: facts.get(name) for name in model} | {"lines": lines}


def _by_api_key(
    read: Reader, final: list[dict[str, Any]], period: str, workspace_id: str | None
) -> list[dict[str, Any]]:
    lines = _lines(read, {"period": period, "workspace_id": workspace_id}, by_api_key=True)
    return [
        {
            **statement,
            "lines": [
                line_json(line) for line in lines.get((statement["workspace_id"], statement["currency"]), ())
            ],
        }
        for statement in final
    ]


def _customers(read: Reader, workspace_id: str | None, lines: Iterable[tuple[str, str]]) -> list[Row]:
    """Workspaces by id; one that has charges is never left out, even if its own row were lost."""
    rows = {row["id"]: row for row in read.query("statements.customers", workspace_id=workspace_id)}
    for owner, _ in lines:
        rows.setdefault(owner, {"id": owner, "name": owner, "currency": None})
    return [rows[identity] for identity in sorted(rows)]


def _lines(read: Reader, values: Mapping[str, Any], by_api_key: bool) -> dict[tuple[str, str], list[Row]]:
    """The lines of each statement, by workspace and currency."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in read.query("statements.lines", by_api_key=by_api_key, **values):
        key = row.pop("workspace_id"), row.pop("currency")
        if not by_api_key:
            del row["api_key_id"]
        found.setdefault(key, []).append(row)
    return found
