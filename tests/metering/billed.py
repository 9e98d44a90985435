"""Doubles for the tests of billing: a clock that stands still, a small price book, events and ended tasks."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from metering.ending import EndedTask, Meter, TaskBill
from metering.event import Event
from metering.options import BillingOptions, StorageOptions
from metering.prices import PriceBook
from metering.store import Store

NOON = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)

BOOK = """
[[prices]]
model = "qwen-plus"
currency = "CNY"
valid_from = 2026-02-24T00:00:00Z
source = "list"
tiers = [
  { up_to_input_tokens = 128000,  input = "0.8", output = "2",  output_thinking = "8" },
  { up_to_input_tokens = 256000,  input = "2.4", output = "20", output_thinking = "24" },
  { up_to_input_tokens = 1000000, input = "4.8", output = "48", output_thinking = "64" },
]

[[prices]]
model = "tiny"
currency = "USD"
valid_from = 2026-01-01T00:00:00Z
tiers = [{ input = "0.000001", output = "0.000003" }]
"""


class StandingClock:
    """A clock that is moved by hand."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> None:
        self.now += timedelta(**by)


def open_store(folder: Path) -> Store:
    return Store(StorageOptions(data_dir=folder), packages=("metering",))


def book(
    folder: Path, text: str = BOOK, clock: StandingClock | None = None, currency: str | None = None
) -> PriceBook:
    path = folder / "prices.toml"
    path.write_text(text, "utf-8")
    return PriceBook.load(path, currency, clock or StandingClock())


def event(task: EndedTask, line_no: int, **changes: Any) -> Event:
    began = NOON - timedelta(minutes=5)
    plain = Event(
        task_id=task.task_id,
        line_no=line_no,
        custom_id=f"c{line_no}",
        workspace_id=task.workspace_id,
        api_key_id=task.api_key_id,
        model=task.model,
        endpoint="/v1/chat/completions",
        outcome="succeeded",
        status_code=200,
        error_code=None,
        finish_reason="stop",
        unmetered=False,
        attempts=1,
        rate_limited_attempts=0,
        input_tokens=10,
        cached_input_tokens=0,
        output_tokens=5,
        reasoning_tokens=0,
        thinking=False,
        started_at=began,
        first_token_at=None,
        finished_at=began + timedelta(seconds=1),
        duration_ms=1000.0,
        first_token_ms=None,
        total_ms=1000.0,
        upstream="http://127.0.0.1:9000/v1",
    )
    return msgspec.structs.replace(plain, **changes)


NO_TOKENS: dict[str, Any] = {
    "input_tokens": None,
    "cached_input_tokens": None,
    "output_tokens": None,
    "reasoning_tokens": None,
}
FAILED: dict[str, Any] = {"outcome": "failed", "status_code": 500, "error_code": "server_error", **NO_TOKENS}
UNMETERED: dict[str, Any] = {"unmetered": True, **NO_TOKENS}


def ended(task_id: str = "batch_1", **changes: Any) -> EndedTask:
    plain = EndedTask(
        task_id=task_id,
        workspace_id="default",
        api_key_id="key_1",
        model="qwen-plus",
        currency="CNY",
        free=False,
        status="completed",
        in_progress_at=NOON - timedelta(minutes=10),
        total=1,
        output_sha256="ab" * 32,
        error_sha256=None,
    )
    return replace(plain, **changes)


def end(store: Store, meter: Meter, task: EndedTask, events: list[Event]) -> TaskBill:
    """Commits a task's events, then ends it as the engine does."""
    store.write(lambda tx: tx.insert("request_events", events))
    return store.write(lambda tx: meter.end_task(tx, task, meter.moment(tx)))


def meter(prices: PriceBook, clock: StandingClock | None = None, zone: str = "UTC") -> Meter:
    return Meter(prices, BillingOptions(timezone=zone), clock or StandingClock())


def rows(store: Store, table: str) -> list[dict[str, Any]]:
    """A whole table, as another program would read it."""
    result = store.write(
        lambda tx: tx._connection.execute(f"SELECT * FROM {table}").to_arrow_table().to_pylist()
    )
    assert isinstance(result, list)
    return result


def oracle(quantity: int, list_unit_price: Decimal) -> tuple[Fraction, Fraction]:
    """List amount and amount of so many tokens, by another arithmetic."""
    listed = Fraction(quantity) * Fraction(list_unit_price) / 1_000_000
    return listed, listed / 2
