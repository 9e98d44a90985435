"""A data folder with ended tasks, their files and their ledger, made by the live path's own rules."""

import hashlib
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from metering.access import ADMIN
from metering.audit import Audit, AuditRequest
from metering.ending import EndedTask, Meter
from metering.options import BillingOptions
from metering.store import Store
from metering.usage import usage_of
from tests.metering.billed import BOOK, NOON, StandingClock, book, open_store, rows

CHAT = "/v1/chat/completions"
FREE_MODEL = "house/free"


def chat(given: int, made: int, **more: Any) -> dict[str, Any]:
    """The body of a chat answer; `more` goes into its usage."""
    usage = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made, **more}
    return {
        "object": "chat.completion",
        "choices": [{"message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
        "usage": usage,
    }


def reasoned(given: int, made: int, text: str | None) -> dict[str, Any]:
    """An answer that shows its reasoning and does not count it."""
    body = chat(given, made)
    body["choices"][0]["message"]["reasoning_content"] = text
    return body


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

TIER_128 = "task_id = 'batch_a' AND sku = 'input_tokens' AND tier = '128000' AND mode = 'standard'"
"""The first of its charges: 129,000 tokens for 0.0516."""


class Town:
    """The folder and what is done to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store: Store = open_store(folder)
        self.clock = StandingClock()
        self.book = book(folder, BOOK, self.clock)
        self.book.remember(self.store)
        self.meter = Meter(self.book, BillingOptions(), self.clock)
        self.audit = Audit(self.store, BillingOptions(), 400, self.book.has, self.clock)

    def task(
        self,
        task_id: str,
        answers: Sequence[dict[str, Any] | int | None],
        *,
        model: str = "qwen-plus",
        currency: str | None = "CNY",
        status: str = "completed",
        endpoint: str = CHAT,
        workspace_id: str = "default",
    ) -> str:
        """Ends a task of these answers: a body, a status that failed, or None for never executed."""
        events: list[dict[str, Any]] = []
        files: dict[str, list[bytes]] = {"output": [], "error": []}
        numbered = list(enumerate(answers, 1))
        for line_no, answer in reversed(numbered):  # answers come in any order
            kind, line = _line(task_id, line_no, answer, status)
            files[kind].append(line)
            if answer is not None:
                events.append(_event(task_id, line_no, answer, model, endpoint, workspace_id))
        shas = {kind: self._write(task_id, kind, lines) for kind, lines in files.items()}
        ended = EndedTask(
            task_id=task_id,
            workspace_id=workspace_id,
            api_key_id="key_1",
            model=model,
            currency=currency,
            free=currency is None,
            status=status,
            in_progress_at=NOON - timedelta(minutes=10),
            total=len(answers),
            output_sha256=shas["output"][1],
            error_sha256=shas["error"][1],
        )
        self.store.write(lambda tx: self._end(tx, ended, events, shas, endpoint))
        return task_id

    def _write(self, task_id: str, kind: str, lines: list[bytes]) -> tuple[int, str | None]:
        if not lines:
            return 0, None
        path = self.path(task_id, kind)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"".join(lines))
        return path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()

    def _end(self, tx: Any, ended: EndedTask, events: list[Any], shas: dict[str, Any], endpoint: str) -> None:
        tx.insert("request_events", events)
        at = self.meter.moment(tx)
        bill = self.meter.end_task(tx, ended, at)
        row = {
            "id": ended.task_id,
            "workspace_id": ended.workspace_id,
            "api_key_id": ended.api_key_id,
            "endpoint": endpoint,
            "input_file_id": "file-1",
            "completion_window": "24h",
            "status": ended.status,
            "ending": ended.status,
            "model": ended.model,
            "currency": ended.currency,
            "total": ended.total,
            "completed": bill.succeeded,
            "failed": bill.failed,
            "created_at": NOON - timedelta(minutes=11),
            "in_progress_at": ended.in_progress_at,
            "expires_at": NOON + timedelta(days=1),
            "ended_at": at,
        }
        names = (
            "input_tokens",
            "cached_input_tokens",
            "output_tokens",
            "reasoning_tokens",
            "list_amount",
            "amount",
        )
        row |= {name: getattr(bill, name) for name in names}
        for kind, (size, sha256) in shas.items():
            row |= {f"{kind}_bytes": size, f"{kind}_sha256": sha256}
            row[f"{kind}_file_id"] = f"file-{ended.task_id}-{kind}" if size else None
            if size:
                tx.insert("files", [_file(ended, kind, size, sha256, at)])
        tx.insert("tasks", [row])

    def path(self, task_id: str, kind: str = "output") -> Path:
        return self.folder / f"outputs/{task_id}.{kind}.jsonl"

    def sql(self, statement: str, **values: Any) -> None:
        """Damages the database behind the service's back."""
        self.store.write(lambda tx: tx._connection.execute(statement, values or None))

    def edit(self, task_id: str, old: bytes, new: bytes, kind: str = "output") -> None:
        """Damages a file."""
        path = self.path(task_id, kind)
        assert old in path.read_bytes()
        path.write_bytes(path.read_bytes().replace(old, new, 1))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """A whole table."""
        return rows(self.store, table)

    def report(self, **asked: Any) -> dict[str, Any]:
        return self.audit.report(ADMIN, AuditRequest(**asked)).as_json()

    def found(self, **asked: Any) -> set[tuple[str, str]]:
        """Place and column of each difference."""
        return {(one["place"], one["column"]) for one in self.report(**asked)["differences"]}


def _line(task_id: str, line_no: int, answer: dict[str, Any] | int | None, status: str) -> tuple[str, bytes]:
    identity = f"batch_req_{task_id.removeprefix('batch_')}_{line_no}"
    line: dict[str, Any] = {"id": identity, "custom_id": f"c{line_no}", "response": None, "error": None}
    if answer is None:
        line["error"] = {"code": f"batch_{status}", "message": "never ran"}
    elif isinstance(answer, int):
        line["response"] = {"status_code": answer, "request_id": "r", "body": {"error": {"code": "x"}}}
    else:
        line["response"] = {"status_code": 200, "request_id": "r", "body": answer}
    kind = "output" if isinstance(answer, dict) else "error"
    return kind, json.dumps(line, ensure_ascii=False).encode() + b"\n"


def _event(
    task_id: str, line_no: int, answer: dict[str, Any] | int, model: str, endpoint: str, workspace_id: str
) -> dict[str, Any]:
    good = isinstance(answer, dict)
    body = answer if isinstance(answer, dict) else {}
    usage, counted = usage_of(body.get("usage"), endpoint)
    messages = [choice["message"] for choice in body.get("choices", [])]
    shown = any(message.get("reasoning_content") or message.get("reasoning") for message in messages)
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")
    return {
        "task_id": task_id,
        "line_no": line_no,
        "custom_id": f"c{line_no}",
        "workspace_id": workspace_id,
        "api_key_id": "key_1",
        "model": model,
        "endpoint": endpoint,
        "outcome": "succeeded" if good else "failed",
        "status_code": 200 if good else answer,
        "unmetered": good and usage is None,
        "attempts": 1,
        "rate_limited_attempts": 0,
        **{name: getattr(usage, name) if good and usage else None for name in names},
        "thinking": (bool(usage and usage.reasoning_tokens) if counted else shown),
        "started_at": NOON,
        "finished_at": NOON,
        "duration_ms": 1.0,
        "total_ms": 1.0,
    }


def _file(ended: EndedTask, kind: str, size: int, sha256: str, at: Any) -> dict[str, Any]:
    return {
        "id": f"file-{ended.task_id}-{kind}",
        "workspace_id": ended.workspace_id,
        "task_id": ended.task_id,
        "purpose": "batch_output",
        "filename": f"{ended.task_id}_{kind}.jsonl",
        "path": f"outputs/{ended.task_id}.{kind}.jsonl",
        "bytes": size,
        "sha256": sha256,
        "created_at": at,
        "expires_at": at + timedelta(days=30),
    }


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
