"""What the routes share: the caller, the JSON body, a list as the API gives it."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query, Request

from metering.access import Access
from metering.errors import InvalidParameter
from metering.pages import Page

T = TypeVar("T")


async def _caller(request: Request) -> Access:  # else it would be called in a thread of the pool
    access: Access = request.state.access
    return access


async def _json(request: Request) -> object:
    try:
        return msgspec.json.decode(await request.body())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidParameter(
            f"The body is not valid JSON: {error}.", param=None, code="invalid_json"
        ) from None


Caller = Annotated[Access, Depends(_caller)]
JsonBody = Annotated[object, Depends(_json)]
WorkspaceId = Annotated[
    str | None,
    Query(max_length=100, description="the workspace to look or make in; another than the key's own is 404"),
]
After = Annotated[str | None, Query(max_length=100, description="the id of the last row of the page before")]


def json_request(schema: dict[str, Any]) -> dict[str, Any]:
    """Describes a JSON body that the route reads itself, so that every refusal names its field."""
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def list_object(page: Page[T], show: Callable[[T], dict[str, Any]]) -> dict[str, Any]:
    """A page as every list of the API is shown."""
    data = [show(row) for row in page.data]
    return {
        "object": "list",
        "data": data,
        "has_more": page.has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
