from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.access import ADMIN, Access
from metering.errors import InvalidParameter, NotFound
from metering.ledger import GROUPS, ChargeFilter, Ledger, SummaryFilter
from metering.options import BillingOptions
from metering.store import Store
from tests.metering.billed import NOON, StandingClock, book, end, ended, event, meter, open_store, rows

OWNER = Access("ws_a", "key_a")
STRANGER = Access("ws_z", "key_z")


def fill(folder: Path) -> Store:
    """Nine tasks of two workspaces, two models and two currencies, three hours apart."""
    store = open_store(folder)
    clock = StandingClock(NOON - timedelta(days=1))
    metering = meter(book(folder, clock=clock), clock)
    for n in range(9):
        clock.advance(hours=3)
        models: dict[str, Any] = {"model": "tiny", "currency": "USD"} if n % 3 == 0 else {}
        task = ended(
            f"batch_{n}", workspace_id="ws_a" if n % 2 else "ws_b", api_key_id=f"key_{n % 4}", **models
        )
        calls = [event(task, 1, input_tokens=100_000 * n), event(task, 2, output_tokens=n, thinking=True)]
        end(store, metering, task, calls)
    return store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = fill(tmp_path_factory.mktemp("ledger"))
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def ledger(store: Store) -> Ledger:
    return Ledger(store, BillingOptions(), StandingClock())


def everything(ledger: Ledger, access: Access = ADMIN, **wanted: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = ledger.charges(access, ChargeFilter(after=after, **wanted))
        found += page.data
        if not page.has_more:
            return found
        after = page.data[-1]["charge_id"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 2, 7, 10_000])
def test_pages_give_every_entry_once_and_in_order(
    ledger: Ledger, store: Store, limit: int, order: Any
) -> None:
    """Whatever the size of a page; newest first unless asked otherwise."""
    found = everything(ledger, limit=limit, order=order)
    keys = [(row["recorded_at"], row["charge_id"]) for row in found]
    assert keys == sorted(keys, reverse=order == "desc")
    assert {row["charge_id"] for row in found} == {row["charge_id"] for row in rows(store, "charges")}
    assert len(found) == len(rows(store, "charges"))


def test_money_is_written_as_plain_decimals(ledger: Ledger) -> None:
    """No float, no exponent, no trailing zeros."""
    tiny = everything(ledger, model="tiny", task_id="batch_0")
    assert {row["list_unit_price"] for row in tiny} == {"0.000001", "0.000003"}
    assert all(isinstance(row["amount"], str) and "E" not in row["amount"] for row in tiny)
    assert {row["amount"] for row in tiny if row["sku"] == "output_tokens"} == {"0.0000000000075"}


def test_filters_narrow_the_ledger(ledger: Ledger) -> None:
    """By task, model, workspace, kind and period."""
    assert {row["task_id"] for row in everything(ledger, task_id="batch_4")} == {"batch_4"}
    assert {row["model"] for row in everything(ledger, model="tiny")} == {"tiny"}
    assert {row["workspace_id"] for row in everything(ledger, workspace_id="ws_b")} == {"ws_b"}
    assert everything(ledger, kind="correction") == []
    assert everything(ledger, period="2026-11") == everything(ledger, kind="usage")
    assert everything(ledger, period="2026-10") == []


def test_a_range_is_inclusive_to_the_second(ledger: Ledger) -> None:
    """A task that ended within the last second asked for is in it, a microsecond of the next is not."""
    at = (NOON - timedelta(days=1) + timedelta(hours=3)).replace(microsecond=0)
    text = at.isoformat()
    assert {row["task_id"] for row in everything(ledger, start=text, end=text)} == {"batch_0"}
    assert everything(ledger, end=(at - timedelta(seconds=1)).isoformat()) == []
    assert {row["task_id"] for row in everything(ledger, end=str(int(at.timestamp())))} == {"batch_0"}


def test_a_workspace_sees_its_own_only(ledger: Ledger) -> None:
    """A stranger's ledger is empty, and neither a name nor a cursor of another workspace opens it."""
    assert {row["workspace_id"] for row in everything(ledger, OWNER)} == {"ws_a"}
    assert everything(ledger, STRANGER) == []
    assert ledger.summary(STRANGER, SummaryFilter(("day",), period="2026-11"))["totals"] == []
    with pytest.raises(NotFound):
        ledger.charges(STRANGER, ChargeFilter(workspace_id="ws_a"))
    with pytest.raises(NotFound):
        ledger.summary(STRANGER, SummaryFilter((), workspace_id="ws_a", period="2026-11"))
    with pytest.raises(NotFound):
        ledger.charges(STRANGER, ChargeFilter(after=everything(ledger, OWNER)[0]["charge_id"]))


@pytest.mark.parametrize(
    ("wanted", "param"),
    [
        ({"kind": "refund"}, "kind"),
        ({"order": "up"}, "order"),
        ({"sku": "input"}, "sku"),
        ({"mode": "fast"}, "mode"),
        ({"list_unit_price": "1e-3"}, "list_unit_price"),
        ({"list_unit_price": "-1"}, "list_unit_price"),
        ({"limit": 0}, "limit"),
        ({"limit": 10_001}, "limit"),
        ({"period": "2026-13"}, "period"),
        ({"start": "yesterday"}, "start"),
        ({"end": "2026-11-01T00:00:00"}, "end"),
        ({"start": "2026-11-02T00:00:00Z", "end": "2026-11-01T00:00:00Z"}, "end"),
        ({"start": "2026-11-02T00:00:00Z", "period": "2026-11"}, "period"),
    ],
)
def test_a_filter_that_can_not_be_is_refused(ledger: Ledger, wanted: dict[str, Any], param: str) -> None:
    """With the parameter's name."""
    with pytest.raises(InvalidParameter) as caught:
        ledger.charges(ADMIN, ChargeFilter(**wanted))
    assert caught.value.param == param


def test_a_summary_needs_one_period_or_range(ledger: Ledger) -> None:
    """Neither, both and unknown groups are refused."""
    for wanted, param in [
        (SummaryFilter(("day",)), "period"),
        (SummaryFilter(("day",), period="2026-11", start="1"), "period"),
        (SummaryFilter(("hour",), period="2026-11"), "group_by"),
    ]:
        with pytest.raises(InvalidParameter) as caught:
            ledger.summary(ADMIN, wanted)
        assert caught.value.param == param


@settings(max_examples=32, deadline=None)  # it reads a database on a machine that may be busy
@given(groups=st.sets(st.sampled_from(GROUPS)).map(lambda found: tuple(sorted(found))))
def test_any_partition_adds_up_to_the_whole(ledger: Ledger, store: Store, groups: tuple[str, ...]) -> None:
    """However it is grouped, a summary holds every token, request and digit of the ledger once."""
    answer = ledger.summary(ADMIN, SummaryFilter(groups, period="2026-11"))
    charges = rows(store, "charges")
    for total in answer["totals"]:
        parts = [row for row in answer["data"] if row["currency"] == total["currency"]] if groups else [total]
        entries = [row for row in charges if row["currency"] == total["currency"]]
        for field in ("list_amount", "discount_amount", "amount"):
            exact = sum((Fraction(row[field]) for row in entries), Fraction(0))
            assert (
                sum((Fraction(row[field]) for row in parts), Fraction(0)) == exact == Fraction(total[field])
            )
        assert sum(row["requests"] for row in parts) == sum(row["requests"] for row in entries)
        for sku in ("input_tokens", "output_tokens"):
            tokens = sum(row["quantity"] for row in entries if row["sku"] == sku)
            assert sum(row[sku] for row in parts) == tokens == total[sku]


def test_a_summary_row_names_its_group_and_currency(ledger: Ledger) -> None:
    """And no other grouping."""
    answer = ledger.summary(ADMIN, SummaryFilter(("day", "model"), period="2026-11"))
    assert answer["group_by"] == ["day", "model"]
    assert (answer["start"], answer["end"]) == ("2026-11-01T00:00:00+00:00", "2026-11-30T23:59:59+00:00")
    assert {(row["day"], row["model"], row["currency"]) for row in answer["data"]} == {
        (day, model, currency)
        for day in ("2026-11-21", "2026-11-22")
        for model, currency in (("qwen-plus", "CNY"), ("tiny", "USD"))
    }
    assert "workspace_id" not in answer["data"][0]


def test_days_begin_in_the_billing_zone(store: Store) -> None:
    """The same entries, other days; the same sum."""
    kiritimati = Ledger(store, BillingOptions(timezone="Pacific/Kiritimati"), StandingClock())
    answer = kiritimati.summary(ADMIN, SummaryFilter(("day",), start="0"))
    assert {row["day"] for row in answer["data"]} == {"2026-11-22", "2026-11-23"}
    assert (answer["period"], answer["end"]) == (None, None)
    for total in answer["totals"]:
        parts = [Decimal(row["amount"]) for row in answer["data"] if row["currency"] == total["currency"]]
        assert sum(parts) == Decimal(total["amount"])


def test_a_range_of_a_summary_is_by_the_tasks_end(store: Store, ledger: Ledger) -> None:
    """Not by the moment of entry: a late correction belongs to the time of what it corrects."""
    [first] = [
        row
        for row in rows(store, "charges")
        if row["task_id"] == "batch_0" and row["sku"] == "input_tokens" and row["mode"] == "standard"
    ]
    late = first | {
        "charge_id": "chg_late",
        "kind": "correction",
        "recorded_at": datetime(2026, 12, 1, tzinfo=UTC),
        "period": "2026-12",
    }
    own = fill_one(store, late)
    try:
        upto = {"start": "2026-11-21T00:00:00Z", "end": "2026-11-21T23:59:59Z"}
        assert ledger.summary(ADMIN, SummaryFilter((), **upto))["totals"][-1]["requests"] == own + 1
        assert "chg_late" not in {row["charge_id"] for row in everything(ledger, **upto)}
        assert "chg_late" in {row["charge_id"] for row in everything(ledger, period="2026-12")}
    finally:
        store.write(lambda tx: tx._connection.execute("DELETE FROM charges WHERE charge_id = 'chg_late'"))


def fill_one(store: Store, charge: dict[str, Any]) -> int:
    """Enters a charge of one request; gives the requests of its currency on that day before it."""
    day = [row for row in rows(store, "charges") if row["currency"] == "USD" and row["ended_at"].day == 21]
    store.write(lambda tx: tx.insert("charges", [charge]))
    return sum(row["requests"] for row in day)
