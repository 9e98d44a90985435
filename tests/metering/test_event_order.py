"""In whatever order and in however many commits the calls of a task come in: the same bill."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.metering.billed import FAILED, UNMETERED, end, ended, event, rows
from tests.metering.books import Rig

CALLS = st.lists(
    st.tuples(
        st.sampled_from([0, 7, 128_000, 128_001, 999_999, 1_000_001]),
        st.integers(0, 10**6),
        st.booleans(),
        st.sampled_from([{}, FAILED, UNMETERED]),
    ),
    min_size=1,
    max_size=10,
)
LEFT_OUT = ("charge_id", "task_id", "recorded_at", "ended_at")


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Rig:
    """One ledger for all examples; each has two tasks of its own."""
    return Rig(tmp_path_factory.mktemp("order"))


@settings(max_examples=20, deadline=None)
@given(CALLS, st.data())
def test_the_order_of_events_changes_nothing(rig: Rig, calls: Any, data: st.DataObject) -> None:
    """Charges, rollup and digests of a task whose events are shuffled and split are those of the orderly one."""
    names = [f"batch_{rig.tasks}_{order}" for order in ("straight", "shuffled")]
    rig.tasks += 1
    shuffled = data.draw(st.permutations(range(len(calls))))
    cut = data.draw(st.integers(0, len(calls)))
    for name, order in zip(names, (range(len(calls)), shuffled), strict=True):
        task = ended(name, total=len(calls))
        made = [
            event(task, n + 1, **({"input_tokens": i, "output_tokens": o, "thinking": t} | kind))
            for n, (i, o, t, kind) in ((n, calls[n]) for n in order)
        ]
        first = made[:cut]
        rig.store.write(lambda tx, first=first: tx.insert("request_events", first))  # type: ignore[misc]
        end(rig.store, rig.meter, task, made[cut:])
    straight, other = (_seen(rig, name) for name in names)
    assert straight == other


def _seen(rig: Rig, task_id: str) -> dict[str, list[str]]:
    """All that the task left, but for its names and moments."""
    return {
        table: sorted(
            str({name: value for name, value in row.items() if name not in LEFT_OUT})
            for row in rows(rig.store, table)
            if row["task_id"] == task_id
        )
        for table in ("charges", "task_rollups", "task_errors", "task_digests")
    }
