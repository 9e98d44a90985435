"""Addresses ⇄ what they ask for."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.filters import (
    Address,
    BillingView,
    PeriodView,
    TaskView,
    moment_of,
    monitor_href,
    months_back,
    zone_of,
)
from metering.errors import InvalidParameter

NOW = datetime(2026, 11, 22, 14, 5, 9, 700_000, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@given(
    st.dictionaries(st.sampled_from(["search", "status", "from", "zone"]), st.text(min_size=1, max_size=20))
)
def test_an_address_survives_the_way_through_a_link(query: dict[str, str]) -> None:
    """What an address holds is what its link gives back, whatever the characters."""
    kept = Address("/observation", query)
    assert Address.of_href(kept.href) == kept


@given(st.text(alphabet="abcZ0/%?#&.: äé+", min_size=1, max_size=30))
def test_a_model_s_name_survives_the_path(name: str) -> None:
    """A model's name may hold a slash or anything else, and Monitor shows that model."""
    address = Address.of_href(
        monitor_href(name, Address("/observation", {"from": "now-7d", "sort": "calls"}))
    )
    assert PeriodView.of(address).model == name
    assert address.query == {"from": "now-7d"}


def test_relative_times_stay_relative_until_they_are_read() -> None:
    """`from=now-7d` is kept as it is; read at another moment it means another time."""
    view = PeriodView.of(Address.of_href("/console/observation?from=now-7d"))
    assert (view.start, view.end, view.preset) == ("now-7d", "now", "now-7d")
    assert view.bounds(NOW, BERLIN) == (
        datetime(2026, 11, 15, 14, 5, 9, tzinfo=UTC),
        datetime(2026, 11, 22, 14, 5, 9, tzinfo=UTC),
    )


def test_a_time_without_offset_is_read_in_the_zone() -> None:
    """To the second, in the view's zone; with an offset the zone does not matter."""
    local = moment_of("2026-11-07 00:00:01", NOW, BERLIN, "from")
    assert local == datetime(2026, 11, 6, 23, 0, 1, tzinfo=UTC)
    assert moment_of("2026-11-07T00:00:01Z", NOW, BERLIN, "from") == datetime(
        2026, 11, 7, 0, 0, 1, tzinfo=UTC
    )


@pytest.mark.parametrize("text", ["yesterday", "now-7y", "now+1h", "2026-13-01", "now-999999w", ""])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    """The message names the text and shows how to write it."""
    with pytest.raises(InvalidParameter, match="now-7d") as refused:
        moment_of(text, NOW, BERLIN, "from")
    assert refused.value.param == "from"


def test_zones() -> None:
    """UTC, an IANA name, the browser's; a browser that names none is taken for UTC."""
    assert zone_of("Asia/Shanghai", "").key == "Asia/Shanghai"
    assert zone_of("browser", "Europe/Berlin") == BERLIN
    assert zone_of("browser", "nonsense").key == "UTC"
    with pytest.raises(InvalidParameter):
        zone_of("Mars/Base", "")


def test_the_precision_suits_the_period() -> None:
    """Unless the address says otherwise."""
    assert PeriodView.of(Address("/monitor/m", {"from": "now-1h"})).precision == "minute"
    assert PeriodView.of(Address("/monitor/m", {"from": "now-7d"})).precision == "hour"
    assert PeriodView.of(Address("/monitor/m", {"from": "now-15d"})).precision == "day"
    assert PeriodView.of(Address("/monitor/m", {"from": "now-1h", "precision": "day"})).precision == "day"


def test_an_unknown_status_asks_for_all() -> None:
    """A link that somebody mistyped still shows tasks."""
    assert TaskView.of(Address("/", {"status": "nope"})).status is None
    assert TaskView.of(Address("/", {"status": "failed"})).status == "Failed"


def test_billing_shows_the_running_month_by_default() -> None:
    """And another one if the address names it."""
    assert BillingView.of(Address("/billing"), "2026-11").month == "2026-11"
    assert BillingView.of(Address("/billing", {"month": "2026-02"}), "2026-11").month == "2026-02"
    assert months_back("2026-02", 4) == ["2026-02", "2026-01", "2025-12", "2025-11"]
