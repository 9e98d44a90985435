"""From a charge to the calls that it counts: the same tokens, call by call."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering.access import ADMIN, Access
from metering.calls import CallPart, Calls, CallSums
from metering.price_list import PriceList
from tests.metering.billed import FAILED, UNMETERED
from tests.metering.books import Rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """One ledger for all tests here; each has tasks of its own."""
    return Rig(tmp_path_factory.mktemp("calls"))


COUNTS = st.sampled_from([0, 1, 128_000, 128_001, 256_000, 256_001, 1_000_000, 1_000_001])
CALLS = st.lists(st.tuples(COUNTS, st.integers(0, 9), st.booleans()), max_size=8)


@settings(max_examples=20, deadline=None)
@given(CALLS)
def test_every_charge_is_the_sum_of_its_calls(rig: Rig, made: list[tuple[int, int, bool]]) -> None:
    """On and beside every bound, in both modes; failed and unmetered calls are in none."""
    calls = [{"input_tokens": i, "output_tokens": o, "thinking": t} for i, o, t in made]
    task = rig.task(*calls, FAILED, UNMETERED)
    found, prices = Calls(rig.store), PriceList(rig.store, rig.prices, rig.clock)
    counted = 0
    for charge in rig.charges(task_id=task):
        price = prices.price(charge["price_id"])
        assert price is not None
        part = CallPart.of_charge(price, charge["tier"], charge["mode"])
        sums = found.sums(ADMIN, task, part)
        assert charge["quantity"] == getattr(sums, charge["sku"])
        listed = found.page(ADMIN, task, part, limit=100).data
        assert sum(call[charge["sku"]] for call in listed) == charge["quantity"]
        if charge["sku"] == "input_tokens":
            assert (sums.calls, len(listed)) == (charge["requests"], charge["requests"])
            counted += sums.calls
    assert counted == len(made)
    assert found.sums(ADMIN, task, CallPart()).calls == len(made) + 2


def test_pages_follow_the_lines(rig: Rig) -> None:
    """Each call once, whatever the size of a page."""
    task, found = rig.task({}, {}, {}, FAILED, {}), Calls(rig.store)
    seen: list[int] = []
    while True:
        page = found.page(ADMIN, task, CallPart(), after=seen[-1] if seen else 0, limit=2)
        seen += [call["line_no"] for call in page.data]
        if not page.has_more:
            break
    assert seen == [1, 2, 3, 4, 5]


def test_nobody_sees_calls_of_others_or_of_running_tasks(rig: Rig) -> None:
    """As if they were not there."""
    task, found = rig.task(workspace_id="ws_a"), Calls(rig.store)
    assert found.sums(Access("ws_a", "key"), task, CallPart()).calls == 1
    assert found.sums(Access("ws_b", "key"), task, CallPart()) == CallSums(0, 0, 0, 0, 0)
    assert found.page(Access("ws_b", "key"), task, CallPart()).data == []
    assert found.page(ADMIN, "batch_unknown", CallPart()).data == []
