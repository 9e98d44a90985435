"""`/v1/batches…`: make, see, list and cancel tasks (SPEC §3.1)."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, cast
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response, StreamingResponse

from executor.api.batch_object import Live, batch_object
from executor.api.calls import After, Caller, JsonBody, WorkspaceId, json_request, list_object
from executor.api.partial import JSONL, partial_file, single_line
from executor.batches import Batches, ResultsGone, TaskFilter
from executor.line_faults import ENDPOINTS, quoted
from executor.new_batch import new_batch_of
from executor.request import line_id
from executor.tasks import STATUSES, Status, Task
from metering.errors import InvalidParameter
from metering.ranges import parse_moment

INPUT_FILE_IDS = 20
_COMPACT = re.compile(r"[0-9]{14}")
IdempotencyKey = Annotated[
    str | None, Header(description="the same key and body within 24 hours give the same task")
]
LineNo = Annotated[
    int | None,
    Query(
        ge=1,
        le=1_000_000_000,
        description="Only the line that answers this line of the input file, as an event names it.",
    ),
]
BatchId = Annotated[str, Path(max_length=100, examples=["batch_68f1c2d4e5a64b7f9c0d1e2f3a4b5c6d"])]

_NEW_BATCH = {
    "type": "object",
    "required": ["input_file_id", "endpoint", "completion_window"],
    "additionalProperties": False,
    "properties": {
        "input_file_id": {"type": "string"},
        "endpoint": {"type": "string", "enum": list(ENDPOINTS)},
        "completion_window": {"type": "string", "examples": ["24h", "14d"]},
        "metadata": {
            "type": ["object", "null"],
            "maxProperties": 16,
            "additionalProperties": {"type": "string", "maxLength": 512},
        },
        "output_expires_after": {
            "type": ["object", "null"],
            "required": ["anchor", "seconds"],
            "properties": {
                "anchor": {"const": "created_at"},
                "seconds": {"type": "integer", "minimum": 3600, "maximum": 2592000},
            },
        },
    },
}


def router(batches: Batches, live: Callable[[str], Live | None], zone: ZoneInfo) -> APIRouter:
    """The routes of tasks; `zone` is that of `create_after` and `create_before` without one."""
    routes = APIRouter(tags=["batches"])

    def shown(task: Task) -> dict[str, Any]:
        return batch_object(task, None if task.settled else live(task.id))

    @routes.post("/v1/batches", summary="Make a task", openapi_extra=json_request(_NEW_BATCH))
    def create_batch(
        access: Caller,
        body: JsonBody,
        workspace_id: WorkspaceId = None,
        idempotency_key: IdempotencyKey = None,
    ) -> dict[str, Any]:
        new = new_batch_of(body)
        return shown(batches.create(access, new, idempotency_key=idempotency_key, workspace_id=workspace_id))

    @routes.get("/v1/batches", summary="Tasks, newest first")
    def list_batches(
        access: Caller,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        after: After = None,
        status: Annotated[str | None, Query(description="one or several, by commas")] = None,
        ds_name: Annotated[str | None, Query(max_length=100, description="a part of the name")] = None,
        q: Annotated[str | None, Query(max_length=100, description="a part of the name or of the id")] = None,
        input_file_ids: Annotated[str | None, Query(description="up to 20, by commas")] = None,
        create_after: Annotated[str | None, Query(description="yyyyMMddHHmmss or ISO 8601")] = None,
        create_before: Annotated[str | None, Query(description="yyyyMMddHHmmss or ISO 8601")] = None,
        workspace_id: WorkspaceId = None,
    ) -> dict[str, Any]:
        last = _moment(create_before, "create_before", zone)
        asked = TaskFilter(
            limit=limit,
            after=after,
            statuses=_statuses(status),
            ds_name=ds_name or None,
            search=q or None,
            input_file_ids=_file_ids(input_file_ids),
            created_from=_moment(create_after, "create_after", zone),
            created_before=None if last is None else last + timedelta(seconds=1),  # its second is within
            workspace_id=workspace_id,
        )
        return list_object(batches.list(access, asked), shown)

    @routes.get("/v1/batches/{batch_id}", summary="One task")
    def get_batch(access: Caller, batch_id: BatchId, workspace_id: WorkspaceId = None) -> dict[str, Any]:
        return shown(batches.get(access, batch_id, workspace_id))

    @routes.post("/v1/batches/{batch_id}/cancel", summary="Ask a task to stop")
    def cancel_batch(access: Caller, batch_id: BatchId, workspace_id: WorkspaceId = None) -> dict[str, Any]:
        return shown(batches.cancel(access, batch_id, workspace_id))

    @routes.post("/v1/batches/{batch_id}/retry", summary="A task on what failed or was never executed")
    def retry_batch(
        access: Caller,
        batch_id: BatchId,
        workspace_id: WorkspaceId = None,
        idempotency_key: IdempotencyKey = None,
    ) -> dict[str, Any]:
        """Makes a file of these lines of an ended task, and a task on it like the first one."""
        return shown(
            batches.retry(access, batch_id, idempotency_key=idempotency_key, workspace_id=workspace_id)
        )

    @routes.get("/v1/batches/{batch_id}/results", response_class=StreamingResponse, responses=JSONL)
    def get_results(
        access: Caller,
        batch_id: BatchId,
        workspace_id: WorkspaceId = None,
        line_no: LineNo = None,
    ) -> Response:
        """The result lines that count by now, of a task that runs or of one that ended; empty without any."""
        found = batches.results_so_far(access, batch_id, workspace_id)
        try:
            if line_no is not None:
                return single_line(*found, line_id(batch_id, line_no))
            return partial_file(*found)
        except FileNotFoundError:  # it was deleted since
            raise ResultsGone(batch_id) from None

    return routes


def _statuses(text: str | None) -> tuple[Status, ...] | None:
    if not text:
        return None
    names = tuple(part.strip() for part in text.split(","))
    for name in names:
        if name not in STATUSES:
            raise InvalidParameter(
                f"Unknown status: {quoted(name)}. Write one or several of {', '.join(STATUSES)}, by commas.",
                param="status",
            )
    return cast(tuple[Status, ...], names)


def _file_ids(text: str | None) -> tuple[str, ...] | None:
    if not text:
        return None
    ids = tuple(part.strip() for part in text.split(",") if part.strip())
    if len(ids) > INPUT_FILE_IDS:
        raise InvalidParameter(
            f"input_file_ids has {len(ids)} ids; at most {INPUT_FILE_IDS} are allowed.",
            param="input_file_ids",
        )
    return ids


def _moment(text: str | None, param: str, zone: ZoneInfo) -> datetime | None:
    """A moment as Model Studio writes it, or ISO 8601; without a zone it is in `zone`."""
    if text is None:
        return None
    try:
        local = (
            datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007  (the zone follows)
            if _COMPACT.fullmatch(text)
            else datetime.fromisoformat(text)
        )
        if local.tzinfo is None:
            text = local.replace(tzinfo=zone).isoformat()
    except (ValueError, OverflowError):
        pass  # said below, or Unix seconds
    if _COMPACT.fullmatch(text):
        raise InvalidParameter(f"{param}: {text!r} is no moment of yyyyMMddHHmmss.", param=param)
    return parse_moment(text, param)
