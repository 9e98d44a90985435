"""The audit holds closed months against the ledger: what was frozen must still follow from it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.access import ADMIN
from metering.closing import Closing
from metering.options import BillingOptions
from metering.statements import Statements
from tests.metering.audited import MIXED, Town


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """A task of November, which is closed."""
    made = Town(tmp_path)
    made.task("batch_a", MIXED)
    made.clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    options = BillingOptions()
    closing = Closing(made.store, Statements(made.store, options), made.meter, options, made.clock)
    closing.close(ADMIN, "2026-11")
    yield made
    made.store.close()


def test_a_closed_month_is_proved_with_the_tasks(town: Town) -> None:
    """By an audit of everything and by one of that month; not by one of a task, a workspace or another month."""
    assert town.report()["months"] == {"verified": 1, "different": 0}
    assert town.report(period="2026-11")["months"] == {"verified": 1, "different": 0}
    for asked in ({"period": "2026-10"}, {"task_id": "batch_a"}, {"period": "2026-11", "task_id": "batch_a"}):
        assert town.report(**asked)["months"] == {"verified": 0, "different": 0}


DAMAGES = [
    ('UPDATE statements SET canonical = replace(canonical, \'"payable":"\', \'"payable":"9\')', "payable"),
    ("UPDATE statements SET sha256 = 'ab'", "sha256 is ab"),
    ("DELETE FROM statements", "is missing"),
    ("UPDATE statements SET number = 'NR-000007'", "gaps"),
]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_a_changed_statement_is_found(town: Town, damage: str, said: str) -> None:
    """Though every task is as it was; the difference names the month, and the log and the metric count it."""
    town.sql(damage)
    report = town.report()
    assert (report["totals"]["different"], report["months"]) == (0, {"verified": 0, "different": 1})
    assert report["difference_count"] == len(report["differences"]) > 0
    found = [one for one in report["differences"] if said in one["message"]]
    assert found, report["differences"]
    assert (found[0]["place"], found[0]["id"], found[0]["task_id"]) == ("statement", "2026-11", None)
    kept = town.audit.last(ADMIN)
    assert kept is not None
    assert kept["differences"] == report["difference_count"]
