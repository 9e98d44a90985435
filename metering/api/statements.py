"""`/v1/billing/…`: statements, periods and their closing, corrections."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field, StrictInt, StrictStr
from starlette.responses import HTMLResponse, JSONResponse, Response

from metering.access import Access
from metering.api.billing import MONTH, After, Limit, Period, WorkspaceId
from metering.api.nodes import Nodes
from metering.api.statement_shapes import (
    BillingPeriod,
    BillingPeriods,
    Correction,
    StatementList,
    VerificationShape,
)
from metering.closing import Closing
from metering.corrections import MAX_QUANTITY, Corrections, Replacement
from metering.errors import InvalidParameter, NotFound
from metering.lake.nodes import OfNodes
from metering.pages import page_of
from metering.statement_page import statement_page
from metering.statements import Statements, require_period
from metering.verification import Verification

ADMIN = "admin"
"""The tag of routes that the gate keeps for the admin."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ReplacementBody(_Body):
    """What the charge should have said; what is left out stays as it was."""

    quantity: StrictInt | None = Field(
        None, description="Tokens.", json_schema_extra={"minimum": 0, "maximum": MAX_QUANTITY}
    )
    list_unit_price: StrictStr | None = Field(
        None, description="Per million tokens, a decimal string.", examples=["0.8"]
    )


class CorrectionBody(_Body):
    """Reverses a charge in full and, with `replacement`, enters what it should have said."""

    charge_id: StrictStr
    reason: StrictStr
    replacement: ReplacementBody | None = None


ClosedMonth = Annotated[
    str,
    Path(
        description="A past month in the billing zone.",
        json_schema_extra={"pattern": MONTH},
    ),
]
Format = Annotated[
    str, Query(description="`html`: a page to print.", json_schema_extra={"enum": ["json", "html"]})
]
_NOTHING_RUNS = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}
GroupBy = Annotated[
    str | None, Query(description="`api_key`: lines by API key.", json_schema_extra={"enum": ["api_key"]})
]


def router(
    statements: OfNodes[Statements], closing: Closing, verification: Verification, corrections: Corrections
) -> APIRouter:
    """The routes over their services."""
    routes = APIRouter(prefix="/v1/billing", tags=["billing"])
    _add_statements(routes, statements)
    _add_periods(routes, closing, verification)

    @routes.post("/corrections", response_model=Correction, summary="Correct a charge", tags=[ADMIN])
    def correct(request: Request, body: CorrectionBody) -> Response:
        asked = body.replacement
        wanted = Replacement(asked.quantity, asked.list_unit_price) if asked is not None else None
        made = corrections.correct(_access(request), body.charge_id, body.reason, wanted)
        return JSONResponse(made)

    return routes


_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}


def _add_statements(routes: APIRouter, statements: OfNodes[Statements]) -> None:
    @routes.get(
        "/statements",
        response_model=StatementList,
        responses=_PAGE,
        summary="A month's statements, one a currency",
    )
    def listed(
        request: Request,
        period: Period = None,
        workspace_id: WorkspaceId = None,
        group_by: GroupBy = None,
        format: Format = "json",  # noqa: A002  (its name in the API)
        nodes: Nodes = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Response:
        if group_by not in (None, "api_key"):
            raise InvalidParameter("group_by can only be api_key.", param="group_by")
        if format not in ("json", "html"):
            raise InvalidParameter("format must be json or html.", param="format")
        wanted = require_period(period)
        access = _access(request)
        meant = statements.of(access, nodes)
        found = meant.of(access, wanted, workspace_id, by_api_key=group_by is not None)
        ids = [f"{one['workspace_id']}:{one['period']}:{one['currency']}" for one in found]
        begin = _place(ids, after)
        page = page_of(found[begin : begin + limit + 1], limit)
        if format == "html":
            return HTMLResponse(statement_page(page.data), headers=_NOTHING_RUNS)
        return _list(page.data, ids[begin : begin + limit], page.has_more)


def _place(ids: list[str], after: str | None) -> int:
    if after is None:
        return 0
    if after not in ids:
        raise NotFound("statement", after, param="after")
    return ids.index(after) + 1


def _add_periods(routes: APIRouter, closing: Closing, verification: Verification) -> None:
    @routes.get("/periods", response_model=BillingPeriods, summary="Months and whether they are closed")
    def periods(request: Request, limit: Limit = 100, after: After = None) -> Response:
        page = closing.periods(_access(request), limit=limit, after=after)
        return _list(page.data, [row["id"] for row in page.data], page.has_more)

    @routes.post(
        "/periods/{period}/close",
        response_model=BillingPeriod,
        summary="Close a month for good, all workspaces",
        tags=[ADMIN],
    )
    def close(request: Request, period: ClosedMonth) -> Response:
        return JSONResponse(closing.close(_access(request), period))

    @routes.get(
        "/periods/{period}/verify",
        response_model=VerificationShape,
        summary="Whether a closed month's statements still follow from the ledger",
        tags=[ADMIN],
    )
    def verify(request: Request, period: ClosedMonth) -> Response:
        return JSONResponse(verification.verify(_access(request), period))


def _list(data: list[dict[str, Any]], ids: list[str], has_more: bool) -> Response:
    kind: Literal["list"] = "list"
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    return JSONResponse(
        {"object": kind, "data": data, "has_more": has_more, "first_id": first, "last_id": last}
    )


def _access(request: Request) -> Access:
    access: Access = request.state.access
    return access
