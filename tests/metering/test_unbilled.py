"""What of a month was not charged, and why."""

from pathlib import Path

import pytest

from metering.access import ADMIN, Access
from metering.errors import InvalidParameter, NotFound
from metering.unbilled import Unbilled, UnbilledRequests
from tests.metering.billed import FAILED, UNMETERED
from tests.metering.books import Rig


def test_every_unbilled_request_is_counted_once(tmp_path: Path) -> None:
    """Under its reason, by the month of its task's end in the billing zone; charged ones are not among them."""
    rig = Rig(tmp_path, zone="Asia/Shanghai")
    rig.task({}, {}, FAILED, UNMETERED, total=9)
    rig.task({}, FAILED, model="gift", currency=None, free=True, workspace_id="ws_b", total=2)
    found = UnbilledRequests(rig.store, rig.billing.zone)
    assert found.of(ADMIN, "2026-11") == Unbilled(failed=2, never_executed=5, unmetered=1, free=1)
    assert found.of(ADMIN, "2026-11").all == 9
    assert found.of(ADMIN, "2026-11", "ws_b", "gift") == Unbilled(1, 0, 0, 1)
    assert found.of(Access("ws_b", "key"), "2026-11") == Unbilled(1, 0, 0, 1)
    assert found.of(ADMIN, "2026-12") == Unbilled(0, 0, 0, 0)
    with pytest.raises(NotFound):
        found.of(Access("ws_b", "key"), "2026-11", "default")
    with pytest.raises(InvalidParameter):
        found.of(ADMIN, "November")
    rig.store.close()
