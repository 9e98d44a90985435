"""The FinOps Foundation's own tools on our FOCUS files: its validator, and its use cases as queries."""

import csv
import json
import re
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.metering.focus_tools import focus_tools
from tests.metering.golden_month import FOLDER, golden_file, golden_ledger

PERIODS = ("2026-03", "2026-04")
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED,MULTIPLE_PRICING_CATEGORIES_SUPPORTED,NEGOTIATED_PRICING_SUPPORTED,"
    "PUBLIC_PRICE_LIST_SUPPORTED,USAGE_MEASUREMENT_SUPPORTED,UNIT_PRICING_SUPPORTED,"
    "SUB_ACCOUNT_SUPPORTED,TAGGING_SUPPORTED"
)
RULES = 578
# Two halves of an OR: whatever a file says, one of them is red (FOCUS_Spec issue 2394).
UNAVOIDABLE = {"InvoiceId-C-004-C", "InvoiceId-C-005-C"}
CASES = Path(__file__).with_name("focus_cases.py")


@pytest.fixture(scope="module")
def place() -> Path:
    """The environment of the tools; without a Python for it every test here is skipped."""
    return focus_tools()


def validated(place: Path, file: Path, folder: Path) -> set[str]:
    """The rules that the validator finds broken. Its exit code says nothing, so the report is read."""
    [packages] = place.glob("lib/python3.*/site-packages")
    report = folder / "report.xml"
    command = [
        str(place / "bin/focus-validator"), "--data-file", str(file), "--validate-version", "1.2",
        "--block-download", "--applicability-criteria", CRITERIA,
        "--output-type", "unittest", "--output-destination", str(report),
    ]  # fmt: skip
    # It opens its list of currencies relative to where it runs.
    done = subprocess.run(command, cwd=packages, capture_output=True, text=True, check=False)
    assert report.exists(), done.stderr[-2000:]
    text = report.read_text("utf-8")
    assert f'tests="{RULES}"' in text
    return set(re.findall(r'<testcase [^>]*name="([^" ]+)[^>]*>\s*<failure', text))


@pytest.mark.parametrize("period", PERIODS)
def test_the_validator_accepts_every_golden_month(place: Path, period: str, tmp_path: Path) -> None:
    """But for the one failure that it can't avoid."""
    broken = validated(place, FOLDER / f"focus-{period}.csv", tmp_path)
    assert len(broken) == 1
    assert broken <= UNAVOIDABLE


def test_the_validator_accepts_each_kind_of_row_alone(place: Path, tmp_path: Path) -> None:
    """In a file of several it looks whether any row has an allowed category; so each kind of row stands alone."""
    for number, row in enumerate(one_of_each()):
        file = tmp_path / f"row-{number}.csv"
        file.write_text("\n".join(row) + "\n", "utf-8")
        broken = validated(place, file, tmp_path)
        assert len(broken) == 1
        assert broken <= UNAVOIDABLE


def one_of_each() -> list[tuple[str, str]]:
    """Head and line of one row for each combination of category, class and frequency, of both months."""
    found: dict[tuple[Any, ...], tuple[str, str]] = {}
    for period in PERIODS:
        lines = (FOLDER / f"focus-{period}.csv").read_text("utf-8").splitlines()
        for line, row in zip(lines[1:], csv.DictReader(lines), strict=True):
            kind = row["ChargeCategory"], row["ChargeClass"], row["ChargeFrequency"]
            found.setdefault(kind, (lines[0], line))
    assert len(found) == 3
    return list(found.values())


def test_the_validator_would_refuse_a_wrong_file(place: Path, tmp_path: Path) -> None:
    """It is really at work here."""
    text = (FOLDER / "focus-2026-03.csv").read_text("utf-8")
    wrong = tmp_path / "wrong.csv"
    wrong.write_text(text.replace('"1000000 Tokens"', '"1M Tokens"').replace('"CNY"', '"RMB"'), "utf-8")
    broken = {rule.partition("-")[0] for rule in validated(place, wrong, tmp_path) - UNAVOIDABLE}
    assert {"PricingUnit", "BillingCurrency"} <= broken


def answers(place: Path, period: str, version: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """What each use case says of a golden month; a query that fails fails the test."""
    with golden_ledger(folder / "ledger") as store:
        file = folder / "focus.parquet"
        file.write_bytes(golden_file(store, "focus", "parquet", period))
    done = subprocess.run(
        [place / "bin" / "python", CASES, file, version], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return found


def test_every_use_case_of_1_2_has_its_answer(place: Path, tmp_path: Path) -> None:
    """All of them run; each row saves half of its list price, and the invoices sum to what is payable."""
    found = answers(place, "2026-03", "1.2", tmp_path)
    assert len(found) == 53
    rates = [Decimal(str(row["ESROverList"])) for row in found["effective_savings_rate"]]
    assert set(rates) == {Decimal("0.5")}, "of the roundings too"
    statements = json.loads((FOLDER / "statement-2026-03.json").read_text("utf-8"))
    for row in found["verify_invoices"]:
        due = (Decimal(one["payable"]) for one in statements if one["currency"] == row["BillingCurrency"])
        assert Decimal(row["TotalBilledCost"]) == sum(due)
    assert found["report_corrections"] == []


def test_the_effective_discount_is_50_percent(place: Path, tmp_path: Path) -> None:
    """And no negotiated one, of an open month and of a closed one with its roundings."""
    (tmp_path / "open").mkdir()
    found = answers(place, "2026-04", "1.4", tmp_path / "open")
    [row] = found["discount_effectiveness_by_service"]
    assert (row["ContractedDiscount"], row["EffectiveDiscount"]) == (0.0, 50.0)
    assert [one["EffectiveSavingsRate"] for one in found["effective_savings_rate"]] == [0.5]
    assert len(found["report_corrections"]) == 1
    (tmp_path / "closed").mkdir()
    closed = answers(place, "2026-03", "1.4", tmp_path / "closed")["discount_effectiveness_by_service"]
    [yuan] = [row for row in closed if row["BillingCurrency"] == "CNY"]  # the dollars are rounded to nothing
    assert (yuan["ContractedDiscount"], yuan["EffectiveDiscount"]) == (0.0, 50.0)
