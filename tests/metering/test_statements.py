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
from metering.corrections import Replacement
from metering.errors import InvalidParameter, NotFound
from metering.ledger import ChargeFilter
from metering.statement import Heading, LineSums, differences, payable, statement_of
from metering.statements import NO_CURRENCY
from tests.metering.billed import UNMETERED
from tests.metering.books import Rig, total

FIELDS = [
    "number", "status", "period", "workspace_id", "currency", "issuer", "customer", "lines", "unmetered_requests",
    "free_requests", "exact_amount", "rounding", "payable", "sha256",
]  # fmt: skip
LINE = [
    "model", "sku", "tier", "mode", "price_id", "requests", "quantity", "list_unit_price", "unit_price",
    "list_amount", "discount_amount", "amount",
]  # fmt: skip
FREE: dict[str, Any] = {"model": "house", "currency": None, "free": True}
TINY: dict[str, Any] = {"model": "tiny", "currency": "USD"}


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.workspace("default")
    made.workspace("ws_a")
    yield made
    made.store.close()


def test_a_draft_has_exactly_the_fields_of_the_contract(rig: Rig) -> None:
    """In their order; without number and hash until its month is closed."""
    rig.task({"input_tokens": 1_000_000, "output_tokens": 7})
    (draft,) = rig.statements.of(ADMIN, "2026-11", "default")
    assert list(draft) == FIELDS
    assert [list(line) for line in draft["lines"]] == [LINE, LINE]
    assert (draft["number"], draft["status"], draft["sha256"]) == (None, "draft", None)
    assert (draft["issuer"], draft["customer"]) == ("House & Co", "The default")
    assert (draft["exact_amount"], draft["payable"], draft["rounding"]) == ("2.400168", "2.40", "-0.000168")


def test_lines_are_by_model_sku_tier_mode_and_price(rig: Rig) -> None:
    """In the order of tiers, tasks added up; they sum to the exact amount."""
    calls = [{"input_tokens": n} for n in (5, 128_000, 128_001, 1_000_000, 2_000_000)]
    rig.task(*calls, {"thinking": True, "input_tokens": 200_000})
    rig.task(*calls)
    (draft,) = rig.statements.of(ADMIN, "2026-11")
    inputs = [
        (line["tier"], line["mode"], line["requests"])
        for line in draft["lines"]
        if line["sku"] == "input_tokens"
    ]
    assert inputs == [
        ("128000", "standard", 4),
        ("256000", "standard", 2),
        ("256000", "thinking", 1),
        ("1000000", "standard", 2),
        ("over", "standard", 2),
    ]
    assert total(draft["lines"]) == Decimal(draft["exact_amount"]) == total(rig.charges())
    assert [{**line, **_decimals(line)} for line in LineSums(rig.charges()).lines()] == [
        {**line, **_decimals(line)} for line in draft["lines"]
    ]


def _decimals(line: dict[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(line[name]) for name in line if name.endswith(("amount", "price"))}


def test_a_line_leads_to_its_charges(rig: Rig) -> None:
    """What names a line names the entries that it sums, corrections of another price apart, and nothing else."""
    task = rig.task({}, {"input_tokens": 130_000, "thinking": True})
    rig.task({}, api_key_id="key_2")
    rig.task(**TINY)
    charge = next(row for row in rig.charges(task_id=task) if row["sku"] == "input_tokens")
    rig.corrections.correct(ADMIN, charge["charge_id"], "dearer", Replacement(list_unit_price="0.9"))
    names = ("model", "sku", "tier", "mode", "price_id", "list_unit_price")
    found: list[str] = []
    for one in rig.statements.of(ADMIN, "2026-11"):
        for line in one["lines"]:
            wanted = ChargeFilter(
                workspace_id=one["workspace_id"],
                period=one["period"],
                currency=one["currency"],
                **{name: line[name] for name in names},
            )
            (sums,) = rig.ledger.sums(ADMIN, wanted)
            same = ("requests", "quantity", "list_amount", "discount_amount", "amount")
            assert {name: sums[name] for name in same} == {name: line[name] for name in same}
            found += [row["charge_id"] for row in rig.ledger.charges(ADMIN, wanted).data]
            assert sums["charges"] == len(rig.ledger.charges(ADMIN, wanted).data)
    assert sorted(found) == sorted(row["charge_id"] for row in rig.charges())


def test_one_statement_a_workspace_and_currency(rig: Rig) -> None:
    """Amounts of two currencies are never added; a workspace without anything has none."""
    rig.workspace("ws_idle")
    rig.task(workspace_id="ws_a")
    rig.task(workspace_id="ws_a", **TINY)
    rig.task()
    found = rig.statements.of(ADMIN, "2026-11")
    assert [(one["workspace_id"], one["currency"]) for one in found] == [
        ("default", "CNY"),
        ("ws_a", "CNY"),
        ("ws_a", "USD"),
    ]
    assert rig.statements.of(Access("ws_a", "key"), "2026-11") == found[1:]
    assert rig.statements.of(ADMIN, "2026-11", "ws_idle") == []
    assert rig.statements.of(ADMIN, "2026-10") == []


def test_what_was_not_charged_is_counted(rig: Rig) -> None:
    """Unmetered requests in their task's currency; free ones on the one statement in the workspace's currency."""
    rig.task({}, UNMETERED, UNMETERED)
    rig.task({}, UNMETERED, **TINY)
    rig.task({}, {}, {}, **FREE)
    counts = [
        (one["currency"], one["unmetered_requests"], one["free_requests"])
        for one in rig.statements.of(ADMIN, "2026-11")
    ]
    assert counts == [("CNY", 2, 3), ("USD", 1, 0)]


@pytest.mark.parametrize(
    ("own", "default", "expected"), [("EUR", "USD", "EUR"), (None, "USD", "USD"), (None, None, NO_CURRENCY)]
)
def test_only_free_requests_owe_nothing(
    tmp_path: Path, own: str | None, default: str | None, expected: str
) -> None:
    """In the workspace's currency, else the default, else the code for none."""
    rig = Rig(tmp_path, currency=default)
    rig.workspace("default", currency=own)
    rig.task(**FREE)
    (draft,) = rig.statements.of(ADMIN, "2026-11")
    assert (draft["currency"], draft["lines"], draft["payable"]) == (expected, [], "0.00")
    assert (draft["free_requests"], draft["exact_amount"], draft["rounding"]) == (1, "0", "0")
    rig.store.close()


def test_the_same_by_api_key(rig: Rig) -> None:
    """Every line says its key; the sums and all else are the statement's."""
    for key in ("key_b", "key_a", None, "key_a"):
        rig.task(api_key_id=key)
    plain, by_key = (
        rig.statements.of(ADMIN, "2026-11"),
        rig.statements.of(ADMIN, "2026-11", by_api_key=True),
    )
    inputs = [line for line in by_key[0]["lines"] if line["sku"] == "input_tokens"]
    assert [(line["api_key_id"], line["requests"]) for line in inputs] == [
        (None, 1),
        ("key_a", 2),
        ("key_b", 1),
    ]
    assert {**by_key[0], "lines": []} == {**plain[0], "lines": []}
    assert total(by_key[0]["lines"]) == Decimal(plain[0]["exact_amount"])


@pytest.mark.parametrize(
    ("zone", "at", "period"),
    [
        ("Asia/Shanghai", "2026-10-31T15:59:59.999999+00:00", "2026-10"),
        ("Asia/Shanghai", "2026-10-31T16:00:00+00:00", "2026-11"),
        ("America/New_York", "2026-11-01T03:59:59+00:00", "2026-10"),  # daylight-saving time ends that night
        ("America/New_York", "2026-11-01T04:00:00+00:00", "2026-11"),
        ("America/New_York", "2026-12-01T04:59:59+00:00", "2026-11"),
        ("America/New_York", "2026-12-01T05:00:00+00:00", "2026-12"),
        ("Asia/Beirut", "2026-03-31T21:00:00+00:00", "2026-04"),
    ],
)
def test_months_begin_in_the_billing_zone(tmp_path: Path, zone: str, at: str, period: str) -> None:
    """For charges and for what was not charged alike, on the days when clocks change too."""
    rig = Rig(tmp_path, datetime.fromisoformat(at).astimezone(UTC), zone)
    rig.workspace("default")
    rig.task({}, UNMETERED)
    (draft,) = rig.statements.of(ADMIN, period)
    assert (draft["period"], draft["unmetered_requests"], len(draft["lines"])) == (period, 1, 2)
    rig.store.close()


@pytest.mark.parametrize(
    ("exact", "currency", "due"),
    [
        ("0.005", "USD", "0.01"),
        ("-0.005", "USD", "-0.01"),
        ("0.0049999999999999", "USD", "0.00"),
        ("-0.001", "USD", "0.00"),
        ("1.5", "JPY", "2"),
        ("0.0005", "KWD", "0.001"),
        ("2.675", "CNY", "2.68"),
    ],
)
def test_payable_is_rounded_half_away_from_zero(exact: str, currency: str, due: str) -> None:
    """To the currency's minor unit, and zero has no sign."""
    heading = Heading(None, "2026-11", "w", currency, "i", "c")
    line = dict.fromkeys(LINE, 0) | {"amount": Decimal(exact)}
    made = statement_of(heading, [line], 0, 0)
    assert made["payable"] == due
    assert Decimal(made["exact_amount"]) + Decimal(made["rounding"]) == Decimal(due)


AMOUNTS = st.lists(st.decimals(-(10**9), 10**9, places=15), max_size=20)


@given(amounts=AMOUNTS, currency=st.sampled_from(["USD", "JPY", "KWD", "CLF"]))
def test_rounding_happens_once(amounts: list[Decimal], currency: str) -> None:
    """Payable is the nearest amount to the exact sum, never a sum of rounded lines."""
    heading = Heading(None, "2026-11", "w", currency, "i", "c")
    made = statement_of(heading, [dict.fromkeys(LINE, 0) | {"amount": one} for one in amounts], 0, 0)
    exact = sum(map(Fraction, amounts), Fraction(0))
    unit = Fraction(1, 10 ** {"USD": 2, "JPY": 0, "KWD": 3, "CLF": 4}[currency])
    assert Fraction(made["exact_amount"]) == exact
    assert Fraction(made["payable"]) == Fraction(made["exact_amount"]) + Fraction(made["rounding"])
    assert (Fraction(made["payable"]) / unit).denominator == 1
    assert abs(Fraction(made["rounding"])) <= unit / 2
    if abs(Fraction(made["rounding"])) == unit / 2:
        assert abs(Fraction(made["payable"])) > abs(exact)
    assert payable(Decimal(0), currency) == 0


CALLS = st.lists(
    st.tuples(st.integers(0, 2_000_000), st.integers(0, 1_000_000), st.booleans(), st.sampled_from("abc")),
    min_size=1,
    max_size=8,
)


@settings(max_examples=8, deadline=None)
@given(calls=CALLS)
def test_any_partition_sums_to_the_whole(calls: list[tuple[int, int, bool, str]]) -> None:
    """By workspace, by API key, by line, by charge: the same exact amount."""
    with tempfile.TemporaryDirectory() as folder:
        rig = Rig(Path(folder))
        for given_tokens, made_tokens, thinking, who in calls:
            rig.task(
                {"input_tokens": given_tokens, "output_tokens": made_tokens, "thinking": thinking},
                workspace_id=f"ws_{who}",
                api_key_id=f"key_{given_tokens % 2}",
            )
        whole, charges = rig.statements.of(ADMIN, "2026-11"), rig.charges()
        assert sum(Decimal(one["exact_amount"]) for one in whole) == total(charges)
        for one, by_key in zip(whole, rig.statements.of(ADMIN, "2026-11", by_api_key=True), strict=True):
            assert total(by_key["lines"]) == total(one["lines"]) == Decimal(one["exact_amount"])
            own = [row for row in charges if row["workspace_id"] == one["workspace_id"]]
            assert differences(one, LineSums(own)) == []
            assert differences(one, LineSums(own[::-1])) == []
            assert differences(one, LineSums(own[1:]))
        rig.store.close()


@pytest.mark.parametrize("period", ["2026", "2026-13", "2026-1", "november", "", "2026-11-01", "0000-01"])
def test_what_is_no_month_is_refused(rig: Rig, period: str) -> None:
    """And the message says how to write one."""
    with pytest.raises(InvalidParameter, match="YYYY-MM") as refused:
        rig.statements.of(ADMIN, period)
    assert refused.value.param == "period"


def test_unknown_and_foreign_workspaces_are_not_found(rig: Rig) -> None:
    """Alike for the admin and for a key that names another."""
    for access, asked in ((ADMIN, "ws_none"), (Access("ws_a", "k"), "default")):
        with pytest.raises(NotFound) as refused:
            rig.statements.of(access, "2026-11", asked)
        assert refused.value.param == "workspace_id"
