"""A dozen and more ways to damage files and database: each is found and named."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.metering.audited import MIXED, TIER_128, Town, chat


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    made.task("batch_a", MIXED)
    yield made
    made.store.close()


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


def test_the_list_of_differences_is_bounded(town: Town) -> None:
    """All are counted, fifty of a task are listed."""
    town.task("batch_many", [chat(1, 1)] * 200)
    town.sql("UPDATE request_events SET input_tokens = 2 WHERE task_id = 'batch_many'")
    report = town.report()
    assert report["difference_count"] == 200
    assert len(report["differences"]) == 50
    assert report["differences_left_off"] == 150
