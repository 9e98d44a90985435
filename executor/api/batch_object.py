"""A task as the API shows it: OpenAI's batch object, with our own facts under one key."""

from datetime import datetime
from typing import Any, Protocol

from executor.tasks import LineError, Task
from metering.money import plain


class Waiting(Protocol):
    """Why nothing moves."""

    @property
    def reason(self) -> str:
        """queue, outage, rate_limit, disk, model_gone or ending_failed."""
        ...

    @property
    def since(self) -> datetime:
        """Since when."""
        ...

    @property
    def upstream(self) -> str | None:
        """Whom it waits for, without user info."""
        ...


class Live(Protocol):
    """What only the engine knows of a running task."""

    @property
    def requests_per_second(self) -> float:
        """Final answers a second, lately."""
        ...

    @property
    def estimated_end_at(self) -> datetime | None:
        """When it will have ended at that rate."""
        ...

    @property
    def waiting(self) -> Waiting | None:
        """None while it moves."""
        ...


def batch_object(task: Task, live: Live | None) -> dict[str, Any]:
    """All of OpenAI's fields, `model` and `usage` included, and `nightrate`. Times are Unix seconds."""
    return {
        "id": task.id,
        "object": "batch",
        "endpoint": task.endpoint,
        "model": task.model,
        "errors": errors_object(task.errors) if task.errors else None,
        "input_file_id": task.input_file_id,
        "completion_window": task.completion_window,
        "status": task.status,
        "output_file_id": task.output_file_id,
        "error_file_id": task.error_file_id,
        "created_at": unix(task.created_at),
        "in_progress_at": unix(task.in_progress_at),
        "expires_at": unix(task.expires_at),
        "finalizing_at": unix(task.finalizing_at),
        "completed_at": unix(task.completed_at),
        "failed_at": unix(task.failed_at),
        "expired_at": unix(task.expired_at),
        "cancelling_at": unix(task.cancelling_at),
        "cancelled_at": unix(task.cancelled_at),
        "request_counts": {"total": task.total, "completed": task.completed, "failed": task.failed},
        "usage": _usage(task),
        "metadata": None if task.metadata is None else dict(task.metadata),
        "nightrate": _own_facts(task, live),
    }


def errors_object(errors: tuple[LineError, ...]) -> dict[str, Any]:
    """Faults of an input file as OpenAI lists them."""
    data = [{"code": e.code, "message": e.message, "param": e.param, "line": e.line} for e in errors]
    return {"object": "list", "data": data}


def unix(moment: datetime | None) -> int | None:
    """Unix seconds, as all of OpenAI's times are."""
    return None if moment is None else int(moment.timestamp())


def _usage(task: Task) -> dict[str, Any] | None:
    if task.input_tokens is None or task.output_tokens is None:
        return None
    return {
        "input_tokens": task.input_tokens,
        "input_tokens_details": {"cached_tokens": task.cached_input_tokens or 0},
        "output_tokens": task.output_tokens,
        "output_tokens_details": {"reasoning_tokens": task.reasoning_tokens or 0},
        "total_tokens": task.input_tokens + task.output_tokens,
    }


def _own_facts(task: Task, live: Live | None) -> dict[str, Any]:
    return {
        "workspace_id": task.workspace_id,
        "name": task.name,
        "description": task.description,
        "started_at": unix(task.started_at),
        "ended_at": unix(task.ended_at),
        "estimated_end_at": unix(live.estimated_end_at) if live else None,
        "requests_per_second": live.requests_per_second if live else None,
        "waiting": _waiting(live.waiting) if live else None,
        "currency": task.currency,
        "list_amount": None if task.list_amount is None else plain(task.list_amount),
        "amount": None if task.amount is None else plain(task.amount),
        "retry_of": task.retry_of,
    }


def _waiting(waiting: Waiting | None) -> dict[str, Any] | None:
    if waiting is None:
        return None
    return {"reason": waiting.reason, "since": unix(waiting.since), "upstream": waiting.upstream}
