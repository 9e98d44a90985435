"""What a price book would do, told before it is loaded: refusals, and a month of the ledger at its prices."""

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.access import ADMIN, Access
from metering.errors import Forbidden, InvalidParameter
from metering.price_check import PriceCheck
from metering.prices import PriceBook
from tests.metering.billed import BOOK, FAILED, UNMETERED, meter
from tests.metering.books import Rig

THIS, LAST = "2026-11", "2026-10"
LATER = """
[[prices]]
model = "qwen-plus"
currency = "CNY"
valid_from = 2026-12-01T00:00:00Z
tiers = [
  { up_to_input_tokens = 128000,  input = "1.6", output = "4",  output_thinking = "16" },
  { up_to_input_tokens = 256000,  input = "4.8", output = "40", output_thinking = "48" },
  { up_to_input_tokens = 1000000, input = "9.6", output = "96", output_thinking = "128" },
]
"""
OTHER_TIERS = """
[[prices]]
model = "qwen-plus"
currency = "CNY"
valid_from = 2026-12-01T00:00:00Z
tiers = [{ up_to_input_tokens = 50, input = "1", output = "2" }, { input = "3", output = "5", output_thinking = "7" }]
"""


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """Tasks of November in two currencies, with failed, unmetered and thinking requests."""
    made = Rig(tmp_path)
    made.task({"input_tokens": 40, "output_tokens": 3}, {"input_tokens": 129_000}, FAILED, UNMETERED)
    made.task({"input_tokens": 50, "thinking": True}, {"input_tokens": 2_000_000, "output_tokens": 0})
    made.task({"input_tokens": 7}, model="tiny", currency="USD")
    return made


def checked(rig: Rig, text: str, period: str | None = THIS, models: Any = ()) -> dict[str, Any]:
    check = PriceCheck(rig.store, rig.billing, models, rig.clock)
    return check.run(ADMIN, "new.toml", text, period)


def row(report: dict[str, Any], model: str = "qwen-plus") -> dict[str, Any]:
    [found] = [one for one in report["data"] if one["model"] == model]
    return dict(found)


def test_the_same_book_changes_nothing(rig: Rig) -> None:
    """Every model and currency of the month is there, as it was charged, as dated and at the last price."""
    report = checked(rig, BOOK)
    assert (report["acceptable"], report["faults"], report["period"]) == (True, [], THIS)
    charged = {one["currency"]: one["amount"] for one in rig.ledger.summary(ADMIN, _summary())["totals"]}
    for one in report["data"]:
        assert one["amount"] == charged[one["currency"]]
        for same in (one["as_dated"], one["at_last_price"]):
            assert (same["amount"], same["list_amount"], same["difference"], same["unknown"]) == (
                one["amount"],
                one["list_amount"],
                "0",
                None,
            )
    assert row(report)["requests"] == 4


def _summary() -> Any:
    from metering.ledger import SummaryFilter

    return SummaryFilter(period=THIS)


def test_a_later_price_says_what_the_month_will_cost(rig: Rig) -> None:
    """Nothing that was charged changes; at twice the price the month costs twice as much."""
    report = checked(rig, BOOK + LATER)
    found = row(report)
    assert report["acceptable"]
    assert found["as_dated"]["difference"] == "0"
    assert found["at_last_price"]["valid_from"] == "2026-12-01T00:00:00Z"
    assert Decimal(found["at_last_price"]["amount"]) == 2 * Decimal(found["amount"])
    assert found["at_last_price"]["difference"] == found["amount"]
    assert row(report, "tiny")["at_last_price"]["difference"] == "0"


def test_other_tiers_are_looked_up_request_by_request(rig: Rig) -> None:
    """Each request in its own new tier and mode, exact; the tiers that it was charged in don't tell."""
    found = row(checked(rig, BOOK + OTHER_TIERS))
    listed = Fraction(40 * 1 + 3 * 2 + 50 * 1 + 5 * 2 + 129_000 * 3 + 5 * 5 + 2_000_000 * 3, 1_000_000)
    assert Fraction(found["at_last_price"]["list_amount"]) == listed
    assert Fraction(found["at_last_price"]["amount"]) == listed / 2


def test_without_the_calls_other_tiers_can_not_be_told(rig: Rig) -> None:
    """That is said, not guessed; the same tiers need no calls."""
    _forget_events(rig)
    unknown = row(checked(rig, BOOK + OTHER_TIERS))["at_last_price"]
    assert (unknown["amount"], unknown["difference"]) == (None, None)
    assert "no longer kept" in unknown["unknown"]
    assert row(checked(rig, BOOK + LATER))["at_last_price"]["unknown"] is None


def _forget_events(rig: Rig) -> None:
    rig.store.write(lambda tx: tx._connection.execute("DELETE FROM request_events"))


def test_a_changed_used_price_is_refused_and_its_effect_told(rig: Rig) -> None:
    """With the line, the stored value, and what the month would have become."""
    report = checked(rig, BOOK.replace('input = "0.8"', 'input = "0.9"'))
    [fault] = report["faults"]
    assert not report["acceptable"]
    assert (fault["path"], fault["line"]) == ("new.toml", 2)
    assert 'input = "0.8"' in fault["message"]
    dated = row(report)["as_dated"]
    assert Fraction(dated["difference"]) == Fraction(90 * 1, 20_000_000)


def test_a_price_pushed_in_before_charges_is_refused(rig: Rig) -> None:
    """Its line is named; what it would have changed is the difference."""
    report = checked(rig, BOOK + LATER.replace("2026-12-01", "2026-11-02"))
    assert "lies before charges" in report["faults"][0]["message"]
    found = row(report)
    assert found["as_dated"]["difference"] == found["amount"]


def test_a_price_that_was_left_out_is_refused_if_its_model_is_configured(rig: Rig) -> None:
    """Else it may go; what it would cost can't be known."""
    alone = BOOK.split("[[prices]]")[2]
    configured = checked(rig, f"[[prices]]{alone}", models=[("qwen-plus", False)])
    assert [fault["message"][:40] for fault in configured["faults"]] == [
        "Model 'qwen-plus' has no price in the pr",
        "a used price of a configured model was l",
    ]
    gone = checked(rig, f"[[prices]]{alone}", models=[("tiny", False)])
    assert gone["acceptable"]
    assert row(gone)["as_dated"]["unknown"] == "the book has no price for it"
    assert row(gone)["at_last_price"]["valid_from"] is None


def test_the_last_month_is_meant_unless_one_is_named(rig: Rig) -> None:
    """In which nothing was charged here; the running one is asked for by name."""
    assert (checked(rig, BOOK, None)["period"], checked(rig, BOOK, None)["data"]) == (LAST, [])
    with pytest.raises(InvalidParameter, match="is not a month"):
        checked(rig, BOOK, "2026-13")


def test_a_broken_book_is_told_with_its_lines(rig: Rig) -> None:
    """And is held against nothing."""
    report = checked(rig, BOOK.replace('"0.8"', "0.8"))
    assert (report["faults"][0]["line"], report["data"]) == (8, [])
    assert 'write it as a string: "0.8"' in report["faults"][0]["text"]


def test_only_the_admin_checks(rig: Rig) -> None:
    """The figures are those of all workspaces."""
    with pytest.raises(Forbidden):
        PriceCheck(rig.store, rig.billing, (), rig.clock).run(Access("ws", "key"), "p", BOOK)


def test_nothing_is_written(rig: Rig) -> None:
    """Neither a version nor a charge."""
    before = rig.charges(), rig.row("price_versions", model="qwen-plus")
    checked(rig, BOOK + LATER)
    assert (rig.charges(), rig.row("price_versions", model="qwen-plus")) == before


PRICES = st.integers(0, 10**9).map(lambda millionths: f"{Decimal(millionths).scaleb(-6):f}")
BOUNDS = st.lists(st.integers(1, 300), unique=True, max_size=4).map(sorted)
CALLS = st.lists(
    st.tuples(st.integers(0, 400), st.integers(0, 50), st.booleans(), st.booleans()), min_size=1, max_size=12
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """One ledger for all examples; each has a model of its own."""
    return Rig(tmp_path_factory.mktemp("shared"))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(PRICES, PRICES, PRICES), min_size=5, max_size=5), BOUNDS, BOUNDS, CALLS)
def test_rating_again_is_idempotent(shared: Rig, units: Any, bounds: Any, others: Any, calls: Any) -> None:
    """Over any book and tasks: the same prices give what was charged, by the ledger's lines and request by request."""
    model = f"m{shared.tasks}"
    text, other = _book(model, units, bounds, "2026-01-01"), _book(model, units[::-1], others, "2026-12-01")
    prices = PriceBook.of_text("own.toml", text, None, shared.clock)
    prices.remember(shared.store, [model])
    shared.meter = meter(prices, shared.clock)
    for half in (False, True):
        own = [
            {"input_tokens": i, "output_tokens": o, "thinking": t}
            for i, o, t, which in calls
            if which is half
        ]
        shared.task(*(own or [FAILED]), model=model, currency="USD")
    same = row(checked(shared, text), model)
    assert (same["as_dated"]["difference"], same["at_last_price"]["difference"]) == ("0", "0")
    found = row(checked(shared, text + other), model)
    assert Fraction(found["amount"]) == _oracle(units, bounds, calls) / 2
    assert Fraction(found["at_last_price"]["list_amount"]) == _oracle(units[::-1], others, calls)


def _book(model: str, units: Any, bounds: list[int], since: str) -> str:
    tiers = [
        f"{{ up_to_input_tokens = {bound}, {_units(one)} }}"
        for bound, one in zip(bounds, units, strict=False)
    ]
    tiers.append(f"{{ {_units(units[-1])} }}")
    head = f'[[prices]]\nmodel = "{model}"\ncurrency = "USD"\nvalid_from = {since}T00:00:00Z\n'
    return f"{head}tiers = [\n{','.join(tiers)}\n]\n"


def _units(one: Any) -> str:
    return f'input = "{one[0]}", output = "{one[1]}", output_thinking = "{one[2]}"'


def _oracle(units: Any, bounds: list[int], calls: Any) -> Fraction:
    total = Fraction(0)
    for inputs, outputs, thinking, _ in calls:
        place = next((n for n, bound in enumerate(bounds) if inputs <= bound), -1)
        unit_in, unit_out, unit_thinking = (Fraction(unit) for unit in units[place])
        total += inputs * unit_in + outputs * (unit_thinking if thinking else unit_out)
    return total / 1_000_000
