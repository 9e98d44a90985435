"""The audit: what is right is proved, what was damaged is found and named (SPEC §5.10)."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metering.access import ADMIN, Access
from metering.audit import AuditRequest, Progress, Report
from metering.errors import Conflict, Forbidden, NotFound, Refused
from tests.metering.audited import FREE_MODEL, Town, chat, reasoned
from tests.metering.billed import NOON

THINKING = {"completion_tokens_details": {"reasoning_tokens": 7}}
CACHED = {"prompt_tokens_details": {"cached_tokens": 100}}
MIXED: list[Any] = [
    chat(1000, 20),
    chat(128_000, 30, **CACHED),
    chat(128_001, 40),
    chat(2_000_000, 50),
    chat(500, 60, **THINKING),
    400,
    {"choices": [], "usage": None},
]
"""Four tiers' borders, thinking, a failure and an unmetered answer."""


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


TIER_128 = "task_id = 'batch_a' AND sku = 'input_tokens' AND tier = '128000' AND mode = 'standard'"
DAMAGE: dict[str, tuple[Callable[[Town], None], set[tuple[str, str]]]] = {
    "a line removed": (
        lambda t: t.path("batch_a").write_bytes(
            b"".join(t.path("batch_a").read_bytes().splitlines(True)[1:])
        ),
        {("result_file", "sha256"), ("result_file", "bytes"), ("result_file", "line")},
    ),
    "a line doubled": (
        lambda t: t.path("batch_a").write_bytes(
            t.path("batch_a").read_bytes() + t.path("batch_a").read_bytes().splitlines(True)[0]
        ),
        {("result_file", "sha256"), ("result_file", "bytes"), ("result_file", "id")},
    ),
    "a token changed in a line": (
        lambda t: t.edit("batch_a", b'"prompt_tokens": 1000', b'"prompt_tokens": 1001'),
        {("result_file", "sha256"), ("result_file", "input_tokens")},
    ),
    "a byte changed": (
        lambda t: t.edit("batch_a", b'"hi"', b'"ho"'),
        {("result_file", "sha256")},
    ),
    "a line made unreadable": (
        lambda t: t.edit("batch_a", b'{"id"', b'!"id"'),
        {("result_file", "sha256"), ("result_file", "line")},
    ),
    "the result file cut off": (
        lambda t: t.path("batch_a").write_bytes(t.path("batch_a").read_bytes()[:-20]),
        {("result_file", "bytes"), ("result_file", "sha256"), ("result_file", "line")},
    ),
    "the result file lost": (lambda t: t.path("batch_a").unlink(), {("result_file", "file")}),
    "the error file lost": (lambda t: t.path("batch_a", "error").unlink(), {("error_file", "file")}),
    "the error file changed": (
        lambda t: t.edit("batch_a", b'"c6"', b'"c7"', "error"),
        {("error_file", "sha256"), ("error_file", "custom_id")},
    ),
    "an amount": (
        lambda t: t.sql(f"UPDATE charges SET amount = amount + 0.000001 WHERE {TIER_128}"),
        {("charge", "amount")},
    ),
    "a list amount": (
        lambda t: t.sql(f"UPDATE charges SET list_amount = 0 WHERE {TIER_128}"),
        {("charge", "list_amount")},
    ),
    "a quantity": (
        lambda t: t.sql(f"UPDATE charges SET quantity = quantity - 1 WHERE {TIER_128}"),
        {("charge", "quantity")},
    ),
    "a unit price": (
        lambda t: t.sql(f"UPDATE charges SET unit_price = list_unit_price WHERE {TIER_128}"),
        {("charge", "unit_price")},
    ),
    "a price id": (
        lambda t: t.sql(f"UPDATE charges SET price_id = 'ff' WHERE {TIER_128}"),
        {("charge", "price_id")},
    ),
    "a count of requests": (
        lambda t: t.sql(f"UPDATE charges SET requests = 9 WHERE {TIER_128}"),
        {("charge", "requests")},
    ),
    "a tier": (
        lambda t: t.sql(f"UPDATE charges SET tier = '256000' WHERE {TIER_128}"),
        {("charge", "tier")},
    ),
    "a mode": (
        lambda t: t.sql(f"UPDATE charges SET mode = 'thinking' WHERE {TIER_128}"),
        {("charge", "mode")},
    ),
    "a period": (
        lambda t: t.sql(f"UPDATE charges SET period = '2026-10' WHERE {TIER_128}"),
        {("charge", "period")},
    ),
    "a workspace": (
        lambda t: t.sql(f"UPDATE charges SET workspace_id = 'other' WHERE {TIER_128}"),
        {("charge", "workspace_id")},
    ),
    "a charge missing": (
        lambda t: t.sql(f"DELETE FROM charges WHERE {TIER_128}"),
        {("charge", "charge_id")},
    ),
    "a charge doubled under another id": (
        lambda t: t.sql(
            f"INSERT INTO charges SELECT * REPLACE ('chg_2' AS charge_id) FROM charges WHERE {TIER_128}"
        ),
        {("charge", "charge_id")},
    ),
    "a charge's id": (
        lambda t: t.sql(f"UPDATE charges SET charge_id = 'chg_x' WHERE {TIER_128}"),
        {("charge", "charge_id")},
    ),
    "a charge of no task": (
        lambda t: t.sql(f"UPDATE charges SET task_id = 'batch_zz' WHERE {TIER_128}"),
        {("charge", "charge_id"), ("charge", "task_id")},
    ),
    "an event missing": (
        lambda t: t.sql("DELETE FROM request_events WHERE task_id = 'batch_a' AND line_no = 3"),
        {("event", "event")},
    ),
    "an event's tokens": (
        lambda t: t.sql("UPDATE request_events SET output_tokens = 21 WHERE line_no = 1"),
        {("event", "output_tokens")},
    ),
    "an event's cached tokens": (
        lambda t: t.sql("UPDATE request_events SET cached_input_tokens = 3 WHERE line_no = 2"),
        {("event", "cached_input_tokens")},
    ),
    "an event's mode": (
        lambda t: t.sql("UPDATE request_events SET thinking = true WHERE line_no = 1"),
        {("event", "thinking")},
    ),
    "an event twice": (
        lambda t: t.sql("INSERT INTO request_events SELECT * FROM request_events WHERE line_no = 1"),
        {("event", "line_no")},
    ),
    "an event's outcome": (
        lambda t: t.sql("UPDATE request_events SET outcome = 'failed' WHERE line_no = 7"),
        {("event", "outcome")},
    ),
    "an event's workspace": (
        lambda t: t.sql("UPDATE request_events SET workspace_id = 'other' WHERE line_no = 7"),
        {("event", "workspace_id, api_key_id, model")},
    ),
    "a digest's sum": (
        lambda t: t.sql(
            "UPDATE task_digests SET input_tokens = 1 WHERE tier = '128000' AND mode = 'standard'"
        ),
        {("digest", "input_tokens")},
    ),
    "a digest missing": (
        lambda t: t.sql("DELETE FROM task_digests WHERE tier = 'unmetered'"),
        {("digest", "tier")},
    ),
    "a digest's SHA-256": (
        lambda t: t.sql("UPDATE task_digests SET output_sha256 = 'ab'"),
        {("digest", "output_sha256")},
    ),
    "the file row's SHA-256": (
        lambda t: t.sql("UPDATE files SET sha256 = 'ab' WHERE id = 'file-batch_a-output'"),
        {("file", "sha256")},
    ),
    "the task's SHA-256": (
        lambda t: t.sql("UPDATE tasks SET output_sha256 = 'ab'"),
        {("task", "output_sha256")},
    ),
    "the file's row lost": (
        lambda t: t.sql("DELETE FROM files WHERE id = 'file-batch_a-output'"),
        {("file", "id")},
    ),
    "the task's amount": (lambda t: t.sql("UPDATE tasks SET amount = 0"), {("task", "amount")}),
    "the task's length": (lambda t: t.sql("UPDATE tasks SET output_bytes = 3"), {("task", "output_bytes")}),
    "the task's counts": (
        lambda t: t.sql("UPDATE tasks SET completed = 1, total = 99"),
        {("task", "completed"), ("task", "total")},
    ),
    "the rollup's tokens": (
        lambda t: t.sql("UPDATE task_rollups SET reasoning_tokens = 8, amount = 1"),
        {("rollup", "reasoning_tokens"), ("rollup", "amount")},
    ),
    "the rollup lost": (lambda t: t.sql("DELETE FROM task_rollups"), {("rollup", "task_id")}),
    "the price's text": (
        lambda t: t.sql("UPDATE price_versions SET canonical = replace(canonical, '0.8', '0.9')"),
        {("price", "canonical")},
    ),
    "the price lost": (lambda t: t.sql("DELETE FROM price_versions"), {("price", "price_id")}),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_and_named(town: Town, name: str) -> None:
    """The place and the column of what was changed are among the differences, and the other task is not."""
    town.task("batch_b", [chat(3, 3)], model="tiny", currency="USD")
    damage, places = DAMAGE[name]
    damage(town)
    report = town.report()
    assert places <= {(one["place"], one["column"]) for one in report["differences"]}, report["differences"]
    assert report["totals"]["different"] >= 1
    wide = "digest" in name or "task's" in name or "rollup" in name or "event" in name or "price" in name
    blamed = {one["task_id"] for one in report["differences"]}
    assert wide or blamed <= {"batch_a", "batch_zz"}
    assert all(one["message"] and one["column"] for one in report["differences"])


def test_one_thing_wrong_is_one_difference(town: Town) -> None:
    """A changed amount is named once, with its charge, what was expected and what was found."""
    town.sql(f"UPDATE charges SET amount = 5 WHERE {TIER_128}")
    report = town.report()
    [one] = report["differences"]
    assert (one["expected"], one["found"], one["column"]) == ("0.0516", "5", "amount")
    assert one["id"].startswith("chg_")
    assert one["id"] in one["message"]


def test_a_changed_line_is_named_by_its_number(town: Town) -> None:
    """Line of the file, column, both figures."""
    town.edit("batch_a", b'"completion_tokens": 40', b'"completion_tokens": 41')
    lines = [one for one in town.report()["differences"] if one["column"] == "output_tokens" and one["line"]]
    [one] = lines
    assert (one["place"], one["line"], one["expected"], one["found"]) == ("result_file", 4, "40", "41")


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


def reversal(**changes: Any) -> str:
    """The SQL that reverses the charge of the first tier, with something else in it."""
    columns = {
        name: f"-{name}" for name in ("requests", "quantity", "list_amount", "discount_amount", "amount")
    }
    columns |= {
        "kind": "'correction'",
        "corrects": "charge_id",
        "reason": "'a test'",
        "author_key_id": "'admin'",
    }
    columns["charge_id"] = "'chg_' || sha256('[\"reversal\",\"' || charge_id || '\"]')[:40]"
    columns |= changes
    replaced = ", ".join(f"{value} AS {name}" for name, value in columns.items())
    return (
        f"INSERT INTO charges SELECT * REPLACE ({replaced}) FROM charges WHERE {TIER_128} AND kind = 'usage'"
    )


REPLACEMENT: dict[str, str] = {
    "charge_id": "'chg_' || sha256('[\"replacement\",\"' || charge_id || '\"]')[:40]",
    "requests": "requests",
    "quantity": "quantity",
    "list_unit_price": "0.4",
    "unit_price": "0.2",
    "list_amount": "quantity * 0.4 / 1000000",
    "discount_amount": "quantity * 0.2 / 1000000",
    "amount": "quantity * 0.2 / 1000000",
}
EXACT = {
    name: f"CAST({REPLACEMENT[name]} AS DECIMAL(38, 15))"
    for name in ("list_amount", "discount_amount", "amount")
}


def test_a_reversal_and_its_replacement_are_right(town: Town) -> None:
    """Exact negation; the replacement by its own unit price. The ledger's amounts hold both."""
    town.sql(reversal())
    town.sql(reversal(**REPLACEMENT | EXACT))
    report = town.report()
    assert report["differences"] == []
    [sums] = report["amounts"]
    before = Decimal(sums["amount"])
    town.sql(reversal(charge_id="'chg_other'"))
    assert before - Decimal(town.report()["amounts"][0]["amount"]) == Decimal("0.0516")


@pytest.mark.parametrize(
    ("damage", "column"),
    [
        ({"amount": "-amount + 0.000001"}, "amount"),
        ({"quantity": "-quantity + 1"}, "quantity"),
        ({"requests": "0"}, "requests"),
        ({"unit_price": "1"}, "unit_price"),
        ({"tier": "'all'"}, "tier"),
        ({"workspace_id": "'other'"}, "workspace_id"),
        ({"corrects": "'chg_none'"}, "corrects"),
        ({"period": "'2026-01'"}, "period"),
        ({"recorded_at": "recorded_at - INTERVAL 1 DAY"}, "recorded_at"),
        (REPLACEMENT | EXACT, "corrects"),
        ({"kind": "'gift'"}, "kind"),
    ],
)
def test_a_wrong_correction_is_named(town: Town, damage: dict[str, str], column: str) -> None:
    """A reversal that does not negate, or corrects nothing; a replacement of what was not reversed."""
    town.sql(reversal(**damage))
    assert column in {one["column"] for one in town.report()["differences"]}


def test_a_second_reversal_is_named(town: Town) -> None:
    """Under whatever id."""
    town.sql(reversal())
    town.sql(reversal(charge_id="'chg_second'"))
    assert ("correction", "corrects") in town.found()


def test_a_wrong_replacement_is_named(town: Town) -> None:
    """It must be priced by its own unit price."""
    town.sql(reversal())
    town.sql(reversal(**REPLACEMENT | EXACT | {"amount": "0.3"}))
    assert town.found() == {("correction", "amount")}


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


def test_the_list_of_differences_is_bounded(town: Town) -> None:
    """All are counted, fifty of a task are listed."""
    town.task("batch_many", [chat(1, 1)] * 200)
    town.sql("UPDATE request_events SET input_tokens = 2 WHERE task_id = 'batch_many'")
    report = town.report()
    assert report["difference_count"] == 200
    assert len(report["differences"]) == 50
    assert report["differences_left_off"] == 150
