"""What a task costs: pure, exact decimals, no division and no rounding (SPEC §5.1-5.3).

The tier rule lives here and nowhere else on the live path.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from metering.money import EXACT
from metering.price import Price, Tier

Sku = Literal["input_tokens", "output_tokens"]
Mode = Literal["standard", "thinking"]

BATCH_FACTOR = Decimal("0.5")
"""Batch price = real-time list price × this."""
PER_TOKEN = Decimal("0.000001")
BATCH_PER_TOKEN = Decimal("0.0000005")


@dataclass(frozen=True, slots=True)
class UsageGroup:
    """Metered requests of one task that have the same count of input tokens and the same mode."""

    input_tokens: int
    """Of each single request."""
    thinking: bool
    requests: int
    output_tokens: int
    """Of all of them together."""


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Metered requests of one task in one tier and mode."""

    tier: str
    mode: Mode
    requests: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class RatedLine:
    """The figures of one charge."""

    sku: Sku
    tier: str
    mode: Mode
    requests: int
    """Counted on `input_tokens` lines only, so that a sum over charges counts a request once."""
    quantity: int
    """Tokens."""
    list_unit_price: Decimal
    """Per million tokens, as `unit_price`."""
    unit_price: Decimal
    list_amount: Decimal
    discount_amount: Decimal
    amount: Decimal


def tier_of(price: Price, input_tokens: int) -> tuple[str, Tier]:
    """The tier of a request and its name: the bound, `all` without one, `over` above the last."""
    for tier in price.tiers:
        if tier.up_to_input_tokens is None:
            return "all", tier
        if input_tokens <= tier.up_to_input_tokens:
            return str(tier.up_to_input_tokens), tier
    return "over", price.tiers[-1]


def tier_range(price: Price, name: str) -> tuple[int | None, int | None]:
    """Which requests a tier holds, by its name: those with more input tokens than the first, up to the second."""
    below: int | None = None
    for tier in price.tiers:
        bound = tier.up_to_input_tokens
        if name == ("all" if bound is None else str(bound)):
            return below, bound
        below = bound
    return below, None


def usage_lines(price: Price, groups: Iterable[UsageGroup]) -> list[UsageLine]:
    """The groups summed by tier and mode, in the order of the tiers."""
    sums: dict[tuple[str, Mode], tuple[int, int, int]] = {}
    for group in groups:
        mode: Mode = "thinking" if group.thinking else "standard"
        key = (tier_of(price, group.input_tokens)[0], mode)
        requests, inputs, outputs = sums.get(key, (0, 0, 0))
        inputs += group.input_tokens * group.requests
        sums[key] = (requests + group.requests, inputs, outputs + group.output_tokens)
    names = [*_tier_names(price), "over"]
    ordered = sorted(sums.items(), key=lambda item: (names.index(item[0][0]), item[0][1]))
    return [UsageLine(*key, *figures) for key, figures in ordered]


def rate(price: Price, lines: Iterable[UsageLine]) -> list[RatedLine]:
    """The charges of a task: an input line for each usage line, an output line only above 0 tokens."""
    rated = []
    tiers = _tier_names(price)
    for line in lines:
        tier = tiers.get(line.tier, price.tiers[-1])
        rated.append(_rated(line, "input_tokens", line.requests, line.input_tokens, tier.input))
        if line.output_tokens > 0:
            unit = tier.output_thinking if line.mode == "thinking" else tier.output
            rated.append(_rated(line, "output_tokens", 0, line.output_tokens, unit))
    return rated


def usage_charge_id(task_id: str, price_id: str, line: RatedLine) -> str:
    """The same for the same task, SKU, price, tier and mode: entered twice is entered once."""
    identity = ["usage", task_id, line.sku, price_id, line.tier, line.mode]
    text = json.dumps(identity, separators=(",", ":"), ensure_ascii=False)
    return "chg_" + hashlib.sha256(text.encode()).hexdigest()[:40]


def _tier_names(price: Price) -> dict[str, Tier]:
    bounds = ((tier.up_to_input_tokens, tier) for tier in price.tiers)
    return {"all" if bound is None else str(bound): tier for bound, tier in bounds}


def _rated(line: UsageLine, sku: Sku, requests: int, quantity: int, unit: Decimal) -> RatedLine:
    tokens = EXACT.multiply(Decimal(quantity), unit)
    listed = EXACT.multiply(tokens, PER_TOKEN)
    amount = EXACT.multiply(tokens, BATCH_PER_TOKEN)
    return RatedLine(
        sku=sku,
        tier=line.tier,
        mode=line.mode,
        requests=requests,
        quantity=quantity,
        list_unit_price=unit,
        unit_price=EXACT.multiply(unit, BATCH_FACTOR),
        list_amount=listed,
        discount_amount=EXACT.subtract(listed, amount),
        amount=amount,
    )
