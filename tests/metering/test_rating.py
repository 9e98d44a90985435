from datetime import UTC, datetime
from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.money import EXACT, plain
from metering.price import Price, Tier
from metering.rating import RatedLine, UsageGroup, rate, tier_of, usage_charge_id, usage_lines
from tests.metering.billed import oracle

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UNITS = st.decimals(min_value=0, max_value=999_999_999, places=6).map(abs)


@st.composite
def prices(draw: st.DrawFn) -> Price:
    bounds: list[int | None] = sorted(draw(st.sets(st.integers(1, 10**9), max_size=4)))
    if not bounds or draw(st.booleans()):
        bounds.append(None)
    tiers = tuple(Tier(bound, draw(UNITS), draw(UNITS), draw(UNITS)) for bound in bounds)
    return Price.of("m", "USD", SINCE, tiers)


GROUPS = st.lists(
    st.builds(
        UsageGroup,
        input_tokens=st.integers(0, 10**9),
        thinking=st.booleans(),
        requests=st.integers(1, 50_000),
        output_tokens=st.integers(0, 10**13),
    ),
    max_size=12,
)


def bill(price: Price, groups: list[UsageGroup]) -> list[RatedLine]:
    return rate(price, usage_lines(price, groups))


@settings(deadline=None)
@given(prices(), GROUPS)
def test_amounts_are_those_of_rational_arithmetic(price: Price, groups: list[UsageGroup]) -> None:
    """Every charge is quantity × unit price, exact to the last digit, and twice the amount is the list amount."""
    for line in bill(price, groups):
        listed, amount = oracle(line.quantity, line.list_unit_price)
        assert Fraction(line.list_amount) == listed
        assert Fraction(line.amount) == amount
        assert line.discount_amount == line.amount
        assert 2 * Fraction(line.unit_price) == Fraction(line.list_unit_price)
        assert -line.amount.as_tuple().exponent <= 15, "DECIMAL(38,15) holds it"


@settings(deadline=None)
@given(prices(), GROUPS)
def test_rating_keeps_every_token_and_request(price: Price, groups: list[UsageGroup]) -> None:
    """What goes in comes out: tokens by SKU, and each request once."""
    lines = bill(price, groups)
    by_sku = {
        sku: sum(x.quantity for x in lines if x.sku == sku) for sku in ("input_tokens", "output_tokens")
    }
    assert by_sku["input_tokens"] == sum(g.input_tokens * g.requests for g in groups)
    assert by_sku["output_tokens"] == sum(g.output_tokens for g in groups)
    assert sum(x.requests for x in lines) == sum(g.requests for g in groups)


@settings(deadline=None)
@given(prices(), GROUPS, st.randoms(use_true_random=False))
def test_order_and_partition_change_nothing(price: Price, groups: list[UsageGroup], random: object) -> None:
    """The charges are the same in whatever order and however split the usage arrives."""
    split = [
        UsageGroup(g.input_tokens, g.thinking, 1, g.output_tokens if n == 0 else 0)
        for g in groups
        for n in range(min(g.requests, 3))
    ]
    whole = [UsageGroup(g.input_tokens, g.thinking, min(g.requests, 3), g.output_tokens) for g in groups]
    random.shuffle(split)  # type: ignore[attr-defined]
    assert bill(price, split) == bill(price, whole)


@settings(deadline=None)
@given(prices(), GROUPS)
def test_each_request_is_priced_by_its_own_tier(price: Price, groups: list[UsageGroup]) -> None:
    """The task's amount is the sum of its requests rated one by one, each wholly in its tier."""
    expected = Fraction(0)
    for group in groups:
        fitting = [
            t
            for t in price.tiers
            if t.up_to_input_tokens is None or group.input_tokens <= t.up_to_input_tokens
        ]
        tier = fitting[0] if fitting else price.tiers[-1]
        unit_out = tier.output_thinking if group.thinking else tier.output
        expected += (
            oracle(group.input_tokens * group.requests, tier.input)[1]
            + oracle(group.output_tokens, unit_out)[1]
        )
    assert sum((Fraction(line.amount) for line in bill(price, groups)), Fraction(0)) == expected


@pytest.mark.parametrize(
    ("tokens", "name", "unit"),
    [(0, "128", "1"), (128, "128", "1"), (129, "256", "2"), (256, "256", "2"), (257, "over", "2")],
)
def test_bounds_are_inclusive_and_the_last_price_holds_above(tokens: int, name: str, unit: str) -> None:
    """A request on a bound is within it; above the last bound the last tier's price applies, as `over`."""
    one, two = Decimal(1), Decimal(2)
    price = Price.of("m", "USD", SINCE, (Tier(128, one, one, one), Tier(256, two, two, two)))
    found, tier = tier_of(price, tokens)
    assert (found, tier.input) == (name, Decimal(unit))
    assert [line.tier for line in bill(price, [UsageGroup(tokens, False, 1, 0)])] == [name]


def test_a_tier_without_bound_is_all() -> None:
    """Both alone and after bounded tiers."""
    one = Decimal(1)
    price = Price.of("m", "USD", SINCE, (Tier(5, one, one, one), Tier(None, one, one, one)))
    assert [tier_of(price, n)[0] for n in (5, 6)] == ["5", "all"]


def test_an_input_row_always_and_an_output_row_only_above_zero() -> None:
    """A metered request of no tokens at all still leaves the row that counts it."""
    one = Decimal(1)
    price = Price.of("m", "USD", SINCE, (Tier(None, one, one, one),))
    assert [(x.sku, x.requests, x.quantity) for x in bill(price, [UsageGroup(0, False, 7, 0)])] == [
        ("input_tokens", 7, 0)
    ]
    assert [(x.sku, x.requests) for x in bill(price, [UsageGroup(3, False, 7, 1)])] == [
        ("input_tokens", 7),
        ("output_tokens", 0),
    ]


def test_a_charge_id_tells_its_parts_apart() -> None:
    """Joining the parts by a separator could make two charges one; a JSON tuple can't."""
    one = Decimal(1)
    price = Price.of("m", "USD", SINCE, (Tier(None, one, one, one),))
    first, second = bill(price, [UsageGroup(3, False, 1, 1)])
    ids = {usage_charge_id(task, "p", line) for task in ("a", 'a","b') for line in (first, second)}
    assert len(ids) == 4
    assert usage_charge_id("a", "p", first) == usage_charge_id("a", "p", first)


def test_the_arithmetic_refuses_to_round() -> None:
    """More digits than can be held are an error, never a rounded amount."""
    with pytest.raises(Inexact):
        EXACT.multiply(Decimal("1." + "1" * 40), Decimal("1." + "3" * 40))


@settings(deadline=None)
@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**20), max_value=10**20, places=15))
def test_plain_money_has_no_exponent_and_the_same_value(amount: Decimal) -> None:
    """Money is written in digits only."""
    text = plain(amount)
    assert Fraction(text) == Fraction(amount)
    assert not set(text) - set("-0123456789.")
    assert text != "-0"
