"""`POST /v1/audit`: the ledger recomputed from result files and events."""

import json
import logging
from collections.abc import Iterator
from typing import Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.responses import JSONResponse, Response, StreamingResponse

from metering.api.billing_shapes import Money
from metering.api.billing_shapes import Period as Month
from metering.audit import Audit, AuditRequest, Progress, Report
from metering.store import StoreError

log = logging.getLogger("nightrate.audit")

ADMIN = "admin"
"""The tag of routes that the gate keeps for the admin."""
LINES = "application/x-ndjson"


class AuditBody(BaseModel):
    """Which tasks are audited; all of them if nothing is said."""

    model_config = ConfigDict(extra="forbid")

    period: Month | None = Field(
        default=None, description="A month: tasks that ended in it or have a correction in it."
    )
    task_id: StrictStr | None = None
    workspace_id: StrictStr | None = None


class DifferenceShape(BaseModel):
    """One thing that is not as it must be."""

    task_id: str | None
    workspace_id: str | None
    place: Literal[
        "result_file",
        "error_file",
        "event",
        "charge",
        "correction",
        "digest",
        "task",
        "rollup",
        "file",
        "price",
        "statement",
    ]
    id: str | None
    line: int | None
    column: str
    expected: str | None
    found: str | None
    message: str


class VerdictShape(BaseModel):
    """What came out for one task."""

    task_id: str
    workspace_id: str
    verdict: Literal["verified", "digest_only", "not_verifiable", "different"]
    differences: int


class Totals(BaseModel):
    """Tasks by verdict."""

    verified: int
    digest_only: int
    not_verifiable: int
    different: int


class Months(BaseModel):
    """Closed months whose statements were held against the ledger."""

    verified: int
    different: int


class AuditedAmount(BaseModel):
    """Entries of the ledger that were checked, corrections included."""

    currency: str
    charges: int
    list_amount: Money
    amount: Money


class AuditReport(BaseModel):
    """All that came out."""

    object: Literal["audit"]
    period: str | None
    task_id: str | None
    workspace_id: str | None
    started_at: str
    finished_at: str
    tasks: int
    totals: Totals
    months: Months
    requests: int
    bytes: int
    charges: int
    amounts: list[AuditedAmount]
    difference_count: int
    differences: list[DifferenceShape]
    differences_left_off: int
    data: list[VerdictShape]
    data_left_off: int


_LINES_TOO: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The report; with `Accept: application/x-ndjson` lines of progress before it.",
        "content": {LINES: {"schema": {"type": "string"}}},
    }
}


def router(audit: Audit) -> APIRouter:
    """The route over its service."""
    routes = APIRouter(prefix="/v1/audit", tags=["billing"])

    @routes.post(
        "",
        response_model=AuditReport,
        responses=_LINES_TOO,
        summary="Recompute the ledger from result files and events",
        tags=[ADMIN],
    )
    def run(request: Request, body: AuditBody | None = None) -> Response:
        asked = AuditRequest(**(body or AuditBody()).model_dump())
        steps = audit.run(request.state.access, asked)
        if LINES in request.headers.get("accept", ""):
            return StreamingResponse(_lines(steps), media_type=LINES)
        *_, report = steps
        assert isinstance(report, Report)
        return JSONResponse(report.as_json())

    return routes


def _lines(steps: Iterator[Progress | Report]) -> Iterator[bytes]:
    """A line a step. The status is sent by then, so a failure is a line of its own."""
    try:
        for step in steps:
            yield json.dumps(step.as_json()).encode() + b"\n"
    except StoreError as error:
        log.error("an audit broke off: %s", error)
        told = {
            "message": "The database can't be read now.",
            "type": "server_error",
            "param": None,
            "code": "storage",
        }
        yield json.dumps({"error": told}).encode() + b"\n"
