from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metering.access import ADMIN, Access
from metering.budgets import BudgetUse
from metering.errors import TooMany
from metering.metrics import Metrics
from tests.metering.billed import FAILED, NOON, UNMETERED, ended, event
from tests.metering.books import Rig

MILLION = {"input_tokens": 100_000, "output_tokens": 0}
"""A call for 0.04 CNY."""


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.workspace("default", currency="CNY", budget=Decimal("0.10"))
    yield made
    made.store.close()


def running(rig: Rig, task_id: str, *calls: dict[str, Any], **changes: Any) -> None:
    """A task that still runs, with the calls that it has by now."""
    task = ended(task_id, **changes)
    row = {
        "id": task_id,
        "workspace_id": task.workspace_id,
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file",
        "completion_window": "24h",
        "status": "in_progress",
        "model": task.model,
        "currency": task.currency,
        "created_at": datetime(2026, 11, 22, 9, tzinfo=UTC),
        "expires_at": datetime(2026, 11, 23, 9, tzinfo=UTC),
    }
    events = [event(task, n, **call) for n, call in enumerate(calls, 1)]
    rig.store.write(lambda tx: (tx.insert("tasks", [row]), tx.insert("request_events", events)))


def use(rig: Rig) -> BudgetUse:
    (found,) = rig.budgets.uses(ADMIN)
    return found


def test_used_is_the_ledger_and_what_running_tasks_would_cost(rig: Rig) -> None:
    """Rated as if they ended now: by tier and mode, failed and unmetered calls for nothing."""
    rig.task(MILLION)
    running(rig, "batch_r1", MILLION, {**MILLION, **FAILED}, UNMETERED)
    running(rig, "batch_r2", {"input_tokens": 200_000, "output_tokens": 0})
    running(rig, "batch_free", MILLION, model="house", currency=None)
    running(rig, "batch_usd", MILLION, model="tiny", currency="USD")
    found = use(rig)
    assert (found.charged, found.running) == (Decimal("0.04"), Decimal("0.04") + Decimal("0.24"))
    assert (found.used, found.ratio, found.period, found.currency) == (
        Decimal("0.32"),
        Decimal("3.2"),
        "2026-11",
        "CNY",
    )


def test_a_task_counts_once_when_it_has_ended(rig: Rig) -> None:
    """First as running, then as charged: the sum stays the same."""
    running(rig, "batch_r", MILLION)
    before = use(rig)
    task = ended("batch_r")
    rig.store.write(lambda tx: rig.meter.end_task(tx, task, rig.meter.moment(tx)))
    rig.store.write(lambda tx: tx._connection.execute("UPDATE tasks SET status = 'completed'"))
    after = use(rig)
    assert (before.running, after.charged, after.running) == (Decimal("0.04"), Decimal("0.04"), 0)


def test_a_notice_from_80_percent_on(rig: Rig) -> None:
    """Nothing below it; above 100 % it says what that means."""
    rig.task({"input_tokens": 100_000, "output_tokens": 39_999})
    assert rig.budgets.notices(ADMIN) == []
    rig.task({"input_tokens": 0, "output_tokens": 1})
    assert rig.budgets.notices(ADMIN) == ["The default has used 80 % of its budget of 0.1 CNY for 2026-11."]
    rig.budgets.check("default")
    rig.task(MILLION)
    (notice,) = rig.budgets.notices(ADMIN)
    assert "used 120 %" in notice
    assert "New tasks are refused" in notice


def test_at_100_percent_new_tasks_are_refused(rig: Rig) -> None:
    """Exactly there, and running tasks count; the message says until when."""
    rig.task({"input_tokens": 100_000, "output_tokens": 60_000 - 1})
    rig.budgets.check("default")
    running(rig, "batch_r", {"input_tokens": 0, "output_tokens": 1})
    with pytest.raises(TooMany, match="2026-12-01T00:00:00") as refused:
        rig.budgets.check("default")
    assert (refused.value.code, refused.value.status) == ("budget_exceeded", 429)


def test_a_budget_is_of_a_month(rig: Rig) -> None:
    """The next one begins with nothing used; a workspace without one is never limited."""
    rig.task(MILLION, MILLION, MILLION)
    rig.clock.now = datetime(2026, 12, 1, tzinfo=UTC)
    rig.budgets.check("default")
    assert use(rig).used == 0
    rig.workspace("ws_free")
    rig.budgets.check("ws_free")
    rig.budgets.check("ws_none")


def test_a_correction_gives_a_budget_back(rig: Rig) -> None:
    """Used is what the ledger says."""
    rig.task(MILLION, MILLION, MILLION)
    rig.corrections.correct(ADMIN, rig.charges()[0]["charge_id"], "wrong")
    assert use(rig).used == 0


def test_a_workspace_sees_its_own_budget(rig: Rig) -> None:
    """The admin sees all that there are."""
    rig.workspace("ws_a", currency="USD", budget=Decimal(5))
    assert [one.workspace_id for one in rig.budgets.uses(ADMIN)] == ["default", "ws_a"]
    assert [one.workspace_id for one in rig.budgets.uses(Access("ws_a", "key"))] == ["ws_a"]


@pytest.mark.parametrize(
    ("default", "own", "expected"),
    [("USD", "EUR", "EUR"), ("USD", None, "USD"), (None, "EUR", "EUR"), (None, None, None)],
)
def test_the_currency_of_a_budget(
    tmp_path: Path, default: str | None, own: str | None, expected: str | None
) -> None:
    """The workspace's, else the default one, else the price book's only one: here it has two."""
    rig = Rig(tmp_path, currency=default)
    assert rig.budgets.currency_of(own) == expected
    rig.store.close()


def test_the_ratio_is_a_metric(rig: Rig) -> None:
    """Of workspaces that have a budget, running tasks included."""
    rig.workspace("ws_a")
    metrics = Metrics([("qwen-plus", [])], rig.store, "1")
    metrics.watch_budgets(rig.budgets.ratios)
    running(rig, "batch_r", MILLION)
    metrics.refresh()
    text = metrics.render(openmetrics=False)[0].decode()
    assert 'nightrate_budget_used_ratio{workspace="default"} 0.4\n' in text
    assert text.count("nightrate_budget_used_ratio{") == 1
    assert rig.clock() == NOON
