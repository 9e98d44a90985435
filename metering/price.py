"""One dated list price of one model in one currency, and its identity."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from metering.money import plain

_UNITS = ("input", "output", "output_thinking")


@dataclass(frozen=True, slots=True)
class Tier:
    """Real-time list prices per million tokens for requests with at most so many input tokens."""

    up_to_input_tokens: int | None
    """Inclusive bound; none only in a last tier, which then has no end."""
    input: Decimal
    output: Decimal
    output_thinking: Decimal

    def as_json(self) -> dict[str, Any]:
        """The tier with its prices as plain decimal strings."""
        return {
            "up_to_input_tokens": self.up_to_input_tokens,
            "input": plain(self.input),
            "output": plain(self.output),
            "output_thinking": plain(self.output_thinking),
        }


@dataclass(frozen=True, slots=True)
class Price:
    """An entry of the price book. Make it with `Price.of`, which computes its identity."""

    price_id: str
    """SHA-256 of `canonical`: the same facts have the same identity wherever they are written."""
    model: str
    currency: str
    valid_from: datetime
    """Aware UTC; the price holds from this moment until the next one of its model and currency."""
    source: str | None
    tiers: tuple[Tier, ...]
    """In order of their bounds; at least one."""

    @classmethod
    def of(
        cls,
        model: str,
        currency: str,
        valid_from: datetime,
        tiers: tuple[Tier, ...],
        source: str | None = None,
    ) -> "Price":
        """Makes a price and its identity."""
        at = valid_from.astimezone(UTC)
        digest = hashlib.sha256(_canonical(model, currency, at, tiers).encode()).hexdigest()
        return cls(digest, model, currency, at, source, tiers)

    @classmethod
    def of_canonical(cls, text: str) -> "Price":
        """A price as it was stored; `source` is not part of it."""
        facts = json.loads(text)
        tiers = (
            Tier(one["up_to_input_tokens"], *(Decimal(one[name]) for name in _UNITS))
            for one in facts["tiers"]
        )
        since = datetime.fromisoformat(facts["valid_from"])
        return cls.of(facts["model"], facts["currency"], since, tuple(tiers))

    @property
    def bounds(self) -> tuple[int | None, ...]:
        """The bounds of its tiers; prices with the same ones put each request into the same tier."""
        return tuple(tier.up_to_input_tokens for tier in self.tiers)

    @property
    def canonical(self) -> str:
        """JSON of all that the price is: keys sorted, no spaces, decimals normalised, `source` left out."""
        return _canonical(self.model, self.currency, self.valid_from, self.tiers)


def instant(at: datetime) -> str:
    """ISO 8601 in UTC with `Z`; fractions only if there are any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _canonical(model: str, currency: str, valid_from: datetime, tiers: tuple[Tier, ...]) -> str:
    facts = {
        "model": model,
        "currency": currency,
        "valid_from": instant(valid_from),
        "tiers": [tier.as_json() for tier in tiers],
    }
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
