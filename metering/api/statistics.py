"""`/v1/statistics…`: what the models did, dated by the end of tasks."""

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from metering.access import Access
from metering.api.nodes import Nodes
from metering.api.statistics_shapes import ErrorsReply, ModelsReply, TrendReply
from metering.lake.nodes import OfNodes
from metering.points import INTERVALS
from metering.statistics import INFERENCE_TYPE, Statistics

_MOMENT = "ISO 8601 with a zone, or Unix seconds; to the second, inclusive."


@dataclass(frozen=True, slots=True)
class _Asked:
    """What every statistics route takes; the service refuses what it does not understand."""

    start: Annotated[
        str | None, Query(description=f"First second; the last 24 hours if left out. {_MOMENT}")
    ] = None
    end: Annotated[str | None, Query(description=f"Last second; now if left out. {_MOMENT}")] = None
    timezone: Annotated[
        str | None, Query(description="IANA name; days begin there. UTC if left out.", examples=["UTC"])
    ] = None
    workspace_id: Annotated[str | None, Query(description="The admin's: only this workspace.")] = None
    nodes: Nodes = None
    inference_type: Annotated[
        str | None, Query(description="Only batch is counted.", json_schema_extra={"enum": [INFERENCE_TYPE]})
    ] = None


Asked = Annotated[_Asked, Depends()]
Model = Annotated[str, Path(description="The model's name; it may contain `/`.")]
Interval = Annotated[
    str | None,
    Query(
        description="How long a point is; an hour if left out.", json_schema_extra={"enum": list(INTERVALS)}
    ),
]


def router(statistics: OfNodes[Statistics]) -> APIRouter:
    """The statistics routes over their service."""
    routes = APIRouter(prefix="/v1/statistics", tags=["statistics"])

    @routes.get("", response_model=ModelsReply, summary="All models: calls, tokens, durations and cost")
    def models(
        request: Request,
        asked: Asked,
        model: Annotated[str | None, Query(description="Only this model.")] = None,
    ) -> Response:
        access, meant, said = _meant(statistics, request, asked)
        return _json(meant.models(access, model=model, **said))

    @routes.get("/{model:path}/trend", response_model=TrendReply, summary="One model over time")
    def trend(request: Request, model: Model, asked: Asked, interval: Interval = None) -> Response:
        access, meant, said = _meant(statistics, request, asked)
        return _json(meant.trend(access, model, interval=interval, **said))

    @routes.get("/{model:path}/errors", response_model=ErrorsReply, summary="One model's failures by code")
    def errors(request: Request, model: Model, asked: Asked) -> Response:
        access, meant, said = _meant(statistics, request, asked)
        return _json(meant.errors(access, model, **said))

    return routes


def _meant(
    statistics: OfNodes[Statistics], request: Request, asked: _Asked
) -> tuple[Access, Statistics, dict[str, Any]]:
    """Who asks, the statistics that are meant, and what is asked of them."""
    access: Access = request.state.access
    said = asdict(asked)
    return access, statistics.of(access, said.pop("nodes")), said


def _json(answer: dict[str, Any]) -> Response:
    return Response(msgspec.json.encode(answer), media_type="application/json")
