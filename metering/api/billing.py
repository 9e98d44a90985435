"""`/v1/billing/…`: the ledger, its sums, the price book and the exports."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.background import BackgroundTask
from starlette.responses import JSONResponse, Response, StreamingResponse

from metering.access import Access
from metering.api.billing_shapes import ChargeList, FocusSchema, ListedPrices, Manifest, Summary
from metering.api.nodes import Nodes
from metering.exports import FORMATS, ExportRequest, Exports, focus_schema
from metering.exports import KINDS as EXPORT_KINDS
from metering.lake.nodes import OfNodes
from metering.ledger import GROUPS, KINDS, MAX_LIMIT, MODES, SKUS, ChargeFilter, Ledger, SummaryFilter
from metering.pages import Page
from metering.price_list import PriceList

MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
_MOMENT = "ISO 8601 with a zone, or Unix seconds; to the second, inclusive."


def _choice(names: tuple[str, ...], about: str) -> Any:
    # An enumeration for readers of the description; the service refuses the rest and names what it offers.
    return Query(description=about, json_schema_extra={"enum": list(names)})


WorkspaceId = Annotated[str | None, Query(description="The admin's: only this workspace.")]
Model = Annotated[str | None, Query(description="Only this model.")]
Period = Annotated[
    str | None,
    Query(
        description="A month in the billing zone.",
        json_schema_extra={"pattern": MONTH},
    ),
]
Start = Annotated[str | None, Query(description=f"First second: {_MOMENT}")]
End = Annotated[str | None, Query(description=f"Last second: {_MOMENT}")]
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
After = Annotated[str | None, Query(description="The last id of the page before.")]
Kind = Annotated[str, Path(json_schema_extra={"enum": list(EXPORT_KINDS)})]
_OFFERED = "; ".join(f"{name}: {', '.join(kind.formats)}" for name, kind in EXPORT_KINDS.items())
Format = Annotated[
    str | None,
    _choice(
        tuple(dict.fromkeys(name for name, _ in FORMATS)),
        f"The file's format; by kind, the first unasked: {_OFFERED}.",
    ),
]
Profile = Annotated[
    str | None,
    _choice(
        tuple(dict.fromkeys(name for _, name in FORMATS)),
        "Of csv `machine` unless asked, or `spreadsheet`: safe to open in one, as xlsx always is.",
    ),
]


def router(ledger: Ledger, prices: PriceList, exports: OfNodes[Exports]) -> APIRouter:
    """The billing routes over their services."""
    routes = APIRouter(prefix="/v1/billing", tags=["billing"])
    _add_ledger(routes, ledger)
    _add_prices(routes, prices)
    _add_exports(routes, exports)
    return routes


def _add_ledger(routes: APIRouter, ledger: Ledger) -> None:
    @routes.get("/charges", response_model=ChargeList, summary="Entries of the ledger, newest first")
    def charges(
        request: Request,
        task_id: str | None = None,
        workspace_id: WorkspaceId = None,
        model: Model = None,
        kind: Annotated[str | None, _choice(KINDS, "Only entries of this kind.")] = None,
        period: Period = None,
        start: Start = None,
        end: End = None,
        currency: Annotated[str | None, Query(description="Only this currency.")] = None,
        sku: Annotated[str | None, _choice(SKUS, "Only this SKU.")] = None,
        tier: Annotated[str | None, Query(description="Only this tier: a bound, `all` or `over`.")] = None,
        mode: Annotated[str | None, _choice(MODES, "Only this mode.")] = None,
        price_id: Annotated[str | None, Query(description="Only this version of a price.")] = None,
        list_unit_price: Annotated[str | None, Query(description="Only at this list price.")] = None,
        api_key_id: Annotated[str | None, Query(description="Only of tasks made with this key.")] = None,
        limit: Limit = 100,
        after: After = None,
        order: Annotated[str, _choice(("asc", "desc"), "By the moment of entry.")] = "desc",
    ) -> Response:
        wanted = ChargeFilter(
            workspace_id=workspace_id,
            task_id=task_id,
            model=model,
            kind=kind,
            period=period,
            start=start,
            end=end,
            currency=currency,
            sku=sku,
            tier=tier,
            mode=mode,
            price_id=price_id,
            list_unit_price=list_unit_price,
            api_key_id=api_key_id,
            after=after,
            limit=limit,
            order=order,  # type: ignore[arg-type]
        )
        return _page(ledger.charges(_access(request), wanted), "charge_id")

    @routes.get("/summary", response_model=Summary, summary="Sums of charges by the end of their tasks")
    def summary(
        request: Request,
        group_by: Annotated[str, _choice(GROUPS, "What to sum by; several with commas.")] = "day",
        workspace_id: WorkspaceId = None,
        model: Model = None,
        period: Period = None,
        start: Start = None,
        end: End = None,
    ) -> Response:
        groups = tuple(dict.fromkeys(group_by.split(",")))
        wanted = SummaryFilter(groups, workspace_id, model, period, start, end)
        return JSONResponse(ledger.summary(_access(request), wanted))


def _add_prices(routes: APIRouter, prices: PriceList) -> None:
    @routes.get("/prices", response_model=ListedPrices, summary="The price book in force and its history")
    def listed(
        model: Model = None,
        currency: Annotated[str | None, Query(description="Only this currency.")] = None,
        limit: Limit = 100,
        after: After = None,
    ) -> Response:
        return _page(prices.page(model=model, currency=currency, limit=limit, after=after), "id")


def _export_request(
    kind: Kind,
    format: Format = None,  # noqa: A002  (its name in the API)
    profile: Profile = None,
    workspace_id: WorkspaceId = None,
    period: Period = None,
    start: Start = None,
    end: End = None,
) -> ExportRequest:
    return ExportRequest(kind, format, profile, workspace_id, period, start, end)


Asked = Annotated[ExportRequest, Depends(_export_request)]
_FILE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The file.",
        "content": {
            form.media_type.partition(";")[0]: {"schema": {"type": "string", "format": "binary"}}
            for form in FORMATS.values()
        },
        "headers": {
            "x-nightrate-rows": {"description": "Rows in the file.", "schema": {"type": "integer"}},
            "x-nightrate-sha256": {"description": "SHA-256 of the file.", "schema": {"type": "string"}},
        },
    }
}


def _add_exports(routes: APIRouter, exports: OfNodes[Exports]) -> None:
    @routes.get("/exports/{kind}", response_class=Response, responses=_FILE, summary="A file for finance")
    def export(request: Request, asked: Asked, nodes: Nodes = None) -> Response:
        access = _access(request)
        made = exports.of(access, nodes).write(access, asked)
        headers = {
            "content-length": str(made.size_bytes),
            "content-disposition": f'attachment; filename="{made.filename}"',
            "x-nightrate-rows": str(made.rows),
            "x-nightrate-sha256": made.sha256,
        }
        closing = BackgroundTask(made.content.close)
        return StreamingResponse(made.pieces(), 200, headers, made.media_type, closing)

    @routes.get(
        "/exports/focus/schema", response_model=FocusSchema, summary="The columns of the FOCUS export"
    )
    def schema() -> Response:
        return JSONResponse(focus_schema())

    @routes.get("/exports/{kind}/manifest", response_model=Manifest, summary="What an export holds")
    def manifest(request: Request, asked: Asked, nodes: Nodes = None) -> Response:
        access = _access(request)
        return JSONResponse(exports.of(access, nodes).manifest(access, asked))


def _access(request: Request) -> Access:
    access: Access = request.state.access
    return access


def _page(page: Page[dict[str, Any]], identity: str) -> Response:
    ids = [row[identity] for row in page.data]
    first, last = (ids[0], ids[-1]) if ids else (None, None)
    body = {
        "object": "list",
        "data": page.data,
        "has_more": page.has_more,
        "first_id": first,
        "last_id": last,
    }
    return JSONResponse(body)
