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
