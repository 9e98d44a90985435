from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metering.access import ADMIN
from metering.options import BillingOptions
from metering.terms import TermsChanged, keep_terms
from tests.metering.billed import rows
from tests.metering.books import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.workspace("default")
    yield made
    made.store.close()


def keep(rig: Rig, zone: str = "UTC", currency: str | None = None) -> None:
    keep_terms(rig.store, BillingOptions(timezone=zone, currency=currency))


def test_anything_may_change_before_there_are_charges(rig: Rig) -> None:
    """The zone that was used last is kept, in one row."""
    for zone in ("UTC", "Asia/Shanghai", "Europe/Paris"):
        keep(rig, zone, "EUR")
    assert rows(rig.store, "billing_terms") == [{"timezone": "Europe/Paris"}]


def test_the_zone_can_not_change_once_there_are_charges(rig: Rig) -> None:
    """The message says what to put back; with it all goes on."""
    keep(rig)
    rig.task()
    with pytest.raises(TermsChanged, match='put back timezone = "UTC"'):
        keep(rig, "Asia/Shanghai")
    keep(rig)


def test_the_zone_can_not_change_once_a_month_is_closed(rig: Rig) -> None:
    """Though nothing was in it."""
    keep(rig)
    rig.closing.close(ADMIN, "2026-10")
    with pytest.raises(TermsChanged):
        keep(rig, "Europe/Paris")


def test_a_folder_of_before_is_judged_by_its_charges(tmp_path: Path) -> None:
    """Where no zone was kept yet, one in which the charges' periods are wrong is refused."""
    rig = Rig(tmp_path, datetime(2026, 10, 31, 20, tzinfo=UTC), "Asia/Shanghai")
    rig.workspace("default")
    rig.task()
    with pytest.raises(TermsChanged, match="2026-11"):
        keep(rig, "UTC")
    keep(rig, "Asia/Shanghai")
    rig.store.close()


def test_a_used_default_currency_can_not_change(rig: Rig) -> None:
    """Nor be set to another one than the models' own that was used; a workspace with its own is not asked."""
    rig.task()
    with pytest.raises(TermsChanged, match='put back currency = "CNY"'):
        keep(rig, currency="USD")
    keep(rig, currency="CNY")
    keep(rig)
    rig.store.write(lambda tx: tx._connection.execute("UPDATE workspaces SET currency = 'CNY'"))
    keep(rig, currency="USD")
