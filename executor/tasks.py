"""The states of a task, the moves between them, and the task itself as one frozen value."""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, get_args

Status = Literal[
    "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
]
Ending = Literal["completed", "expired", "cancelled"]
ConsoleStatus = Literal["Validating", "Executing", "Cancelling", "Completed", "Failed", "Stopped"]

STATUSES: tuple[Status, ...] = get_args(Status)

MOVES: Mapping[Status, frozenset[Status]] = {
    "validating": frozenset({"in_progress", "failed", "cancelling"}),
    "in_progress": frozenset({"finalizing", "cancelling", "failed"}),  # failed: `storage_lost` alone
    "finalizing": frozenset({"completed", "expired"}),
    "cancelling": frozenset({"cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "expired": frozenset(),
    "cancelled": frozenset(),
}
"""Every move that SPEC §3.2 allows; there are no others."""

SETTLED: frozenset[Status] = frozenset(status for status, moves in MOVES.items() if not moves)
"""The statuses that nothing leaves."""

_CONSOLE: Mapping[Status, ConsoleStatus] = {
    "validating": "Validating",
    "in_progress": "Executing",
    "finalizing": "Executing",
    "cancelling": "Cancelling",
    "completed": "Completed",
    "failed": "Failed",
    "expired": "Stopped",
    "cancelled": "Stopped",
}


def allowed(before: Status, after: Status) -> bool:
    """Whether a task may go from one status to the other."""
    return after in MOVES[before]


def console_status(status: Status) -> ConsoleStatus:
    """The console's word for a status."""
    return _CONSOLE[status]


@dataclass(frozen=True, slots=True)
class LineError:
    """One fault of an input file, as `errors.data[]` of the batch object gives it."""

    code: str
    message: str
    param: str | None
    line: int | None
    """Physical line from 1; none if the fault is of the whole file."""


@dataclass(frozen=True, slots=True)
class Task:
    """A row of `tasks`. Times are aware UTC, money is exact, lengths are in bytes."""

    id: str
    workspace_id: str
    api_key_id: str | None
    """None for a task that was made with the admin key."""
    endpoint: str
    input_file_id: str
    completion_window: str
    """As it was asked for: `24h`, `14d`."""
    metadata: Mapping[str, str] | None
    name: str | None
    description: str | None
    callback_url: str | None
    status: Status
    ending: Ending | None
    """How the task is going to end; set before the first closing line is written."""
    model: str | None
    currency: str | None
    """None for a free model."""
    total: int
    completed: int
    failed: int
    output_bytes: int
    """The length of the result file that counts."""
    error_bytes: int
    output_sha256: str | None
    error_sha256: str | None
    output_file_id: str | None
    error_file_id: str | None
    output_expires_after: int | None
    """Seconds from the creation of an output file to its expiry."""
    errors: tuple[LineError, ...]
    input_tokens: int | None
    """Token sums and amounts are of metered requests, and None until the task ended."""
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    list_amount: Decimal | None
    amount: Decimal | None
    retry_of: str | None
    created_at: datetime
    in_progress_at: datetime | None
    started_at: datetime | None
    expires_at: datetime
    finalizing_at: datetime | None
    completed_at: datetime | None
    failed_at: datetime | None
    expired_at: datetime | None
    cancelling_at: datetime | None
    cancelled_at: datetime | None
    ended_at: datetime | None

    @property
    def settled(self) -> bool:
        """Whether nothing about this task will change any more."""
        return self.status in SETTLED


def kept_errors(errors: tuple[LineError, ...]) -> str | None:
    """What the column `errors` holds: JSON, compressed, in base64; null if there are none.

    Compressed, since DuckDB keeps what was written of long values in memory that its limit does not count: some
    1 MB for each file of 1,000 faults, until it is closed (benchmarks/faults.py).
    """
    if not errors:
        return None
    rows = [{"code": e.code, "message": e.message, "param": e.param, "line": e.line} for e in errors]
    return b64encode(zlib.compress(json.dumps(rows, ensure_ascii=False).encode())).decode("ascii")


def _errors(kept: str | None) -> tuple[LineError, ...]:
    """Those of the column, which earlier versions wrote as plain JSON."""
    if not kept:
        return ()
    text = kept if kept.startswith("[") else zlib.decompress(b64decode(kept))
    return tuple(LineError(**error) for error in json.loads(text))


def task_of(row: Mapping[str, Any]) -> Task:
    """The task of a row of `tasks`, with `metadata` and `errors` decoded."""
    values = dict(row)
    values["metadata"] = json.loads(values["metadata"]) if values["metadata"] is not None else None
    values["errors"] = _errors(values["errors"])
    return Task(**values)
