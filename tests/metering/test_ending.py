from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.ending import Meter, NoPriceInForce
from metering.histogram import histogram
from metering.store import Store
from tests.metering.billed import (
    BOOK,
    FAILED,
    NOON,
    UNMETERED,
    StandingClock,
    book,
    end,
    ended,
    event,
    meter,
    open_store,
    oracle,
    rows,
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def metering(tmp_path: Path) -> Meter:
    return meter(book(tmp_path))


def test_only_success_is_charged(store: Store, metering: Meter) -> None:
    """Failed and unmetered calls leave no charge but are counted; never-executed ones are not even calls."""
    task = ended(total=9)
    bill = end(store, metering, task, [event(task, 1), event(task, 2, **FAILED), event(task, 3, **UNMETERED)])
    assert (bill.succeeded, bill.failed, bill.unmetered) == (2, 1, 1)
    charges = {row["sku"]: row for row in rows(store, "charges")}
    assert charges["input_tokens"]["quantity"] == 10
    assert charges["input_tokens"]["requests"] == 1
    assert charges["input_tokens"]["amount"] == Decimal("0.000004")
    assert charges["output_tokens"]["amount"] == Decimal("0.000005")
    assert bill.amount == Decimal("0.000009")
    assert bill.list_amount == Decimal("0.000018")
    [rollup] = rows(store, "task_rollups")
    assert (rollup["calls"], rollup["total"], rollup["free_requests"]) == (3, 9, 0)
    assert rows(store, "task_errors")[0] | {"ended_at": None} == {
        "task_id": "batch_1",
        "workspace_id": "default",
        "model": "qwen-plus",
        "ended_at": None,
        "status_code": 500,
        "error_code": "server_error",
        "calls": 1,
    }


def test_a_charge_says_all_that_the_contract_names(store: Store, metering: Meter) -> None:
    """Kind, unit prices, moments, period and price of a usage entry."""
    task = ended()
    end(store, metering, task, [event(task, 1, input_tokens=200_000, output_tokens=0, thinking=True)])
    [charge] = rows(store, "charges")
    assert charge["charge_id"].startswith("chg_")
    assert (charge["kind"], charge["tier"], charge["mode"], charge["period"]) == (
        "usage",
        "256000",
        "thinking",
        "2026-11",
    )
    assert (charge["list_unit_price"], charge["unit_price"]) == (Decimal("2.4"), Decimal("1.2"))
    assert (charge["list_amount"], charge["discount_amount"], charge["amount"]) == (
        Decimal("0.48"),
        Decimal("0.24"),
        Decimal("0.24"),
    )
    assert charge["ended_at"] == charge["recorded_at"] == NOON
    assert [charge[name] for name in ("corrects", "reason", "author_key_id")] == [None] * 3
    assert len(charge["price_id"]) == 64


@pytest.mark.parametrize("kind", [FAILED, UNMETERED])
def test_a_task_without_metered_requests_costs_nothing(
    store: Store, metering: Meter, kind: dict[str, object]
) -> None:
    """No charges, but a rollup and a digest that proves its files."""
    task = ended()
    bill = end(store, metering, task, [event(task, 1, **kind)])
    assert (bill.amount, bill.list_amount) == (0, 0)
    assert rows(store, "charges") == []
    [digest] = rows(store, "task_digests")
    assert (digest["tier"], digest["output_sha256"]) == (
        "unmetered" if kind is UNMETERED else "none",
        "ab" * 32,
    )
    [rollup] = rows(store, "task_rollups")
    assert (rollup["amount"], rollup["input_tokens"]) == (0, 0)


def test_a_task_of_which_nothing_ran_is_entered_with_zeros(store: Store, metering: Meter) -> None:
    """Expired before its first call: one rollup, empty histograms, nothing to pay."""
    bill = end(store, metering, ended(status="expired", in_progress_at=None, total=5), [])
    assert (bill.succeeded, bill.failed, bill.amount) == (0, 0, 0)
    [rollup] = rows(store, "task_rollups")
    assert (rollup["calls"], rollup["total"], rollup["running_ms"]) == (0, 5, 0)
    assert rollup["duration_buckets"] == rollup["first_token_counts"] == []


def test_a_free_model_is_metered_but_not_charged(store: Store, metering: Meter) -> None:
    """Its tokens are counted, its currency is none, its requests are free ones."""
    task = ended(model="batch-test-model", currency=None, free=True, total=3)
    bill = end(
        store, metering, task, [event(task, 1), event(task, 2, thinking=True), event(task, 3, **UNMETERED)]
    )
    assert (bill.input_tokens, bill.amount) == (20, 0)
    assert rows(store, "charges") == []
    [rollup] = rows(store, "task_rollups")
    assert (rollup["free_requests"], rollup["unmetered"], rollup["currency"]) == (2, 1, None)
    digests = {(row["tier"], row["mode"]): row["requests"] for row in rows(store, "task_digests")}
    assert digests == {("free", "standard"): 1, ("free", "thinking"): 1, ("unmetered", "standard"): 1}


def test_ending_a_task_twice_enters_it_once(store: Store, metering: Meter) -> None:
    """The second time gives the same bill and adds no row anywhere, even at another moment."""
    task = ended()
    first = end(store, metering, task, [event(task, 1), event(task, 2, **FAILED)])
    tables = ("charges", "task_rollups", "task_errors", "task_digests")
    before = {table: rows(store, table) for table in tables}
    again = store.write(lambda tx: metering.end_task(tx, task, NOON + timedelta(days=1)))
    assert again == first
    assert {table: rows(store, table) for table in tables} == before


def test_a_failed_ending_leaves_nothing(store: Store, metering: Meter) -> None:
    """Without a price in force the task is parked whole: no rollup, no error counts, no moment given."""
    task = ended(currency="EUR")
    with pytest.raises(NoPriceInForce, match=r"qwen-plus.*EUR"):
        end(store, metering, task, [event(task, 1), event(task, 2, **FAILED)])
    assert [rows(store, t) for t in ("charges", "task_rollups", "task_errors", "task_digests")] == [[]] * 4
    task = replace(task, task_id="batch_2", currency="CNY")
    assert end(store, metering, task, [event(task, 1)]).amount > 0


def test_the_price_changes_exactly_at_its_moment(store: Store, tmp_path: Path) -> None:
    """A task that ends at valid_from pays the new price, a microsecond before the old one."""
    later = NOON.isoformat().replace("+00:00", "Z")
    text = (
        BOOK
        + f'[[prices]]\nmodel = "qwen-plus"\ncurrency = "CNY"\nvalid_from = {later}\ntiers = [{{ input = "1", output = "1" }}]\n'
    )
    clock = StandingClock(NOON - timedelta(microseconds=1))
    metering = meter(book(tmp_path, text), clock)
    old, new = ended("old"), ended("new")
    end(store, metering, old, [event(old, 1, output_tokens=0)])
    clock.now = NOON
    end(store, metering, new, [event(new, 1, output_tokens=0)])
    units = {row["task_id"]: row["list_unit_price"] for row in rows(store, "charges")}
    assert units == {"old": Decimal("0.8"), "new": Decimal(1)}


def test_the_ledger_clock_never_goes_back(store: Store, tmp_path: Path) -> None:
    """Not when the wall clock does, and not into a closed period."""
    clock = StandingClock()
    metering = meter(book(tmp_path), clock)
    assert store.write(metering.moment) == NOON
    clock.advance(hours=-3)
    assert store.write(metering.moment) == NOON
    closed = {"period": "2026-11", "ends_at": datetime(2026, 12, 1, tzinfo=UTC), "closed_at": NOON}
    store.write(lambda tx: tx.insert("billing_periods", [closed]))
    assert store.write(metering.moment) == closed["ends_at"]
    assert [row["last_at"] for row in rows(store, "ledger_clock")] == [closed["ends_at"]]


def test_the_period_is_the_month_in_the_billing_zone(store: Store, tmp_path: Path) -> None:
    """The last evening of November in UTC is December in Shanghai."""
    clock = StandingClock(datetime(2026, 11, 30, 20, tzinfo=UTC))
    task = ended()
    end(store, meter(book(tmp_path), clock, "Asia/Shanghai"), task, [event(task, 1)])
    assert {row["period"] for row in rows(store, "charges")} == {"2026-12"}


def test_the_rollup_holds_what_statistics_need(store: Store, metering: Meter) -> None:
    """Sums, counts and histograms of succeeded calls, as the formula of the histogram counts them."""
    task = ended(total=4)
    durations = [0.0, 12.5, 3_600_000.0]
    calls = [event(task, n, duration_ms=d, rate_limited_attempts=n - 1) for n, d in enumerate(durations, 1)]
    calls.append(
        event(
            task, 4, duration_ms=100.0, first_token_ms=40.0, output_tokens=4, finish_reason="content_filter"
        )
    )
    calls.append(event(task, 5, duration_ms=9.0, first_token_ms=1.0, output_tokens=1))
    calls.append(event(task, 6, duration_ms=77.0, **FAILED))
    end(store, metering, task, calls)
    [rollup] = rows(store, "task_rollups")
    counted = dict(zip(rollup["duration_buckets"], rollup["duration_counts"], strict=True))
    assert counted == histogram([*durations, 100.0, 9.0])
    firsts = dict(zip(rollup["first_token_buckets"], rollup["first_token_counts"], strict=True))
    assert firsts == histogram([40.0, 1.0])
    assert rollup["duration_ms_sum"] == sum(durations) + 109
    assert (rollup["first_token_calls"], rollup["first_token_ms_sum"]) == (2, 41)
    assert (rollup["output_token_calls"], rollup["output_token_ms_sum"]) == (1, 20)
    assert (rollup["timed_output_tokens"], rollup["timed_output_ms"]) == (20, sum(durations) + 109)
    assert (rollup["rate_limited"], rollup["content_filtered"]) == (2, 1)
    assert rollup["running_ms"] == 600_000


CALLS = st.lists(
    st.tuples(
        st.integers(0, 10**9),
        st.integers(0, 10**9),
        st.booleans(),
        st.sampled_from(["ok", "failed", "unmetered"]),
    ),
    max_size=30,
)


@settings(max_examples=25, deadline=None)
@given(CALLS)
def test_the_bill_is_the_sum_of_its_requests(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int, bool, str]]
) -> None:
    """Over any task: ledger, rollup and bill equal the requests rated one by one in rational arithmetic."""
    folder = tmp_path_factory.mktemp("bill")
    store = open_store(folder)
    try:
        task = ended(total=len(calls))
        kinds = {"ok": {}, "failed": FAILED, "unmetered": UNMETERED}
        events = [
            event(task, n, **({"input_tokens": i, "output_tokens": o, "thinking": t} | kinds[kind]))
            for n, (i, o, t, kind) in enumerate(calls, 1)
        ]
        bill = end(store, meter(book(folder)), task, events)
        expected = Fraction(0)
        for i, o, thinking, kind in calls:
            if kind == "ok":
                names = (
                    ("0.8", "2", "8")
                    if i <= 128_000
                    else ("2.4", "20", "24")
                    if i <= 256_000
                    else ("4.8", "48", "64")
                )
                unit_in, unit_out, unit_thinking = map(Decimal, names)
                expected += oracle(i, unit_in)[1] + oracle(o, unit_thinking if thinking else unit_out)[1]
        charges = rows(store, "charges")
        assert sum((Fraction(row["amount"]) for row in charges), Fraction(0)) == expected
        assert Fraction(bill.amount) == expected
        assert Fraction(bill.list_amount) == 2 * expected
        assert Fraction(rows(store, "task_rollups")[0]["amount"]) == expected
        delivered = sum(kind != "failed" for *_, kind in calls)
        assert sum(row["requests"] for row in rows(store, "task_digests")) == delivered
        assert sum(row["requests"] for row in charges) == delivered - bill.unmetered
    finally:
        store.close()
