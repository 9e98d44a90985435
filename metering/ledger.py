"""The ledger as it is read: entries page by page, and sums over them. Amounts are plain decimal strings."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from metering.access import Access
from metering.clock import Clock
from metering.errors import InvalidParameter, NotFound
from metering.money import PRICE, plain
from metering.options import BillingOptions
from metering.pages import Page, page_of
from metering.price import instant
from metering.ranges import EARLIEST, LATEST, Range, month_or_range
from metering.store import Reader, Row, Store

GROUPS = ("day", "workspace", "model", "api_key", "sku")
"""What a summary may be grouped by."""
_FIELDS = {"workspace": "workspace_id", "api_key": "api_key_id"}
KINDS = ("usage", "correction")
SKUS = ("input_tokens", "output_tokens")
MODES = ("standard", "thinking")
_CHOICES = {"kind": KINDS, "sku": SKUS, "mode": MODES}
_EQUAL = ("task_id", "model", "kind", "currency", "sku", "tier", "mode", "price_id", "api_key_id")
MAX_LIMIT = 10_000


@dataclass(frozen=True, slots=True)
class ChargeFilter:
    """Which entries of the ledger, and which page of them. What is None does not filter."""

    workspace_id: str | None = None
    task_id: str | None = None
    model: str | None = None
    kind: str | None = None
    period: str | None = None
    """`YYYY-MM` in the billing zone; not together with `start` or `end`."""
    start: str | None = None
    """First second of `recorded_at`: ISO 8601 with a zone, or Unix seconds."""
    end: str | None = None
    """Last second, inclusive."""
    currency: str | None = None
    sku: str | None = None
    tier: str | None = None
    mode: str | None = None
    price_id: str | None = None
    list_unit_price: str | None = None
    """Together with workspace, period, currency, model, SKU, tier, mode and price: one line of a statement."""
    api_key_id: str | None = None
    after: str | None = None
    """The `charge_id` of the last entry of the page before."""
    limit: int = 100
    order: Literal["asc", "desc"] = "desc"
    """By `recorded_at` and `charge_id`; newest first unless said otherwise."""


@dataclass(frozen=True, slots=True)
class SummaryFilter:
    """What is summed up: a period, or a range of the tasks' `ended_at`; one of them must be given."""

    group_by: tuple[str, ...] = ()
    """Any of `GROUPS`; none: only the totals."""
    workspace_id: str | None = None
    model: str | None = None
    period: str | None = None
    start: str | None = None
    end: str | None = None


class Ledger:
    """Reads charges. Every answer is of one snapshot, and of what the caller may see."""

    def __init__(self, store: Store, billing: BillingOptions, clock: Clock) -> None:
        self._store, self._zone, self._clock = store, billing.zone, clock

    def charges(self, access: Access, wanted: ChargeFilter) -> Page[dict[str, Any]]:
        """A page of entries, each as the API gives it.

        Refused: an unknown kind, order, limit or range (400), an unknown or foreign `after` (404).
        """
        _one_of("order", wanted.order, ("asc", "desc"))
        if not 1 <= wanted.limit <= MAX_LIMIT:
            raise InvalidParameter(f"limit must be from 1 to {MAX_LIMIT}.", param="limit")
        values = self._values(access, wanted)
        with self._store.reading() as read:
            rows = read.query(
                "ledger.charges_up" if wanted.order == "asc" else "ledger.charges_down",
                after_id=wanted.after,
                after_at=_after(read, wanted.after, values["workspace_id"]),
                rows=wanted.limit + 1,
                **values,
            )
        return page_of([charge_json(row) for row in rows], wanted.limit)

    def sums(self, access: Access, wanted: ChargeFilter) -> list[dict[str, Any]]:
        """What all entries of a filter come to, whatever its page: a row a currency. Refused as for `charges`."""
        values = self._values(access, wanted)
        return [charge_json(row) for row in self._store.query("ledger.sum_of_charges", **values)]

    def _values(self, access: Access, wanted: ChargeFilter) -> dict[str, Any]:
        """The parameters of a query on entries, but for the page."""
        for param, allowed in _CHOICES.items():
            _one_of(param, getattr(wanted, param), (None, *allowed))
        unit = wanted.list_unit_price
        if unit is not None and not PRICE.fullmatch(unit):
            raise InvalidParameter(
                f'{unit!r} is no list price per million tokens. Write a decimal such as "0.8".',
                param="list_unit_price",
            )
        span = month_or_range(wanted.period, wanted.start, wanted.end, zone=self._zone, required=False)
        return {
            **{name: getattr(wanted, name) for name in _EQUAL},
            "workspace_id": access.visible(wanted.workspace_id),
            "list_unit_price": unit and Decimal(unit),
            **span_values(span),
        }

    def summary(self, access: Access, wanted: SummaryFilter) -> dict[str, Any]:
        """Sums by what `group_by` names and by currency, and totals by currency, as the API gives them."""
        for group in wanted.group_by:
            _one_of("group_by", group, GROUPS)
        values: dict[str, Any] = {
            "workspace_id": access.visible(wanted.workspace_id),
            "model": wanted.model,
            "zone": self._zone.key,
        }
        span = month_or_range(wanted.period, wanted.start, wanted.end, zone=self._zone)
        values |= span_values(span)
        with self._store.reading() as read:
            totals = _sums(read, (), values)
            data = _sums(read, wanted.group_by, values) if wanted.group_by else []
        return {
            "object": "billing.summary",
            "period": span.period,
            "start": None if span.start == EARLIEST else span.first,
            "end": None if span.end == LATEST else span.last,
            "timezone": self._zone.key,
            "group_by": list(wanted.group_by),
            "data": data,
            "totals": totals,
        }


def span_values(span: Range) -> dict[str, Any]:
    """The parameters of a query by period, which is a column, or else by a range of time."""
    if span.period is not None:
        return {"period": span.period, "start": EARLIEST, "end": LATEST}
    return {"period": None, "start": span.start, "end": span.end}


def charge_json(row: Row) -> dict[str, Any]:
    """An entry with its `charge_id` first, decimals as plain strings, moments in UTC."""
    return {name: _json(value) for name, value in row.items()}


def _json(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    return instant(value) if isinstance(value, datetime) else value


def _sums(read: Reader, groups: tuple[str, ...], values: dict[str, Any]) -> list[dict[str, Any]]:
    flags = {f"by_{group}": group in groups for group in GROUPS}
    unasked = {_FIELDS.get(group, group) for group in GROUPS if group not in groups}
    return [
        {name: _json(value) for name, value in row.items() if name not in unasked}
        for row in read.query("ledger.summary", **flags, **values)
    ]


def _after(read: Reader, charge_id: str | None, workspace_id: str | None) -> datetime | None:
    if charge_id is None:
        return None
    row = read.one("ledger.charge", charge_id=charge_id)
    if row is None or workspace_id not in (None, row["workspace_id"]):
        raise NotFound("charge", charge_id, param="after")
    at: datetime = row["recorded_at"]
    return at


def _one_of(param: str, value: str | None, allowed: Iterable[str | None]) -> None:
    if value not in allowed:
        names = ", ".join(name for name in allowed if name)
        raise InvalidParameter(f"{value!r} is not a {param} that exists. Write one of: {names}.", param=param)
