"""What the audit may use: no code of the billing, and no more memory than a window of lines."""

import ast
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from metering.access import ADMIN
from metering.audit import AuditRequest, Report
from metering.audit import by_line as by_line_module
from metering.audit import events as events_module
from tests.metering.audited import Town, chat

METERING = Path(__file__).parents[2] / "metering"
BILLING = {"rating", "usage", "ending", "price", "prices", "money", "ledger", "corrections", "statement"}
FILE_BYTES = 200 * 2**20
PEAK_BYTES = 48 * 2**20


def imported(file: Path) -> set[str]:
    """The modules that a file imports, by their full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def test_the_audit_shares_no_code_with_billing() -> None:
    """Nothing of it imports rating, usage or what they are made of, and none of those imports it."""
    for file in sorted((METERING / "audit").glob("*.py")):
        shared = {name for name in imported(file) if name.removeprefix("metering.").split(".")[0] in BILLING}
        assert not shared, (file.name, shared)
    for name in BILLING:
        assert not {one for one in imported(METERING / f"{name}.py") if "audit" in one}, name


def test_its_sql_is_its_own() -> None:
    """It runs named statements of audit.sql alone."""
    text = "".join(file.read_text("utf-8") for file in (METERING / "audit").glob("*.py"))
    others = {file.stem for file in (METERING / "sql").glob("*.sql")} - {"audit"}
    assert not [name for name in others if f'"{name}.' in text]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    made = Town(tmp_path)
    yield made
    made.store.close()


def test_a_large_file_is_audited_in_bounded_memory(town: Town) -> None:
    """200 MB of results, 4,000 lines, one of them wrong: no more than 48 MB of Python's memory."""
    body = chat(7, 3)
    body["choices"][0]["message"]["content"] = "x" * (FILE_BYTES // 4_000)
    town.task("batch_large", [body] * 4_000)
    assert town.path("batch_large").stat().st_size >= FILE_BYTES
    town.sql("UPDATE request_events SET output_tokens = 4 WHERE line_no = 3210")
    tracemalloc.start()
    try:
        *_, report = town.audit.run(ADMIN, AuditRequest())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(report, Report)
    [one] = report.listed
    assert (one.place, one.line, one.column, one.expected, one.found) == (
        "event",
        3210,
        "output_tokens",
        "3",
        "4",
    )
    assert peak < PEAK_BYTES, peak


def test_windows_leave_nothing_out(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are: what is missing, doubled and changed is found once each."""
    monkeypatch.setattr(by_line_module, "COMPARE_ROWS", 3)
    monkeypatch.setattr("metering.audit.task_audit.TALLY_ROWS", 4)
    town.task("batch_w", [chat(1, 1)] * 20 + [400] * 5)
    assert town.report()["differences"] == []
    town.sql("DELETE FROM request_events WHERE line_no IN (1, 20, 25)")
    town.sql("INSERT INTO request_events SELECT * FROM request_events WHERE line_no IN (4, 6)")
    town.sql("UPDATE request_events SET line_no = 99 WHERE line_no = 9")
    found = {(one["column"], one["line"]) for one in town.report()["differences"]}
    assert found == {
        ("event", 1),
        ("event", 9),
        ("event", 20),
        ("event", 25),
        ("event", 99),
        ("line_no", 4),
        ("line_no", 6),
    }


def test_windows_hold_every_event_once(town: Town) -> None:
    """Doubled lines at a border are not cut apart."""
    town.task("batch_w", [chat(1, 1)] * 10)
    town.sql("INSERT INTO request_events SELECT * FROM request_events WHERE line_no IN (3, 4)")
    lines = [
        call.line_no
        for after, last in events_module.windows(town.store, "batch_w", 3)
        for call in events_module.calls(town.store, "batch_w", after, last)
    ]
    assert sorted(lines) == [1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9, 10]
