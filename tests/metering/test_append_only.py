"""The ledger only grows (SPEC §2.6): nothing that the service can say changes or removes a charge."""

import re
from pathlib import Path

from metering.queries import load_queries

ROOT = Path(__file__).parents[2]
ROOMS = ("metering", "executor", "dashboard", "nightrate")
GROWS = ("charges", "statements", "billing_periods", "task_digests", "task_rollups")
CHANGE = r"\b(UPDATE|DELETE\s+FROM|TRUNCATE(\s+TABLE)?|DROP\s+TABLE(\s+IF\s+EXISTS)?|ALTER\s+TABLE|INSERT\s+OR\s+REPLACE\s+INTO|CREATE\s+OR\s+REPLACE\s+TABLE|MERGE\s+INTO)\s+(main\.|\w+\.main\.)?\"?({tables})\b"
FORBIDDEN = re.compile(CHANGE.replace("{tables}", "|".join(GROWS)), re.IGNORECASE)
UPSERT = re.compile(
    r"INSERT\s+INTO\s+(main\.)?\"?(" + "|".join(GROWS) + r")\b[^;]*ON\s+CONFLICT", re.IGNORECASE
)


def without_comments(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql)


def sources() -> list[Path]:
    return sorted(file for room in ROOMS for kind in ("*.py", "*.sql") for file in (ROOT / room).rglob(kind))


def test_no_statement_changes_or_removes_what_only_grows() -> None:
    """In no SQL file, migrations included, and in no text within code."""
    files = sources()
    assert {file.name for file in files} >= {"ending.sql", "0001_tables.sql", "store.py"}
    wrong = [
        f"{file.relative_to(ROOT)}: {found[0]}"
        for file in files
        for expression in (FORBIDDEN, UPSERT)
        for found in expression.finditer(without_comments(file.read_text("utf-8")))
    ]
    assert not wrong, wrong


def test_the_search_would_find_one() -> None:
    """Each way to change or remove a row, in whatever case and spacing."""
    for sql in (
        "update charges set amount = 0",
        "DELETE  FROM\n charges",
        "TRUNCATE charges",
        "DROP TABLE IF EXISTS charges",
        'UPDATE main."charges" SET x = 1',
        "INSERT OR REPLACE INTO charges VALUES (1)",
        "MERGE INTO charges USING incoming",
    ):
        assert FORBIDDEN.search(sql), sql
    assert UPSERT.search("INSERT INTO charges\nSELECT 1 ON CONFLICT DO UPDATE SET amount = 0")
    assert not FORBIDDEN.search("UPDATE tasks SET amount = (SELECT sum(amount) FROM charges)")


def test_no_statement_is_put_together_from_a_tables_name() -> None:
    """Only one file builds SQL from a name, and only to insert; every other block is whole in its file."""
    built = re.compile(r"f\"[^\"]*\b(UPDATE|DELETE|DROP|ALTER|TRUNCATE|INSERT)\b", re.IGNORECASE)
    found = [
        (file.relative_to(ROOT).as_posix(), hit[0])
        for file in sources()
        if file.suffix == ".py"
        for hit in built.finditer(file.read_text("utf-8"))
    ]
    assert set(found) == {("metering/connection.py", 'f"INSERT')}


def test_every_block_that_writes_charges_is_known() -> None:
    """None does: charges are inserted by the meter and by corrections, at the store's insert."""
    writing = [
        name
        for name, query in load_queries(("metering", "executor", "nightrate")).items()
        if re.search(r"\bINTO\s+charges\b", without_comments(query.text), re.IGNORECASE)
    ]
    assert writing == []
    inserting = {
        file.relative_to(ROOT).as_posix()
        for file in sources()
        if file.suffix == ".py" and re.search(r"insert\(\s*\"charges\"", file.read_text("utf-8"))
    }
    assert inserting == {"metering/ending.py", "metering/corrections.py"}
