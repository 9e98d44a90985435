"""What a price book would do, told before it is loaded: its faults, what charges contradict, and a month at its prices.

Nothing is changed. Each model and currency of a month of the ledger is rated twice: as the book dates its
prices, which must give what was charged or the service would refuse the book, and at its last price, which
says what the same month will cost when that is in force.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from metering.access import Access
from metering.clock import Clock
from metering.money import EXACT, ZERO, plain
from metering.months import month_before, month_of
from metering.options import BillingOptions
from metering.price import Price, instant
from metering.prices import Fault, PriceBook, PriceBookError
from metering.ranges import month
from metering.rating import Mode, UsageLine, rate
from metering.store import Reader, Row, Store

LONGEST_SECONDS = 600.0
"""How long a check may read: new tiers are looked up request by request."""


@dataclass(frozen=True, slots=True)
class Rated:
    """What some usage would cost; or why that can't be known."""

    list_amount: Decimal | None
    amount: Decimal | None
    why: str | None = None

    def as_json(self, charged: Decimal) -> dict[str, Any]:
        """With the difference to what was charged."""
        more = None if self.amount is None else EXACT.subtract(self.amount, charged)
        figures = {"list_amount": self.list_amount, "amount": self.amount, "difference": more}
        return {name: _plain(value) for name, value in figures.items()} | {"unknown": self.why}


class PriceCheck:
    """Checks price books. Thread-safe; every answer is of one snapshot."""

    def __init__(
        self, store: Store, billing: BillingOptions, models: Iterable[tuple[str, bool]], clock: Clock
    ) -> None:
        """`models` are the configured ones: name, and whether it is free."""
        self._store, self._billing, self._models, self._clock = store, billing, tuple(models), clock

    def run(self, access: Access, path: str, text: str, period: str | None = None) -> dict[str, Any]:
        """Checks the text of a book that faults call `path` against a month, by default the last one.

        Refused: what is no month (400).
        """
        access.require_admin()
        wanted = period or month_before(month_of(self._clock(), self._billing.zone))
        month(wanted, zone=self._billing.zone)
        try:
            book = PriceBook.of_text(path, text, self._billing.currency, self._clock)
        except PriceBookError as error:
            return _report(wanted, error.faults, [])
        with self._store.reading(LONGEST_SECONDS) as read:
            faults = [*self._unpriced(book), *book.contradictions(read, self._configured)]
            return _report(wanted, faults, _Month(read, wanted, book).rows())

    @property
    def _configured(self) -> frozenset[str]:
        return frozenset(name for name, _ in self._models)

    def _unpriced(self, book: PriceBook) -> Sequence[Fault]:
        try:
            book.check_models(self._models)
        except PriceBookError as error:
            return error.faults
        return ()


def _report(period: str, faults: Sequence[Fault], rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "object": "billing.price_check",
        "acceptable": not faults,
        "faults": [
            {"path": f.path, "line": f.line, "field": f.field, "message": f.message, "text": str(f)}
            for f in faults
        ],
        "period": period,
        "data": rows,
    }


class _Month:
    """A month of the ledger in the light of a book."""

    def __init__(self, read: Reader, period: str, book: PriceBook) -> None:
        self._read, self._period, self._book = read, period, book
        self._bounds = {
            row["price_id"]: Price.of_canonical(row["canonical"]).bounds
            for row in read.query("prices.versions")
        }

    def rows(self) -> list[dict[str, Any]]:
        """A row a model and currency."""
        found = self._read.query("price_check.models", period=self._period)
        return [self._row(row["model"], row["currency"]) for row in found]

    def _row(self, model: str, currency: str) -> dict[str, Any]:
        prices = self._book.of_model(model, currency)
        usage = _Usage(self._read, self._period, model, currency, prices, self._bounds)
        charged = usage.sum_of("amount")
        last = prices[-1] if prices else None
        return {
            "model": model,
            "currency": currency,
            **{name: usage.count_of(name) for name in ("requests", "input_tokens", "output_tokens")},
            "list_amount": plain(usage.sum_of("list_amount")),
            "amount": plain(charged),
            "as_dated": usage.as_dated().as_json(charged),
            "at_last_price": {
                "price_id": last.price_id if last else None,
                "valid_from": instant(last.valid_from) if last else None,
                **usage.at(last).as_json(charged),
            },
        }


class _Usage:
    """What of a model was charged in a month and currency, and the same at other prices."""

    def __init__(
        self,
        read: Reader,
        period: str,
        model: str,
        currency: str,
        prices: Sequence[Price],
        bounds: Mapping[str, tuple[int | None, ...]],
    ) -> None:
        borders = [price.valid_from for price in prices]
        self._read, self._prices, self._stored = read, prices, bounds
        self._which = {"period": period, "model": model, "currency": currency, "borders": borders}
        self._charged = read.query("price_check.charged", **self._which)

    def count_of(self, name: str) -> int:
        """A sum of requests or tokens."""
        return sum(row[name] for row in self._charged)

    def sum_of(self, name: str) -> Decimal:
        """A sum of amounts."""
        return _sum(row[name] for row in self._charged)

    def as_dated(self) -> Rated:
        """At the price that the book has in force at the end of each task."""
        steps = sorted({row["step"] for row in self._charged})
        return _together(self.at(self._prices[step - 1] if step else None, step) for step in steps)

    def at(self, price: Price | None, step: int | None = None) -> Rated:
        """At one price; `step` None is the whole month, else the tasks between two borders."""
        if price is None:
            return Rated(None, None, "the book has no price for it")
        rows = [row for row in self._charged if step in (None, row["step"])]
        if all(self._stored.get(row["price_id"]) == price.bounds for row in rows):
            return _rated(price, [_line(row["tier"], row["mode"], row) for row in rows])
        return self._one_by_one(price, step, sum(row["requests"] for row in rows))

    def _one_by_one(self, price: Price, step: int | None, requests: int) -> Rated:
        """With other tiers than were charged each request has to be looked up, if it is still kept."""
        bounds = [bound for bound in price.bounds if bound is not None]
        rows = [
            row
            for row in self._read.query("price_check.requests", bounds=bounds, **self._which)
            if step in (None, row["step"])
        ]
        if sum(row["requests"] for row in rows) != requests:
            why = "its tiers are other ones, and the calls of this month are no longer kept"
            return Rated(None, None, why)
        above = "all" if price.bounds[-1] is None else "over"
        lines = []
        for row in rows:
            tier = above if row["bound"] is None else str(row["bound"])
            lines.append(_line(tier, "thinking" if row["thinking"] else "standard", row))
        return _rated(price, lines)


def _line(tier: str, mode: Mode, row: Row) -> UsageLine:
    return UsageLine(tier, mode, row["requests"], row["input_tokens"], row["output_tokens"])


def _rated(price: Price, lines: Iterable[UsageLine]) -> Rated:
    rated = rate(price, lines)
    return Rated(_sum(line.list_amount for line in rated), _sum(line.amount for line in rated))


def _together(parts: Iterable[Rated]) -> Rated:
    listed, amount = ZERO, ZERO
    for part in parts:
        if part.list_amount is None or part.amount is None:
            return part
        listed, amount = EXACT.add(listed, part.list_amount), EXACT.add(amount, part.amount)
    return Rated(listed, amount)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def _plain(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
