"""The audit: what is right is proved, what was damaged is found and named (SPEC §5.10)."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from metering.access import ADMIN, Access
from metering.audit import AuditRequest, Progress, Report
from metering.errors import Conflict, Forbidden, NotFound, Refused
from tests.metering.audited import FREE_MODEL, MIXED, THINKING, TIER_128, Town, chat, reasoned, reversal
from tests.metering.billed import NOON


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    made.task("batch_a", MIXED)
    yield made
    made.store.close()


def test_what_is_right_is_verified(town: Town) -> None:
    """Totals, amounts of the ledger, and no difference."""
    town.task("batch_b", [chat(10, 5)], model="tiny", currency="USD")
    report = town.report()
    assert report["totals"] == {"verified": 2, "digest_only": 0, "not_verifiable": 0, "different": 0}
    assert report["differences"] == []
    assert (report["tasks"], report["requests"]) == (2, 8)
    sums = {row["currency"]: row for row in report["amounts"]}
    assert set(sums) == {"CNY", "USD"}
    assert sums["USD"]["amount"] == "0.0000000000125"
    assert [row["verdict"] for row in report["data"]] == ["verified", "verified"]


@pytest.mark.parametrize(
    ("answers", "more"),
    [
        ([{"object": "list", "usage": {"prompt_tokens": 9, "total_tokens": 9}}], {"endpoint": "/v1/embeddings"}),
        ([{"usage": {"input_tokens": 9, "output_tokens": 3, "output_tokens_details": {"reasoning_tokens": 2}}}],
            {"endpoint": "/v1/responses"}),
        ([reasoned(9, 3, "let me think"), reasoned(9, 3, ""), reasoned(9, 3, None)], {}),
        ([chat(5, 5), {"usage": {}}, chat(5, 5, **THINKING | {"completion_tokens": 9})],
            {"model": FREE_MODEL, "currency": None}),
        ([{"usage": {"prompt_tokens": True, "completion_tokens": 1}}, {"usage": {"prompt_tokens": 10**9 + 1,
            "completion_tokens": 1}}, {"usage": {"prompt_tokens": 1, "completion_tokens": -1}}, {},
            chat(1, 1, prompt_tokens_details={"cached_tokens": 2}), chat(1, 1, prompt_tokens_details=None)], {}),
        ([500, 400], {}),
        ([chat(0, 0), None, 400, None], {"status": "expired"}),
        ([None, None], {"status": "cancelled"}),
        ([], {}),
    ],
    ids=["embeddings", "responses", "thinking by content", "free", "unusable usage", "all failed", "expired",
        "cancelled before its first call", "empty"],
)  # fmt: skip
def test_every_kind_of_task_is_verified(town: Town, answers: list[Any], more: dict[str, Any]) -> None:
    """The audit's own reading of usage agrees with what was billed, in every shape."""
    town.task("batch_k", answers, **more)
    assert town.report(task_id="batch_k")["differences"] == []
    assert town.report()["totals"]["verified"] == 2


def test_a_cancel_before_the_start_leaves_nothing_to_find(town: Town) -> None:
    """Neither rollup nor digest is missed."""
    town.task("batch_n", [], status="cancelled")
    town.sql("UPDATE tasks SET in_progress_at = NULL WHERE id = 'batch_n'")
    town.sql("DELETE FROM task_rollups WHERE task_id = 'batch_n'")
    town.sql("DELETE FROM task_digests WHERE task_id = 'batch_n'")
    assert town.report()["totals"]["verified"] == 2


def test_files_deleted_through_the_api_are_no_alarm(town: Town) -> None:
    """The row says so: the events prove the digest."""
    town.sql("UPDATE files SET deleted_at = now() WHERE id = 'file-batch_a-output'")
    town.path("batch_a").unlink()
    assert town.report()["totals"]["digest_only"] == 1
    town.sql("UPDATE request_events SET output_tokens = 21 WHERE line_no = 1")
    assert {("digest", "output_tokens"), ("charge", "quantity")} <= town.found()


def test_expired_files_are_no_alarm(town: Town) -> None:
    """Past its `expires_at` a file may be gone; while it is there, it is read."""
    town.clock.advance(days=31)
    assert town.report()["totals"]["verified"] == 1
    town.path("batch_a").unlink()
    assert town.report()["totals"]["digest_only"] == 1


def test_without_files_and_events_nothing_can_be_verified(town: Town) -> None:
    """Unless charges and digest contradict each other."""
    town.clock.advance(days=401)
    town.sql("DELETE FROM request_events")
    for kind in ("output", "error"):
        town.path("batch_a", kind).unlink()
    assert town.report()["totals"]["not_verifiable"] == 1
    town.sql(f"UPDATE charges SET amount = 5 WHERE {TIER_128}")
    assert town.found() == {("charge", "amount")}


def test_events_that_expired_leave_the_files_as_proof(town: Town) -> None:
    """Lost before their time they are an alarm."""
    town.sql("DELETE FROM request_events")
    assert ("event", "event") in town.found()
    town.clock.advance(days=401)
    town.sql("UPDATE files SET expires_at = NULL")
    assert town.report()["totals"]["verified"] == 1


def test_another_price_than_the_one_in_force_is_found(town: Town) -> None:
    """A version that the price book has and that was valid at the end of the task is the right one."""
    town.store.close()
    later = (NOON - timedelta(hours=1)).isoformat()
    with (town.folder / "prices.toml").open("a") as prices:
        prices.write(f'[[prices]]\nmodel = "qwen-plus"\ncurrency = "CNY"\nvalid_from = {later}\n'
            'tiers = [{ input = "1", output = "1" }]\n')  # fmt: skip
    again = _reopened(town.folder)
    try:
        assert ("charge", "price_id") in again.found() or ("charge", "charge_id") in again.found()
    finally:
        again.store.close()


def _reopened(folder: Path) -> Town:
    from metering.audit import Audit
    from metering.options import BillingOptions
    from metering.prices import PriceBook
    from tests.metering.billed import StandingClock, open_store

    town = Town.__new__(Town)
    town.folder, town.store, town.clock = folder, open_store(folder), StandingClock()
    town.book = PriceBook.load(folder / "prices.toml", None, town.clock)
    rows = [
        {"price_id": p.price_id, "model": p.model, "currency": p.currency, "valid_from": p.valid_from,
         "canonical": p.canonical, "source": None, "now": NOON} for p in town.book.prices
    ]  # fmt: skip
    for row in rows:
        town.store.write(lambda tx, row=row: tx.execute("prices.remember", **row))
    town.audit = Audit(town.store, BillingOptions(), 400, town.book.has, town.clock)
    return town


def test_a_withdrawn_price_is_not_the_one_in_force(town: Town) -> None:
    """It was loaded once, never used, and left the book before the task ended."""
    canonical = '{"currency":"CNY","model":"qwen-plus","tiers":[{"input":"1","output":"1","output_thinking":"1","up_to_input_tokens":null}],"valid_from":"2026-11-01T00:00:00Z"}'
    town.sql(
        "INSERT INTO price_versions SELECT sha256($c), 'qwen-plus', 'CNY', TIMESTAMPTZ '2026-11-01 00:00:00+00', $c, NULL, now()",
        c=canonical,
    )
    assert town.report()["totals"]["verified"] == 1


def test_which_tasks_are_audited(town: Town) -> None:
    """By period of the end or of a correction, by task, by workspace; what is unknown is refused."""
    town.clock.now = NOON + timedelta(days=20)
    town.task("batch_b", [chat(3, 3)], workspace_id="other")
    town.sql("INSERT INTO workspaces (id, name, created_at) VALUES ('other', 'other', now())")
    assert [row["task_id"] for row in town.report(period="2026-11")["data"]] == ["batch_a"]
    assert [row["task_id"] for row in town.report(period="2026-12")["data"]] == ["batch_b"]
    assert [row["task_id"] for row in town.report(workspace_id="other")["data"]] == ["batch_b"]
    assert [row["task_id"] for row in town.report(task_id="batch_a")["data"]] == ["batch_a"]
    assert town.report(period="2025-01")["tasks"] == 0
    town.sql(reversal(period="'2026-12'", recorded_at="TIMESTAMPTZ '2026-12-12 00:00:00+00'"))
    assert town.report(period="2026-12")["totals"]["verified"] == 2
    for asked in ({"task_id": "batch_0"}, {"workspace_id": "nobody"}):
        with pytest.raises(NotFound):
            town.report(**asked)
    with pytest.raises(Refused, match="not a month"):
        town.report(period="2026-13")


def test_only_the_admin_audits_and_once_at_a_time(town: Town) -> None:
    """A second audit is refused while one runs; one that was given up is over."""
    with pytest.raises(Forbidden):
        town.audit.run(Access("default", "key_1"), AuditRequest())
    steps = town.audit.run(ADMIN, AuditRequest())
    assert isinstance(next(steps), Progress)
    with pytest.raises(Conflict):
        town.audit.run(ADMIN, AuditRequest())
    del steps
    *progress, last = town.audit.run(ADMIN, AuditRequest())
    assert isinstance(last, Report)
    done = [step for step in progress if isinstance(step, Progress)][-1]
    assert (done.tasks, done.tasks_total) == (1, 1)
    assert done.bytes == done.bytes_total > 0
