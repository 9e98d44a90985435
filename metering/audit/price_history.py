"""The stored prices, read and proved by the audit itself. Amounts are rational numbers here."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

from metering.store import Row


@dataclass(frozen=True, slots=True)
class Rates:
    """One version of a price: list prices per million tokens by tier."""

    price_id: str
    model: str
    currency: str
    valid_from: datetime
    bounds: tuple[int | None, ...]
    """Highest input tokens of each tier, inclusive; none: without an end."""
    units: tuple[dict[str, Fraction], ...]
    """`input`, `output` and `output_thinking` of each tier."""

    def tier_of(self, input_tokens: int) -> str:
        """The name of a request's tier."""
        for bound in self.bounds:
            if bound is None:
                return "all"
            if input_tokens <= bound:
                return str(bound)
        return "over"

    def unit(self, tier: str, mode: str, sku: str) -> Fraction:
        """The list price of a million tokens."""
        names = ["all" if bound is None else str(bound) for bound in self.bounds]
        prices = self.units[names.index(tier) if tier in names else -1]
        if sku == "input_tokens":
            return prices["input"]
        return prices["output_thinking" if mode == "thinking" else "output"]


@dataclass(frozen=True, slots=True)
class PriceFault:
    """A stored price that is not what its identity says."""

    price_id: str
    column: str
    expected: str
    found: str


class PriceHistory:
    """Which price was in force when.

    A version counts if it stands in the price book or some charge was made with it: others were
    loaded once and withdrawn before they were used.
    """

    def __init__(self, rows: Iterable[Row], used: frozenset[str], in_book: Callable[[str], bool]) -> None:
        self.faults: dict[str, PriceFault] = {}
        self._by_key: dict[tuple[str, str], list[Rates]] = {}
        for row in rows:
            if row["price_id"] in used or in_book(row["price_id"]):
                self._take(row)
        for versions in self._by_key.values():
            versions.sort(key=lambda rates: rates.valid_from)

    def at(self, model: str, currency: str, moment: datetime) -> Rates | None:
        """The latest version that was valid at a moment."""
        begun = [rates for rates in self._by_key.get((model, currency), ()) if rates.valid_from <= moment]
        return begun[-1] if begun else None

    def _take(self, row: Row) -> None:
        identity, canonical = row["price_id"], row["canonical"]
        found = hashlib.sha256(canonical.encode()).hexdigest()
        if found != identity:
            self.faults[identity] = PriceFault(
                identity, "canonical", f"SHA-256 {identity}", f"SHA-256 {found}"
            )
            return
        facts = json.loads(canonical)
        rates = Rates(
            price_id=identity,
            model=facts["model"],
            currency=facts["currency"],
            valid_from=datetime.fromisoformat(facts["valid_from"]),
            bounds=tuple(tier["up_to_input_tokens"] for tier in facts["tiers"]),
            units=tuple(
                {name: Fraction(tier[name]) for name in ("input", "output", "output_thinking")}
                for tier in facts["tiers"]
            ),
        )
        for column in ("model", "currency", "valid_from"):
            if row[column] != getattr(rates, column):
                wanted = str(getattr(rates, column))
                self.faults[identity] = PriceFault(identity, column, wanted, str(row[column]))
        self._by_key.setdefault((rates.model, rates.currency), []).append(rates)
