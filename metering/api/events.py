"""`GET /v1/events`: the calls of ended tasks, one by one."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from metering.api.statistics_shapes import EventList
from metering.events import LONGEST_PAGE, OUTCOMES, EventFilter, Events

_MOMENT = "of the task's end: ISO 8601 with a zone, or Unix seconds; to the second, inclusive."


def router(events: Events) -> APIRouter:
    """The route over its service."""
    routes = APIRouter(prefix="/v1/events", tags=["statistics"])

    @routes.get(
        "", response_model=EventList, summary="Calls of ended tasks; of the task that ended last first"
    )
    def listed(
        request: Request,
        task_id: Annotated[str | None, Query(description="Only this task.")] = None,
        workspace_id: Annotated[str | None, Query(description="The admin's: only this workspace.")] = None,
        model: Annotated[str | None, Query(description="Only this model.")] = None,
        outcome: Annotated[
            str | None,
            Query(description="Only these calls.", json_schema_extra={"enum": list(OUTCOMES)}),
        ] = None,
        start: Annotated[str | None, Query(description=f"First second {_MOMENT}")] = None,
        end: Annotated[str | None, Query(description=f"Last second {_MOMENT}")] = None,
        limit: Annotated[int, Query(ge=1, le=LONGEST_PAGE)] = 100,
        after: Annotated[str | None, Query(description="The last id of the page before.")] = None,
    ) -> Response:
        asked = EventFilter(task_id, workspace_id, model, outcome, start, end)
        page = events.list(request.state.access, asked, limit=limit, after=after)
        body = {
            "object": "list",
            "data": page.data,
            "has_more": page.has_more,
            "first_id": page.data[0]["id"] if page.data else None,
            "last_id": page.data[-1]["id"] if page.data else None,
        }
        return Response(msgspec.json.encode(body), media_type="application/json")

    return routes
