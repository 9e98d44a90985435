"""The audit of corrections: each is held against the entry that it names."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from metering.access import ADMIN
from metering.corrections import Corrections, Replacement
from metering.options import BillingOptions
from tests.metering.audited import MIXED, Town, reversal


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    made.task("batch_a", MIXED)
    yield made
    made.store.close()


REPLACEMENT: dict[str, str] = {
    "charge_id": "'chg_' || sha256('[\"replacement\",\"' || charge_id || '\"]')[:40]",
    "requests": "requests",
    "quantity": "quantity",
    "list_unit_price": "0.4",
    "unit_price": "0.2",
    "list_amount": "quantity * 0.4 / 1000000",
    "discount_amount": "quantity * 0.2 / 1000000",
    "amount": "quantity * 0.2 / 1000000",
}
EXACT = {
    name: f"CAST({REPLACEMENT[name]} AS DECIMAL(38, 15))"
    for name in ("list_amount", "discount_amount", "amount")
}


def test_a_reversal_and_its_replacement_are_right(town: Town) -> None:
    """Exact negation; the replacement by its own unit price. The ledger's amounts hold both."""
    town.sql(reversal())
    town.sql(reversal(**REPLACEMENT | EXACT))
    report = town.report()
    assert report["differences"] == []
    [sums] = report["amounts"]
    before = Decimal(sums["amount"])
    town.sql(reversal(charge_id="'chg_other'"))
    assert before - Decimal(town.report()["amounts"][0]["amount"]) == Decimal("0.0516")


@pytest.mark.parametrize(
    ("damage", "column"),
    [
        ({"amount": "-amount + 0.000001"}, "amount"),
        ({"quantity": "-quantity + 1"}, "quantity"),
        ({"requests": "0"}, "requests"),
        ({"unit_price": "1"}, "unit_price"),
        ({"tier": "'all'"}, "tier"),
        ({"workspace_id": "'other'"}, "workspace_id"),
        ({"corrects": "'chg_none'"}, "corrects"),
        ({"period": "'2026-01'"}, "period"),
        ({"recorded_at": "recorded_at - INTERVAL 1 DAY"}, "recorded_at"),
        (REPLACEMENT | EXACT, "corrects"),
        ({"kind": "'gift'"}, "kind"),
    ],
)
def test_a_wrong_correction_is_named(town: Town, damage: dict[str, str], column: str) -> None:
    """A reversal that does not negate, or corrects nothing; a replacement of what was not reversed."""
    town.sql(reversal(**damage))
    assert column in {one["column"] for one in town.report()["differences"]}


def test_a_second_reversal_is_named(town: Town) -> None:
    """Under whatever id."""
    town.sql(reversal())
    town.sql(reversal(charge_id="'chg_second'"))
    assert ("correction", "corrects") in town.found()


def test_a_wrong_replacement_is_named(town: Town) -> None:
    """It must be priced by its own unit price."""
    town.sql(reversal())
    town.sql(reversal(**REPLACEMENT | EXACT | {"amount": "0.3"}))
    assert town.found() == {("correction", "amount")}


def test_what_the_service_corrects_is_verified(town: Town) -> None:
    """A reversal alone, a replacement by quantity or by price, and the correction of a replacement."""
    corrections = Corrections(town.store, town.meter, BillingOptions())
    ids = [row["charge_id"] for row in town.rows("charges")]
    corrections.correct(ADMIN, ids[0], "not delivered")
    corrections.correct(ADMIN, ids[1], "miscounted", Replacement(quantity=5))
    made = corrections.correct(ADMIN, ids[2], "a discount", Replacement(list_unit_price="0.000001"))
    corrections.correct(ADMIN, made["replacement"]["charge_id"], "none after all", Replacement(quantity=0))
    report = town.report()
    assert report["differences"] == []
    assert report["charges"] == len(ids) + 7
