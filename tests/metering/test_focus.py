"""The rules of FOCUS 1.2, those that its validator misses above all, on the golden months."""

import csv
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from metering.access import ADMIN
from metering.exports import ExportRequest, Exports
from metering.exports.focus import FOCUS
from metering.options import BillingOptions
from tests.metering.billed import StandingClock
from tests.metering.golden_month import FOLDER, golden_file, golden_ledger

Row = dict[str, str | None]
PERIODS = ("2026-03", "2026-04")
MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:00:00Z")
NUMBER = re.compile(r"-?[0-9]+\.[0-9]+")
COSTS = ("BilledCost", "EffectiveCost", "ListCost", "ContractedCost")
MAY_BE_NULL = {
    "ChargeClass", "CommitmentDiscountStatus", "ConsumedQuantity", "ConsumedUnit", "ContractedUnitPrice", "InvoiceId",
    "ListUnitPrice", "PricingCategory", "PricingCurrencyContractedUnitPrice", "PricingCurrencyListUnitPrice",
    "PricingQuantity", "PricingUnit", "SkuId", "SkuMeter", "SkuPriceDetails", "SkuPriceId", "Tags",
}  # fmt: skip


def focus_rows(period: str) -> list[Row]:
    """The rows of a golden file; an empty cell without quotes is null, and there is no other."""
    text = (FOLDER / f"focus-{period}.csv").read_text("utf-8")
    assert ',"",' not in text, "an empty text stands where null should"
    return [{k: v or None for k, v in row.items()} for row in csv.DictReader(text.splitlines())]


ROWS = [row for period in PERIODS for row in focus_rows(period)]
USAGE = [row for row in ROWS if row["ChargeCategory"] == "Usage"]


def exact(row: Row, name: str) -> Decimal:
    return Decimal(str(row[name]))


def test_columns_are_in_order_and_named_as_they_should_be() -> None:
    """FOCUS's by name, then our own by name, which begin with x_."""
    names = [column.name for column in FOCUS]
    own = [name for name in names if name.startswith("x_")]
    assert names == sorted(set(names) - set(own)) + sorted(own) == list(ROWS[0])


def test_values_are_of_the_allowed_ones() -> None:
    """In every row, not only in one of them."""
    for row in ROWS:
        assert row["ChargeCategory"] in ("Usage", "Adjustment")
        assert row["ChargeClass"] in (None, "Correction")
        assert row["ChargeFrequency"] == ("Usage-Based" if row in USAGE else "One-Time")
        assert (row["ServiceCategory"], row["ServiceSubcategory"]) == (
            "AI and Machine Learning",
            "Generative AI",
        )
        assert row["PricingCategory"] == ("Standard" if row in USAGE else None)
        assert re.fullmatch("[A-Z]{3}", str(row["BillingCurrency"]))
        assert row["PricingCurrency"] == row["BillingCurrency"]
        assert row["ProviderName"] == row["PublisherName"] == row["InvoiceIssuerName"] == "Example AI"


def test_formats_of_numbers_moments_and_json() -> None:
    """Numbers with a point, moments in UTC to the second, JSON flat with x_ keys; null only where it may be."""
    for row in ROWS:
        for column in FOCUS:
            value = row[column.name]
            assert value is not None or column.name in MAY_BE_NULL or column.name.startswith("x_"), (
                column.name
            )
            if value is not None and column.content == "fixed":
                assert NUMBER.fullmatch(value), column.name
            if column.content == "second":
                assert MOMENT.fullmatch(str(value)), column.name
        if row["SkuPriceDetails"] is not None:
            details = json.loads(row["SkuPriceDetails"])
            assert all(key.startswith("x_") and isinstance(value, str) for key, value in details.items())


def test_half_of_the_list_price_is_billed() -> None:
    """Layout A: list and contracted are the real-time price times the quantity; effective and billed are half of it."""
    for row in USAGE:
        quantity, price = exact(row, "PricingQuantity"), exact(row, "ListUnitPrice")
        assert exact(row, "ListCost") == exact(row, "ContractedCost") == quantity * price
        assert exact(row, "BilledCost") == exact(row, "EffectiveCost") == exact(row, "ListCost") / 2
        assert exact(row, "ConsumedQuantity") == quantity * 1_000_000
        assert (row["PricingUnit"], row["ConsumedUnit"]) == ("1000000 Tokens", "Tokens")
        assert row["ListUnitPrice"] == row["ContractedUnitPrice"] == row["PricingCurrencyListUnitPrice"]
        assert exact(row, "PricingCurrencyEffectiveCost") == exact(row, "EffectiveCost")


def test_the_discount_of_a_file_is_half() -> None:
    """Of a closed month too: a rounding is worked out from the invoice's rows, and has their discount."""
    for period in PERIODS:
        rows = focus_rows(period)
        total = {name: sum(exact(row, name) for row in rows) for name in COSTS}
        assert 2 * total["EffectiveCost"] == 2 * total["BilledCost"] == total["ListCost"]
        assert total["ListCost"] == total["ContractedCost"]


def test_periods_are_whole_and_the_right_way_round() -> None:
    """A charge lies within its billing period, unless it corrects a closed one; then it lies before it."""
    for row in ROWS:
        begin, end, first, last = (
            datetime.fromisoformat(str(row[name]))
            for name in ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd")
        )
        assert begin < end
        assert first.day == last.day == 1
        assert (end - begin).total_seconds() == 3600 or row["ChargeCategory"] == "Adjustment"
        if row["ChargeClass"] == "Correction":
            assert end <= first
        else:
            assert first <= begin < end <= last


def test_a_correction_has_its_class_only_where_the_month_was_closed() -> None:
    """A reversal has opposite signs in costs and quantities and all else of the row that it reverses."""
    corrections = [row for row in USAGE if row["x_CorrectsChargeId"]]
    assert [row["ChargeClass"] for row in corrections] == [None, "Correction", "Correction"]
    originals = {row["x_ChargeId"]: row for row in ROWS}
    signed = (*COSTS, "ConsumedQuantity", "PricingQuantity")
    same = (
        "SkuId",
        "SkuPriceId",
        "ListUnitPrice",
        "ChargePeriodStart",
        "SubAccountId",
        "x_BatchId",
        "x_PriceId",
    )
    for row in corrections:
        original = originals[row["x_CorrectsChargeId"]]
        assert all(row[name] == original[name] for name in same)
        if str(row["ChargeDescription"]).startswith("Reversal"):
            assert all(exact(row, name) == -exact(original, name) for name in signed)


def test_an_invoice_adds_up_to_what_is_paid() -> None:
    """With one Adjustment row for its rounding; a month that is open has no invoices and none of these rows."""
    march, april = focus_rows("2026-03"), focus_rows("2026-04")
    statements = json.loads((FOLDER / "statement-2026-03.json").read_text("utf-8"))
    for statement in statements:
        rows = [row for row in march if row["InvoiceId"] == statement["number"]]
        assert sum(exact(row, "BilledCost") for row in rows) == Decimal(statement["payable"])
        assert [row["ChargeCategory"] for row in rows].count("Adjustment") == 1
        assert {row["SubAccountId"] for row in rows} == {statement["workspace_id"]}
    assert {row["InvoiceId"] for row in march} == {statement["number"] for statement in statements}
    assert {(row["InvoiceId"], row["ChargeCategory"]) for row in april} == {(None, "Usage")}
    for row in march:
        if row["ChargeCategory"] == "Adjustment":
            names = (
                "SkuId",
                "SkuMeter",
                "PricingQuantity",
                "ConsumedQuantity",
                "ListUnitPrice",
                "PricingUnit",
            )
            assert {row[name] for name in names} == {None}


def test_names_are_consistent() -> None:
    """A SkuPriceId has one SkuId, a SkuId one meter, a sub account one name."""
    for one, other in (("SkuPriceId", "SkuId"), ("SkuId", "SkuMeter"), ("SubAccountId", "SubAccountName")):
        pairs = {(row[one], row[other]) for row in ROWS if row[one] is not None}
        assert len(pairs) == len({name for name, _ in pairs})


def test_parquet_holds_the_same(tmp_path: Path) -> None:
    """With decimals and moments as types."""
    with golden_ledger(tmp_path) as store:
        (tmp_path / "focus.parquet").write_bytes(golden_file(store, "focus", "parquet", "2026-03"))
    table = pq.read_table(tmp_path / "focus.parquet")
    assert str(table.schema.field("BilledCost").type) == "decimal128(38, 13)"
    rows = focus_rows("2026-03")
    assert table["BilledCost"].to_pylist() == [exact(row, "BilledCost") for row in rows]
    assert table["SkuPriceDetails"].to_pylist() == [row["SkuPriceDetails"] for row in rows]


def test_an_account_always_has_a_name(tmp_path: Path) -> None:
    """Its id where the settings give it none: accounts can be named here, so that null would be wrong."""
    with golden_ledger(tmp_path) as store:
        exports = Exports(store, BillingOptions(account_id="acct-1"), StandingClock())
        made = exports.write(ADMIN, ExportRequest("focus", "csv", period="2026-03"))
        text = b"".join(made.pieces()).decode()
    assert {row["BillingAccountName"] for row in csv.DictReader(text.splitlines())} == {"acct-1"}


def test_a_billing_period_is_a_month_of_the_billing_zone(tmp_path: Path) -> None:
    """In March New York's clocks change: the month begins five hours after that of UTC and ends four after it."""
    with golden_ledger(tmp_path) as store:
        exports = Exports(store, BillingOptions(timezone="America/New_York"), StandingClock())
        made = exports.write(ADMIN, ExportRequest("focus", "csv", period="2026-03"))
        text = b"".join(made.pieces()).decode()
    found = {
        (row["BillingPeriodStart"], row["BillingPeriodEnd"]) for row in csv.DictReader(text.splitlines())
    }
    assert found == {("2026-03-01T05:00:00Z", "2026-04-01T04:00:00Z")}


@pytest.mark.skipif(
    importlib.util.find_spec("beancount") is None, reason="bean-check is part of the development packages"
)
@pytest.mark.parametrize("period", PERIODS)
def test_bean_check_accepts_every_golden_month(period: str, tmp_path: Path) -> None:
    """And refuses one in which a hundredth of a cent is missing."""
    check = shutil.which("bean-check", path=Path(sys.executable).parent)
    assert check is not None
    journal = FOLDER / f"ledger-{period}.beancount"
    fine = subprocess.run([check, str(journal)], capture_output=True, text=True, check=False)
    assert (fine.returncode, fine.stdout + fine.stderr) == (0, "")
    text = journal.read_text("utf-8")
    wrong = tmp_path / "wrong.beancount"
    wrong.write_text(re.sub(r"(Income:Batch\S+  -[0-9]+\.[0-9]+)", r"\g<1>0001", text, count=1), "utf-8")
    assert subprocess.run([check, str(wrong)], capture_output=True, check=False).returncode == 1
