"""What the transaction that ends a task adds to the ledger: charges, rollup, error counts, digests.

Everything is computed from the task's events inside that transaction, and dated by the moment that
`Meter.moment` gives in it (SPEC §2.4, §4 Ending, §5).
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from metering.clock import Clock
from metering.histogram import SQL_PARAMETERS
from metering.money import EXACT, ZERO
from metering.options import BillingOptions
from metering.price import Price, instant
from metering.prices import PriceBook
from metering.rating import RatedLine, UsageGroup, UsageLine, rate, usage_charge_id, usage_lines
from metering.store import Row, Transaction

FREE_TIER = "free"
"""The digest's tier for metered requests of a free model."""
UNMETERED_TIER = "unmetered"
"""The digest's tier for delivered requests without usable usage."""
EMPTY_TIER = "none"
"""The digest's tier for a task of which nothing succeeded: its files are proved all the same."""


class NoPriceInForce(Exception):
    """A task that must be charged has no price at its end; nothing of it was written."""

    def __init__(self, task_id: str, model: str, currency: str | None, at: datetime) -> None:
        self.task_id, self.model, self.currency, self.at = task_id, model, currency, at
        super().__init__(
            f"task {task_id} can't be charged: model {model!r} has no price in {currency} at {instant(at)}; "
            "add it to the price book and start again"
        )


@dataclass(frozen=True, slots=True)
class EndedTask:
    """A task whose files are closed and whose events are all committed."""

    task_id: str
    workspace_id: str
    api_key_id: str | None
    model: str
    currency: str | None
    """Fixed when the task was created; none for a free model."""
    free: bool
    status: str
    """`completed`, `expired` or `cancelled`."""
    in_progress_at: datetime | None
    total: int
    """Requests of the input file."""
    output_sha256: str | None
    error_sha256: str | None


@dataclass(frozen=True, slots=True)
class TaskBill:
    """The sums of a task. Tokens are of metered requests."""

    list_amount: Decimal
    amount: Decimal
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    succeeded: int
    """Unmetered ones among them."""
    failed: int
    unmetered: int


class Meter:
    """Rates ended tasks. Every method runs inside a transaction of the writer."""

    def __init__(self, prices: PriceBook, billing: BillingOptions, clock: Clock) -> None:
        self._prices, self._zone, self._clock = prices, billing.zone, clock

    def moment(self, tx: Transaction) -> datetime:
        """The `ended_at` and `recorded_at` of what this transaction ends; it never goes back.

        The latest of now, the last moment given and the end of the last closed period.
        """
        row = tx.one("ending.last_moment")
        now = self._clock().astimezone(UTC)
        at: datetime = now if row is None else max(now, row["at"].astimezone(UTC))
        tx.execute("ending.set_moment", at=at)
        return at

    def end_task(self, tx: Transaction, task: EndedTask, ended_at: datetime) -> TaskBill:
        """Enters a task into the ledger and its statistics; a task that was entered already is left as it is.

        Raises `NoPriceInForce` if something must be charged and no price is in force at `ended_at`.
        """
        if (entered := tx.one("ending.existing_bill", task_id=task.task_id)) is not None:
            return TaskBill(**entered)
        tx.execute("ending.gather", task_id=task.task_id, **SQL_PARAMETERS)
        groups = [UsageGroup(**row) for row in tx.query("ending.usage_groups")]
        price = self._price(task, ended_at) if groups and not task.free else None
        lines = usage_lines(price, groups) if price else _free_lines(groups)
        rated = rate(price, lines) if price else []
        if price:
            tx.insert("charges", [self._charge(task, price, line, ended_at) for line in rated])
        measured = tx.one("ending.measured") or {}
        bill = _bill(measured, rated)
        tx.insert("task_rollups", [_rollup(task, measured, bill, ended_at)])
        if bill.failed:
            tx.execute("ending.insert_errors", **asdict(task), ended_at=ended_at)
        tx.insert("task_digests", _digests(task, lines, bill))
        tx.execute("ending.forget")
        return bill

    def _price(self, task: EndedTask, at: datetime) -> Price:
        price = self._prices.in_force(task.model, task.currency, at) if task.currency else None
        if price is None:
            raise NoPriceInForce(task.task_id, task.model, task.currency, at)
        return price

    def _charge(self, task: EndedTask, price: Price, line: RatedLine, ended_at: datetime) -> dict[str, Any]:
        return {
            "charge_id": usage_charge_id(task.task_id, price.price_id, line),
            "kind": "usage",
            "task_id": task.task_id,
            "workspace_id": task.workspace_id,
            "api_key_id": task.api_key_id,
            "model": task.model,
            **{field.name: getattr(line, field.name) for field in fields(line)},
            "currency": price.currency,
            "ended_at": ended_at,
            "recorded_at": ended_at,
            "period": ended_at.astimezone(self._zone).strftime("%Y-%m"),
            "price_id": price.price_id,
        }


def _bill(measured: Row, rated: Sequence[RatedLine]) -> TaskBill:
    listed = amount = ZERO
    for line in rated:
        listed = EXACT.add(listed, line.list_amount)
        amount = EXACT.add(amount, line.amount)
    counts = {field.name: measured[field.name] for field in fields(TaskBill) if field.name in measured}
    return TaskBill(list_amount=listed, amount=amount, **counts)


def _rollup(task: EndedTask, measured: Row, bill: TaskBill, ended_at: datetime) -> Row:
    """The row of `task_rollups`: what was measured of the calls, with the histograms as two lists each."""
    row = dict(measured)
    for kind in ("duration", "first_token"):
        histogram = row.pop(f"{kind}s") or {}
        row[f"{kind}_buckets"], row[f"{kind}_counts"] = list(histogram), list(histogram.values())
    began = task.in_progress_at or ended_at
    return row | {
        "task_id": task.task_id,
        "workspace_id": task.workspace_id,
        "api_key_id": task.api_key_id,
        "model": task.model,
        "currency": task.currency,
        "status": task.status,
        "ended_at": ended_at,
        "running_ms": max(0.0, (ended_at - began).total_seconds() * 1000),
        "total": task.total,
        "free_requests": bill.succeeded - bill.unmetered if task.free else 0,
        "timed_output_tokens": bill.output_tokens,
        "list_amount": bill.list_amount,
        "amount": bill.amount,
    }


def _free_lines(groups: Sequence[UsageGroup]) -> list[UsageLine]:
    """The usage of a free model by mode: proved by digests, never charged."""
    lines = []
    for mode, thinking in (("standard", False), ("thinking", True)):
        of_mode = [group for group in groups if group.thinking is thinking]
        if of_mode:
            requests = sum(group.requests for group in of_mode)
            inputs = sum(group.input_tokens * group.requests for group in of_mode)
            outputs = sum(group.output_tokens for group in of_mode)
            lines.append(UsageLine(FREE_TIER, mode, requests, inputs, outputs))  # type: ignore[arg-type]
    return lines


def _digests(task: EndedTask, lines: Sequence[UsageLine], bill: TaskBill) -> list[dict[str, Any]]:
    """One row a tier and mode; their requests add up to the lines of the result file."""
    proved = list(lines)
    if bill.unmetered:
        proved.append(UsageLine(UNMETERED_TIER, "standard", bill.unmetered, 0, 0))
    if not proved:
        proved.append(UsageLine(EMPTY_TIER, "standard", 0, 0, 0))
    files = {"output_sha256": task.output_sha256, "error_sha256": task.error_sha256}
    return [{"task_id": task.task_id, **asdict(line), **files} for line in proved]
