import re
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.access import ADMIN, Access
from metering.corrections import Replacement, reversal_id
from metering.errors import Conflict, Forbidden, InvalidParameter, NotFound, Refused
from metering.metrics import Metrics
from tests.metering.billed import NOON, rows
from tests.metering.books import Rig, total

NEGATED = ("requests", "quantity", "list_amount", "discount_amount", "amount")
SAME = (
    "task_id", "workspace_id", "api_key_id", "model", "sku", "tier", "mode", "currency", "ended_at", "price_id",
    "list_unit_price", "unit_price",
)  # fmt: skip


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.workspace("default")
    made.task({"input_tokens": 100, "output_tokens": 50})
    made.clock.advance(hours=1)
    yield made
    made.store.close()


def first(rig: Rig) -> dict[str, Any]:
    """The charge of the input tokens."""
    return next(row for row in rig.charges(kind="usage") if row["sku"] == "input_tokens")


def test_a_reversal_takes_away_all_of_a_charge(rig: Rig) -> None:
    """Requests, tokens and amounts with the other sign, all else as it was; the ledger sums to nothing."""
    original = first(rig)
    made = rig.corrections.correct(ADMIN, original["charge_id"], "  typing error ")
    reversal = made["reversal"]
    assert made["replacement"] is None
    assert {name: reversal[name] for name in SAME} == {name: original[name] for name in SAME}
    assert all(Decimal(str(reversal[name])) == -Decimal(str(original[name])) for name in NEGATED)
    assert (reversal["kind"], reversal["corrects"]) == ("correction", original["charge_id"])
    assert (reversal["reason"], reversal["author_key_id"]) == ("typing error", "admin")
    assert (reversal["period"], reversal["recorded_at"]) == ("2026-11", "2026-11-22T13:00:00.123456Z")
    of_input = [row for row in rig.charges() if row["sku"] == "input_tokens"]
    assert total(of_input) == total(of_input, "list_amount") == 0
    assert reversal in of_input
    assert rig.told == ["changed"]


def test_the_original_stays_as_it_was(rig: Rig) -> None:
    """The ledger only grows."""
    before = rows(rig.store, "charges")
    rig.corrections.correct(ADMIN, first(rig)["charge_id"], "wrong", Replacement(quantity=1))
    after = rows(rig.store, "charges")
    assert [row for row in after if row in before] == before
    assert len(after) == len(before) + 2


@pytest.mark.parametrize(
    ("wanted", "quantity", "price", "amount"),
    [
        (Replacement(quantity=80), 80, "0.8", "0.000032"),
        (Replacement(list_unit_price="0.7"), 100, "0.7", "0.000035"),
        (Replacement(80, "0.000001"), 80, "0.000001", "0.00000000004"),
        (Replacement(quantity=0), 0, "0.8", "0"),
        (Replacement(10**15, "999999999.999999"), 10**15, "999999999.999999", "499999999999999500"),
    ],
)
def test_a_replacement_says_what_should_have_been(
    rig: Rig, wanted: Replacement, quantity: int, price: str, amount: str
) -> None:
    """Its own figures at half the list price; what was not given is as before."""
    made = rig.corrections.correct(ADMIN, first(rig)["charge_id"], "wrong", wanted)["replacement"]
    assert (made["quantity"], made["list_unit_price"], made["amount"]) == (quantity, price, amount)
    assert (made["requests"], made["corrects"]) == (1, first(rig)["charge_id"])
    assert Decimal(made["list_amount"]) == Decimal(made["amount"]) + Decimal(made["discount_amount"])
    assert made in rig.charges()


def test_a_charge_is_reversed_once_at_most(rig: Rig) -> None:
    """The second try is a conflict that names the first; nothing is written."""
    identity = first(rig)["charge_id"]
    rig.corrections.correct(ADMIN, identity, "wrong", Replacement(quantity=1))
    with pytest.raises(Conflict, match=reversal_id(identity)) as refused:
        rig.corrections.correct(ADMIN, identity, "wrong again")
    assert (refused.value.param, refused.value.code) == ("charge_id", "already_reversed")
    assert len(rig.charges(kind="correction")) == 2


def test_a_replacement_can_be_corrected_a_reversal_can_not(rig: Rig) -> None:
    """Again and again, each naming the one before; even one of nothing is known for what it is."""
    made = rig.corrections.correct(ADMIN, first(rig)["charge_id"], "wrong", Replacement(quantity=0))
    for quantity in (7, 0):
        identity = made["replacement"]["charge_id"]
        made = rig.corrections.correct(ADMIN, identity, "wrong", Replacement(quantity=quantity))
        assert made["reversal"]["corrects"] == identity
        with pytest.raises(InvalidParameter) as refused:
            rig.corrections.correct(ADMIN, made["reversal"]["charge_id"], "no")
        assert (refused.value.param, refused.value.code) == ("charge_id", "is_reversal")
    of_input = [row for row in rig.charges() if row["sku"] == "input_tokens"]
    assert (sum(row["quantity"] for row in of_input), sum(row["requests"] for row in of_input)) == (0, 1)


def test_the_period_is_the_originals_while_it_is_open(rig: Rig) -> None:
    """Also when the month is over; once it is closed the running month takes the correction."""
    inputs, outputs = first(rig), next(row for row in rig.charges() if row["sku"] == "output_tokens")
    rig.clock.now = datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    early = rig.corrections.correct(ADMIN, inputs["charge_id"], "wrong")["reversal"]
    rig.closing.close(ADMIN, "2026-11")
    rig.clock.advance(minutes=1)
    late = rig.corrections.correct(ADMIN, outputs["charge_id"], "wrong", Replacement(quantity=1))
    assert early["period"] == "2026-11"
    assert late["reversal"]["period"] == late["replacement"]["period"] == "2027-01"
    assert late["reversal"]["ended_at"] == outputs["ended_at"]
    assert rig.verification.verify(ADMIN, "2026-11")["verified"]
    (draft,) = rig.statements.of(ADMIN, "2027-01")
    assert [line["quantity"] for line in draft["lines"]] == [-49]


def test_a_correction_in_a_closed_month_stays_open_to_be_corrected(rig: Rig) -> None:
    """A replacement of the running month is corrected there; its original's month plays no part."""
    rig.clock.now = datetime(2026, 12, 5, tzinfo=UTC)
    rig.closing.close(ADMIN, "2026-11")
    made = rig.corrections.correct(ADMIN, first(rig)["charge_id"], "wrong", Replacement(quantity=1))
    again = rig.corrections.correct(ADMIN, made["replacement"]["charge_id"], "wrong")
    assert again["reversal"]["period"] == "2026-12"


def test_corrections_are_never_recorded_before_what_is_there(rig: Rig) -> None:
    """Even if the clock went back, also into a closed month."""
    rig.clock.now = datetime(2026, 12, 5, tzinfo=UTC)
    rig.closing.close(ADMIN, "2026-11")
    rig.clock.now = NOON
    made = rig.corrections.correct(ADMIN, first(rig)["charge_id"], "wrong")["reversal"]
    assert (made["recorded_at"], made["period"]) == ("2026-12-05T00:00:00Z", "2026-12")


def test_rollups_and_so_statistics_count_usage_only(rig: Rig) -> None:
    """A correction is about money."""
    before = rows(rig.store, "task_rollups")
    rig.corrections.correct(ADMIN, first(rig)["charge_id"], "wrong", Replacement(quantity=1))
    assert rows(rig.store, "task_rollups") == before


BAD: list[tuple[str | None, str, Replacement | None, type[Refused], str]] = [
    ("chg_none", "wrong", None, NotFound, "charge_id"),
    ("", "wrong", None, NotFound, "charge_id"),
    (None, "", None, InvalidParameter, "reason"),
    (None, "  ", None, InvalidParameter, "reason"),
    (None, "x" * 501, None, InvalidParameter, "reason"),
    (None, "a\nb", None, InvalidParameter, "reason"),
    (None, "wrong", Replacement(), InvalidParameter, "replacement"),
    (None, "wrong", Replacement(quantity=-1), InvalidParameter, "replacement.quantity"),
    (None, "wrong", Replacement(quantity=10**15 + 1), InvalidParameter, "replacement.quantity"),
    *(
        (None, "wrong", Replacement(list_unit_price=price), InvalidParameter, "replacement.list_unit_price")
        for price in ("-1", "1e-3", "0.1234567", "", "one", "1,5", "NaN", "1234567890", "١")
    ),
]


@pytest.mark.parametrize(("identity", "reason", "wanted", "error", "param"), BAD)
def test_bad_input_is_refused_and_nothing_written(
    rig: Rig, identity: str | None, reason: str, wanted: Replacement | None, error: type[Refused], param: str
) -> None:
    """Each fault with the field that it is in."""
    identity = first(rig)["charge_id"] if identity is None else identity
    with pytest.raises(error) as refused:
        rig.corrections.correct(ADMIN, identity, reason, wanted)
    assert refused.value.param == param
    assert rig.charges(kind="correction") == []
    assert rig.told == []


def test_only_the_admin_corrects(rig: Rig) -> None:
    """Not even a charge of one's own workspace."""
    with pytest.raises(Forbidden):
        rig.corrections.correct(Access("default", "key_1"), first(rig)["charge_id"], "wrong")


def test_credits_have_a_counter_of_their_own(rig: Rig) -> None:
    """Billed counts usage and replacements and never falls; billed − credited is the ledger."""
    metrics = Metrics([("qwen-plus", [])], rig.store, "1")
    rig.corrections.correct(ADMIN, first(rig)["charge_id"], "wrong", Replacement(quantity=40))
    metrics.refresh()
    text = metrics.render(openmetrics=False)[0].decode()
    found = {
        name: Decimal(re.findall(rf"^nightrate_{name}_amount_total{{.*}} (\S+)$", text, re.MULTILINE)[0])
        for name in ("billed", "credited")
    }
    assert found == {"billed": Decimal("0.000106"), "credited": Decimal("0.00004")}
    assert found["billed"] - found["credited"] == total(rig.charges())


STEPS = st.lists(
    st.tuples(
        st.integers(0, 10**12),
        st.decimals(0, 10**6, places=6).map(lambda price: format(price, "f")),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=8, deadline=None)
@given(steps=STEPS, tokens=st.integers(0, 10**9))
def test_reversal_and_replacement_sum_to_the_replacement(steps: list[tuple[int, str]], tokens: int) -> None:
    """However often a charge is corrected: what stands is the last replacement, by another arithmetic too."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        rig.task({"input_tokens": tokens, "output_tokens": 0})
        identity = first(rig)["charge_id"]
        for quantity, price in steps:
            made = rig.corrections.correct(ADMIN, identity, "wrong", Replacement(quantity, price))
            identity = made["replacement"]["charge_id"]
        charges = rig.charges()
        for name in ("amount", "list_amount", "discount_amount"):
            assert total(charges, name) == Decimal(made["replacement"][name])
        assert sum(row["quantity"] for row in charges) == quantity
        assert sum(row["requests"] for row in charges) == 1
        listed = Fraction(quantity) * Fraction(price) / 1_000_000
        assert Fraction(made["replacement"]["list_amount"]) == listed
        assert Fraction(made["replacement"]["amount"]) * 2 == listed
        rig.store.close()
