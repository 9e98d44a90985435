"""What a month of fixed tasks at fixed prices gives, byte for byte."""

import json
from collections.abc import Iterator

import pytest

from metering.exports import focus_schema
from metering.store import Store
from tests.metering.golden_month import FILES, FOLDER, golden_file, golden_ledger, golden_path


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with golden_ledger(tmp_path_factory.mktemp("golden")) as store:
        yield store


@pytest.mark.parametrize(("kind", "form", "period"), FILES)
def test_the_golden_month_is_what_it_was(ledger: Store, kind: str, form: str, period: str) -> None:
    """A change that is meant writes the files anew: python -m tests.metering.golden_month"""
    assert golden_file(ledger, kind, form, period) == golden_path(kind, form, period).read_bytes()


def test_the_schema_of_focus_is_what_it_was() -> None:
    """Its id is another only when a column is another."""
    assert json.loads((FOLDER / "focus-schema.json").read_text("utf-8")) == focus_schema()


def hand_worked(columns: int) -> list[list[str]]:
    """The rows of the README's tables with so many columns, their heads left out."""
    lines = (FOLDER / "README.md").read_text("utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [
        row
        for row in cells
        if len(row) == columns and not {row[0][:3], row[0]} & {"---", "task", "statement"}
    ]


def test_the_ledger_is_what_was_worked_out_by_hand(ledger: Store) -> None:
    """Every charge of both months and every statement: the README's arithmetic, digit for digit."""
    names = (
        "task_id",
        "sku",
        "tier",
        "mode",
        "requests",
        "quantity",
        "list_unit_price",
        "list_amount",
        "amount",
    )
    lines = [
        golden_file(ledger, "charges", "jsonl", period).splitlines() for period in ("2026-03", "2026-04")
    ]
    charges = [[str(json.loads(line)[name]) for name in names] for month in lines for line in month]
    assert sorted(hand_worked(9)) == sorted(charges)
    statements = json.loads(golden_file(ledger, "statement", "json", "2026-03"))
    parts = ("number", "exact_amount", "rounding", "payable")
    assert hand_worked(4) == [[one[name] for name in parts] for one in statements]
