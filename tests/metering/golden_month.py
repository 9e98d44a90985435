"""The golden month: fixed prices and tasks, and every file that finance gets of them, kept to be read.

Run it to write `golden/` anew after a change that is meant: python -m tests.metering.golden_month
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from metering.access import ADMIN
from metering.closing import Closing
from metering.corrections import Corrections, Replacement
from metering.exports import ExportRequest, Exports, focus_schema
from metering.options import BillingOptions
from metering.prices import PriceBook
from metering.statement_page import statement_page
from metering.statements import Statements
from metering.store import Store
from tests.metering.billed import StandingClock, end, ended, event, open_store

FOLDER = Path(__file__).parent / "golden"
OPTIONS = BillingOptions(issuer_name="Example AI", account_id="acct-example", account_name="Example Holding")
FILES = [
    (kind, form, period)
    for period in ("2026-03", "2026-04")
    for kind, form in (
        ("charges", "csv"),
        ("charges", "jsonl"),
        ("usage", "csv"),
        ("events", "csv"),
        ("focus", "csv"),
        ("ledger", "beancount"),
        ("statement", "csv"),
        ("statement", "json"),
        ("statement", "html"),
    )
]
"""March is closed; April is open and corrects March."""


@contextmanager
def golden_ledger(folder: Path) -> Iterator[Store]:
    """The ledger that `golden/tasks.json` and `golden/prices.toml` give."""
    store, clock = open_store(folder), StandingClock(datetime(2026, 3, 1, tzinfo=UTC))
    try:
        _fill(store, clock)
        yield store
    finally:
        store.close()


def _fill(store: Store, clock: StandingClock) -> None:
    given = json.loads((FOLDER / "tasks.json").read_text("utf-8"))
    prices = PriceBook.load(FOLDER / "prices.toml", None, clock)
    prices.remember(store)
    for workspace in given["workspaces"]:
        row = {**workspace, "created_at": clock.now}
        store.write(lambda tx, row=row: tx.insert("workspaces", [row]))  # type: ignore[misc]
    from metering.ending import Meter

    meter = Meter(prices, OPTIONS, clock)
    for month, tasks in given["months"].items():
        for task in tasks:
            _end(store, meter, clock, task)
        if month == "2026-03":
            clock.now = datetime(2026, 4, 2, 9, tzinfo=UTC)
            Closing(store, Statements(store, OPTIONS), meter, OPTIONS, clock).close(ADMIN, month)
    clock.now = datetime(2026, 4, 20, 12, tzinfo=UTC)
    for correction in given["corrections"]:
        _correct(store, Corrections(store, meter, OPTIONS), correction)


def _end(store: Store, meter: Any, clock: StandingClock, given: dict[str, Any]) -> None:
    clock.now = datetime.fromisoformat(given["ended_at"])
    names = ("workspace_id", "model", "currency", "free")
    task = ended(
        given["task_id"],
        in_progress_at=clock.now - timedelta(minutes=30),
        total=len(given["requests"]),
        **{name: given[name] for name in names if name in given},
    )
    began = clock.now - timedelta(minutes=20)
    moments = {"started_at": began, "finished_at": began + timedelta(seconds=1)}
    end(store, meter, task, [event(task, n, **moments, **one) for n, one in enumerate(given["requests"], 1)])


def _correct(store: Store, corrections: Corrections, given: dict[str, Any]) -> None:
    [charge] = [row for row in _charges(store) if all(row[k] == v for k, v in given["charge"].items())]
    replacement = Replacement(**given["replacement"]) if given.get("replacement") else None
    corrections.correct(ADMIN, charge["charge_id"], given["reason"], replacement)


def _charges(store: Store) -> list[dict[str, Any]]:
    with store.reading() as read:
        query = {"workspace_id": None, "period": None, "start": datetime(2000, 1, 1, tzinfo=UTC)}
        return read.query("exports.charges", **query, end=datetime(2100, 1, 1, tzinfo=UTC))


def golden_file(store: Store, kind: str, form: str, period: str) -> bytes:
    """One file of it."""
    if form == "html":
        return statement_page(Statements(store, OPTIONS).of(ADMIN, period)).encode()
    exports = Exports(store, OPTIONS, StandingClock())
    return b"".join(exports.write(ADMIN, ExportRequest(kind, form, period=period)).pieces())


def golden_path(kind: str, form: str, period: str) -> Path:
    """Where it is kept."""
    return FOLDER / f"{kind}-{period}.{form}"


def main() -> None:
    """Writes all files."""
    with tempfile.TemporaryDirectory() as folder, golden_ledger(Path(folder)) as store:
        for kind, form, period in FILES:
            golden_path(kind, form, period).write_bytes(golden_file(store, kind, form, period))
    (FOLDER / "focus-schema.json").write_text(json.dumps(focus_schema(), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
