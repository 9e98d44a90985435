from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from metering.money import plain
from metering.prices import PriceBook
from metering.store import Store
from tests.metering.billed import FAILED, UNMETERED, end, ended, event, meter, open_store, rows

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path)
    yield opened
    opened.close()


def tables(text: str) -> list[list[list[str]]]:
    """The cells of every table of a page, heads first."""
    found: list[list[list[str]]] = [[]]
    for line in text.splitlines():
        if line.startswith("|"):
            found[-1].append([cell.strip() for cell in line.strip("|").split("|")])
        elif found[-1]:
            found.append([])
    return [[table[0], *table[2:]] for table in found if table]


def test_the_worked_example_is_what_the_meter_charges(store: Store) -> None:
    """The page's requests, rated with the shipped price book, give the page's charges and sums."""
    page = (ROOT / "docs" / "metering.md").read_text("utf-8")
    requests, charges = tables(page)[:2]
    task = ended(total=len(requests) - 1)
    events = []
    for number, given, made, outcome in requests[1:]:
        if given:
            tokens = {
                "input_tokens": int(given.replace(",", "")),
                "output_tokens": int(made.replace(",", "")),
            }
            events.append(event(task, int(number), thinking="reasoning" in outcome, **tokens))
        else:
            events.append(event(task, int(number), **(FAILED if "failed" in outcome else UNMETERED)))
    bill = end(store, meter(PriceBook.load(ROOT / "config" / "prices-cny.toml")), task, events)
    names = charges[0]
    found = [
        [plain(row[n]) if isinstance(row[n], Decimal) else str(row[n]) for n in names]
        for row in rows(store, "charges")
    ]
    assert found == charges[1:]
    assert f"List price {plain(bill.list_amount)} CNY, charged {plain(bill.amount)} CNY" in page
    assert bill.unmetered == 1
