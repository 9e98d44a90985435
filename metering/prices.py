"""The price book: dated list prices by model and currency (SPEC §5.4, §12).

A price that was charged with is history. `remember` keeps every version that was ever loaded in the
database and refuses a book that would rewrite what charges say.
"""

import bisect
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from metering.clock import Clock, utc_now
from metering.errors import Refused
from metering.price import Price, Tier, instant
from metering.price_file import Entry, Fault, PriceBookError, PriceFile, read_price_file, read_price_text
from metering.store import Reader, Row, Store, Transaction

_TIER_KEYS = ("up_to_input_tokens", "input", "output", "output_thinking")
__all__ = ["Fault", "Price", "PriceBook", "PriceBookError", "Tier"]


class PriceBook:
    """The prices of one file. It never changes; read the file again to have another."""

    def __init__(self, file: PriceFile, currency: str | None = None, clock: Clock = utc_now) -> None:
        self._path, self._end = file.path, file.lines
        self._default_currency = currency
        self._clock = clock
        self._lines = {entry.price.price_id: entry.line for entry in file.entries}
        self._by_key = _in_order(file.entries)

    @classmethod
    def load(cls, path: Path, currency: str | None = None, clock: Clock = utc_now) -> "PriceBook":
        """Reads a file. `currency` is `billing.currency`. Raises `PriceBookError` with every fault."""
        return cls(read_price_file(Path(path)), currency, clock)

    @classmethod
    def of_text(
        cls, path: str, text: str, currency: str | None = None, clock: Clock = utc_now
    ) -> "PriceBook":
        """Reads the text of a file that faults call `path`."""
        return cls(read_price_text(path, text), currency, clock)

    @property
    def prices(self) -> tuple[Price, ...]:
        """All prices, by model, currency and date."""
        return tuple(price for key in sorted(self._by_key) for price in self._by_key[key])

    def of_model(self, model: str, currency: str) -> tuple[Price, ...]:
        """The prices of a model in a currency, by date; none if there are none."""
        return self._by_key.get((model, currency), ())

    def has(self, price_id: str) -> bool:
        """Whether the book has this very price."""
        return price_id in self._lines

    def in_force(self, model: str, currency: str, at: datetime) -> Price | None:
        """The latest price that is valid from `at` or earlier, or none."""
        prices = self.of_model(model, currency)
        found = bisect.bisect_right(prices, at, key=lambda price: price.valid_from)
        return prices[found - 1] if found else None

    def currencies(self, model: str) -> tuple[str, ...]:
        """The currencies in which the book has any price of a model."""
        return tuple(sorted(currency for name, currency in self._by_key if name == model))

    def currency_for(self, model: str, workspace_currency: str | None = None) -> str:
        """The workspace's currency, else `billing.currency`, else the model's only one.

        Refused (400, code `no_price`) if that leaves none or several, or has no price in force now.
        """
        currency = self._currency(model, workspace_currency)
        if currency is None or self.in_force(model, currency, self._clock()) is None:
            raise Refused(self._why_not(model, currency), param="model", code="no_price")
        return currency

    def check_models(self, models: Iterable[tuple[str, bool]]) -> None:
        """At start: each model (name, free) that is not free must have a price; else `PriceBookError`."""
        faults = []
        for model, free in models:
            currency = None if free else self._currency(model, None)
            if not free and (currency is None or self.in_force(model, currency, self._clock()) is None):
                said = f"{self._why_not(model, currency)} A model without a price must be marked free = true."
                faults.append(Fault(self._path, None, None, said))
        if faults:
            raise PriceBookError(faults)

    def remember(self, store: Store, configured: Iterable[str] | None = None) -> None:
        """Stores the book's versions, or refuses it (`PriceBookError`) if it contradicts a charge.

        `configured` are the models of the settings (none: all): a used price of any other may be left out.
        """
        names = None if configured is None else frozenset(configured)
        store.write(lambda tx: self._remember(tx, names))

    # -- what charges say ----------------------------------------------------------------------------

    def contradictions(self, read: Reader, configured: frozenset[str] | None) -> list[Fault]:
        """What of the book charges contradict, so that the service would refuse it; `configured` as above."""
        stored = frozenset(row["price_id"] for row in read.query("prices.versions"))
        faults = [self._contradiction(used, configured, stored) for used in read.query("prices.used")]
        return list(dict.fromkeys(fault for fault in faults if fault))

    def _remember(self, tx: Transaction, configured: frozenset[str] | None) -> None:
        if faults := self.contradictions(tx, configured):
            raise PriceBookError(faults)
        for price in self.prices:
            tx.execute("prices.remember", now=self._clock(), **_as_row(price))

    def _contradiction(
        self, used: Row, configured: frozenset[str] | None, stored: frozenset[str]
    ) -> Fault | None:
        """What is wrong with the book in the light of one used price: changed, left out or pushed aside."""
        model, currency, at = used["model"], used["currency"], used["last_ended_at"]
        now_in_force = self.in_force(model, currency, at)
        if now_in_force is not None and now_in_force.price_id == used["price_id"]:
            return None
        was = f"charges up to {instant(at)} used {_as_toml(used['canonical'])}"
        changed = self._changed(used)
        if changed is not None:
            return self._at(
                changed, f"a used price can't be changed: {was}; restore it and add a new valid_from"
            )
        kept = self.has(used["price_id"])
        if now_in_force is not None and (kept or now_in_force.price_id not in stored):
            said = f"valid_from {instant(now_in_force.valid_from)} lies before charges that it would have changed"
            return self._at(now_in_force, f"{said}: {was}; use a later valid_from")
        if configured is None or model in configured:
            said = f"a used price of a configured model was left out: {was}; put it back"
            return Fault(self._path, self._end, "prices", said)
        return None

    def _changed(self, used: Row) -> Price | None:
        """The book's price of the same model, currency and date as a used one that says something else."""
        if used["canonical"] is None or self.has(used["price_id"]):
            return None
        since = datetime.fromisoformat(json.loads(used["canonical"])["valid_from"])
        same = self.in_force(used["model"], used["currency"], since)
        return same if same is not None and same.valid_from == since else None

    def _at(self, price: Price, message: str) -> Fault:
        return Fault(self._path, self._lines[price.price_id], "prices", message)

    # -- currencies ----------------------------------------------------------------------------------

    def _currency(self, model: str, workspace_currency: str | None) -> str | None:
        chosen = workspace_currency or self._default_currency
        if chosen is not None:
            return chosen
        known = self.currencies(model)
        return known[0] if len(known) == 1 else None

    def _why_not(self, model: str, currency: str | None) -> str:
        known = self.currencies(model)
        if not known:
            return f"Model {model!r} has no price in the price book; add one with [[prices]]."
        if currency is None:
            several = " and ".join(known)
            return (
                f"Model {model!r} has prices in {several}; set billing.currency or the workspace's currency."
            )
        return f"Model {model!r} has no price in {currency} that is in force; the price book has {', '.join(known)}."


def _in_order(entries: Iterable[Entry]) -> Mapping[tuple[str, str], tuple[Price, ...]]:
    groups: dict[tuple[str, str], list[Price]] = {}
    for entry in entries:
        groups.setdefault((entry.price.model, entry.price.currency), []).append(entry.price)
    return {key: tuple(sorted(group, key=lambda price: price.valid_from)) for key, group in groups.items()}


def _as_row(price: Price) -> dict[str, Any]:
    names = ("price_id", "model", "currency", "valid_from", "canonical", "source")
    return {name: getattr(price, name) for name in names}


def _as_toml(canonical: str | None) -> str:
    """A stored price as the line of the file that would bring it back."""
    if canonical is None:
        return "a price that is not stored"
    facts = json.loads(canonical)
    tiers = ", ".join(
        "{ "
        + ", ".join(f"{key} = {json.dumps(tier[key])}" for key in _TIER_KEYS if tier[key] is not None)
        + " }"
        for tier in facts["tiers"]
    )
    head = f"model = {json.dumps(facts['model'])}, currency = {json.dumps(facts['currency'])}"
    return f"{head}, valid_from = {facts['valid_from']}, tiers = [{tiers}]"
