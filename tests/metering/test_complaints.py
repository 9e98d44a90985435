"""What people complain of in other services that meter and bill, each shown not to be so here: with a clock by hand.

What needs no clock goes through the whole service: tests/journey/test_complaints.py.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metering.access import ADMIN
from metering.ending import NoPriceInForce
from metering.ledger import SummaryFilter
from metering.options import StatisticsOptions
from metering.prices import PriceBook, PriceBookError
from metering.statistics import Statistics
from tests.metering.billed import BOOK, FAILED, UNMETERED, end, ended, event, meter, rows
from tests.metering.books import Rig, total

SHANGHAI = "Asia/Shanghai"
TABLES = ("charges", "task_rollups", "task_errors", "task_digests")
DEARER = """
[[prices]]
model = "qwen-plus"
currency = "CNY"
valid_from = 2026-11-22T12:00:00.123456Z
tiers = [{ input = "80", output = "200" }]
"""


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    made = Rig(tmp_path)
    yield made
    made.store.close()


class Broken(Exception):
    """The commit that did not come to be."""


def test_a_write_that_fails_and_is_retried_meters_once(rig: Rig) -> None:
    """Nothing is claimed before it is written: the failed try leaves nothing, the second one enters everything once."""
    task = ended("batch_9")
    rig.store.write(lambda tx: tx.insert("request_events", [event(task, n) for n in (1, 2)]))

    def fails(tx: Any) -> None:
        rig.meter.end_task(tx, task, rig.meter.moment(tx))
        raise Broken

    with pytest.raises(Broken):
        rig.store.write(fails)
    assert {table: rows(rig.store, table) for table in TABLES} == {table: [] for table in TABLES}
    for _ in range(3):
        rig.store.write(lambda tx: rig.meter.end_task(tx, task, rig.meter.moment(tx)))
        assert sum(charge["requests"] for charge in rig.charges()) == 2
        assert len(rows(rig.store, "task_rollups")) == 1


def test_the_moment_is_no_part_of_a_charges_identity(rig: Rig) -> None:
    """Entered again later, without a time of its own, it is the same entry and not another one."""
    task = ended("batch_9")
    end(rig.store, rig.meter, task, [event(task, 1)])
    before = rig.charges()
    rig.clock.advance(days=40)
    rig.store.write(lambda tx: rig.meter.end_task(tx, task, rig.meter.moment(tx)))
    assert rig.charges() == before


def test_a_price_change_rewrites_no_history(tmp_path: Path) -> None:
    """Charges, statements, sums and statistics of before are to the letter what they were; what ends now pays the new price."""
    rig = Rig(tmp_path, datetime(2026, 11, 22, 11, tzinfo=UTC))
    rig.task({}, {"input_tokens": 300_000, "thinking": True})

    def seen() -> tuple[Any, ...]:
        statistics = Statistics(rig.store, StatisticsOptions(), rig.clock)
        amounts = [(row["list_amount"], row["amount"]) for row in statistics.models(ADMIN)["data"]]
        summary = rig.ledger.summary(ADMIN, SummaryFilter(("day", "model"), period="2026-11"))
        return (
            rig.charges(),
            rig.statements.of(ADMIN, "2026-11"),
            summary,
            amounts,
            rows(rig.store, "task_rollups"),
        )

    before = seen()
    later = PriceBook.of_text("prices.toml", BOOK + DEARER, None, rig.clock)
    later.remember(rig.store)
    rig.meter = meter(later, rig.clock)
    assert seen() == before
    rig.clock.advance(hours=2)
    rig.task({})
    (old, *_), new = before[0], rig.charges()[-1]
    assert old["price_id"] != new["price_id"]
    assert new["list_unit_price"] in ("80", "200")
    assert rig.charges()[: len(before[0])] == before[0]
    with pytest.raises(PriceBookError, match="lies before charges"):
        PriceBook.of_text("p", BOOK + DEARER.replace("-11-22T12", "-11-22T10"), None, rig.clock).remember(
            rig.store
        )
    rig.store.close()


def test_a_change_within_a_month_charges_nothing_twice(rig: Rig) -> None:
    """A task is priced once, by its end; the two prices stand on two lines that add up to all tokens."""
    rig.task({"input_tokens": 100})
    rig.meter = meter(
        PriceBook.of_text("p", BOOK + DEARER.replace(".123456", "").replace("T12", "T13"), None, rig.clock),
        rig.clock,
    )
    rig.clock.advance(hours=3)
    rig.task({"input_tokens": 100})
    (statement,) = rig.statements.of(ADMIN, "2026-11")
    lines = [line for line in statement["lines"] if line["sku"] == "input_tokens"]
    assert [(line["requests"], line["quantity"]) for line in lines] == [(1, 100), (1, 100)]
    assert {line["list_unit_price"] for line in lines} == {"0.8", "80"}


def test_usage_without_a_price_is_never_free(rig: Rig) -> None:
    """It is not written off at zero: the task is not entered at all until it has a price, and says why."""
    task = ended("batch_9", model="unheard-of")
    with pytest.raises(NoPriceInForce, match="add it to the price book"):
        end(rig.store, rig.meter, task, [event(task, 1)])
    assert rows(rig.store, "task_rollups") == []
    assert len(rows(rig.store, "request_events")) == 1


def test_nothing_is_billed_from_before_its_price(tmp_path: Path) -> None:
    """A price that begins later does not reach back."""
    rig = Rig(tmp_path, datetime(2026, 2, 23, 23, 59, 59, 999999, tzinfo=UTC))
    task = ended("batch_9")
    with pytest.raises(NoPriceInForce):
        end(rig.store, rig.meter, task, [event(task, 1)])
    rig.clock.advance(seconds=1)
    rig.store.write(lambda tx: rig.meter.end_task(tx, task, rig.meter.moment(tx)))
    assert {charge["ended_at"] for charge in rig.charges()} == {"2026-02-24T00:00:00.999999Z"}
    rig.store.close()


def test_the_tier_is_that_of_the_request_and_the_price_that_of_its_model(rig: Rig) -> None:
    """A tier is not an offset on top of the base price, and the discount is not taken twice."""
    rig.task({"input_tokens": 128_001, "output_tokens": 0})
    (charge,) = rig.charges()
    assert (charge["tier"], charge["list_unit_price"], charge["unit_price"]) == ("256000", "2.4", "1.2")
    assert (charge["list_amount"], charge["amount"]) == ("0.3072024", "0.1536012")


def test_a_reversal_in_a_tier_takes_back_that_very_entry(rig: Rig) -> None:
    """Not the price of another tier, and nothing moves into another tier by it."""
    rig.task({"input_tokens": 10}, {"input_tokens": 200_000}, {"input_tokens": 2_000_000})
    middle = next(row for row in rig.charges() if row["tier"] == "256000" and row["sku"] == "input_tokens")
    rest = [row for row in rig.charges() if row["charge_id"] != middle["charge_id"]]
    made = rig.corrections.correct(ADMIN, middle["charge_id"], "not delivered")
    assert made["reversal"]["amount"] == f"-{middle['amount']}"
    assert made["reversal"]["list_unit_price"] == middle["list_unit_price"]
    assert total(rig.charges()) == total(rest)


@pytest.mark.parametrize("split", [1, 2, 3, 7])
def test_where_one_begins_to_add_changes_nothing(rig: Rig, split: int) -> None:
    """A month in one task, in many, summed by day or by hour: the same total."""
    calls = [{"input_tokens": 37 * n, "output_tokens": n} for n in range(1, 22)]
    for begin in range(0, len(calls), split):
        rig.task(*calls[begin : begin + split])
        rig.clock.advance(hours=7)
    by_day = rig.ledger.summary(ADMIN, SummaryFilter(("day",), start="2026-11-01T00:00:00Z"))
    assert total(by_day["data"]) == total(by_day["totals"]) == total(rig.charges())
    inputs, outputs = (sum(call[name] for call in calls) for name in ("input_tokens", "output_tokens"))
    assert total(by_day["totals"], "list_amount") * 1_000_000 == inputs * Decimal("0.8") + outputs * 2
    assert (by_day["totals"][0]["input_tokens"], by_day["totals"][0]["output_tokens"]) == (inputs, outputs)


def test_no_page_reads_the_log_of_calls(rig: Rig) -> None:
    """However many there are: figures, bills and their pictures come from sums that each task left when it ended."""
    rig.task({}, {"thinking": True}, FAILED, UNMETERED)
    rig.task(model="tiny", currency="USD")

    def seen() -> tuple[Any, ...]:
        statistics = Statistics(rig.store, StatisticsOptions(), rig.clock)
        return (
            statistics.models(ADMIN),
            statistics.trend(ADMIN, "qwen-plus", interval="hour"),
            statistics.errors(ADMIN, "qwen-plus"),
            rig.ledger.summary(ADMIN, SummaryFilter(("day", "api_key"), period="2026-11")),
            rig.statements.of(ADMIN, "2026-11"),
            rig.budgets.uses(ADMIN),
        )

    before = seen()
    rig.store.write(lambda tx: tx._connection.execute("DROP TABLE request_events"))
    assert seen() == before


DAYS = [
    ("2026-11-14T15:59:59.999999+00:00", "2026-11-14"),
    ("2026-11-14T16:00:00+00:00", "2026-11-15"),
    ("2026-11-15T00:00:00+00:00", "2026-11-15"),
    ("2026-11-15T15:59:59+00:00", "2026-11-15"),
]


@pytest.mark.parametrize(("at", "day"), DAYS)
def test_days_are_right_in_shanghai(tmp_path: Path, at: str, day: str) -> None:
    """In sums, exports of usage, statistics and periods alike, and nothing is counted on two days."""
    moment = datetime.fromisoformat(at)
    rig = Rig(tmp_path, moment, zone=SHANGHAI)
    rig.task({}, FAILED, UNMETERED)
    rig.clock.now = moment + timedelta(days=2)
    summary = rig.ledger.summary(ADMIN, SummaryFilter(("day",), period="2026-11"))
    assert [row["day"] for row in summary["data"]] == [day]
    points = Statistics(rig.store, StatisticsOptions(), rig.clock).trend(
        ADMIN,
        "qwen-plus",
        start=f"{day}T00:00:00+08:00",
        end=f"{day}T23:59:59+08:00",
        interval="day",
        timezone=SHANGHAI,
    )["data"]
    assert [(point["time"][:10], point["calls"]) for point in points] == [(day, 3)]
    rig.store.close()


def test_a_month_begins_at_midnight_in_shanghai(tmp_path: Path) -> None:
    """Eight hours before it does in London; the statement has it, and so has the day of the sums."""
    rig = Rig(tmp_path, datetime(2026, 10, 31, 15, 59, 59, tzinfo=UTC), zone=SHANGHAI)
    rig.task({"input_tokens": 1})
    rig.clock.advance(seconds=1)
    rig.task({"input_tokens": 2})
    for period, tokens, day in (("2026-10", 1, "2026-10-31"), ("2026-11", 2, "2026-11-01")):
        (statement,) = rig.statements.of(ADMIN, period)
        assert statement["lines"][0]["quantity"] == tokens
        summary = rig.ledger.summary(ADMIN, SummaryFilter(("day",), period=period))
        assert [row["day"] for row in summary["data"]] == [day]
    rig.store.close()
