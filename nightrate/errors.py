"""Every error as OpenAI's clients expect it: `{"error": {"message", "type", "param", "code"}}`.

`Refused` knows its own status. What FastAPI and starlette raise is translated: a body or parameter of
the wrong shape is 400 with its `param`, never 422. Of an unexpected error a caller learns the request
id only; the log has the rest.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from metering.errors import Refused
from metering.failures import LakeFailed
from metering.store import StoreError

log = logging.getLogger("nightrate.errors")

_CODES = {
    400: "invalid_body",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "request_too_large",
}


def error_reply(
    status: int,
    message: str,
    *,
    kind: str | None = None,
    param: str | None = None,
    code: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> JSONResponse:
    """A reply in OpenAI's error shape."""
    kind = kind or ("server_error" if status >= 500 else "invalid_request_error")
    body = {"error": {"message": message, "type": kind, "param": param, "code": code}}
    return JSONResponse(body, status, headers)


def request_id_of(request: Request) -> str | None:
    """The id that the caller finds in `x-request-id`."""
    return getattr(request.state, "request_id", None)


def install(app: FastAPI) -> None:
    """Makes the app answer every error in that shape."""
    app.add_exception_handler(Refused, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(StoreError, _store)


def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return error_reply(error.status, error.message, kind=error.type, param=error.param, code=error.code)


def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = error.errors()
    message = "; ".join(_sentence(fault) for fault in faults[:5])
    return error_reply(400, message, param=_param(faults[0]["loc"]), code=_code(faults[0]["type"]))


def _sentence(fault: Mapping[str, Any]) -> str:
    message = str(fault["msg"]).removeprefix("Value error, ")
    param = _param(fault["loc"])
    return f"{param}: {message}" if param else message


def _param(location: Sequence[int | str]) -> str | None:
    """The name of the field: without the part of the request that it is in, nor positions in the text."""
    parts = [str(part) for part in location[1:]]
    if len(location) == 2 and isinstance(location[1], int):
        return None  # a JSON syntax error: its place is an offset, which the message tells
    return ".".join(parts) or None


def _code(kind: str) -> str:
    return {"missing": "missing_required_parameter", "json_invalid": "invalid_json"}.get(
        kind, "invalid_value"
    )


def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"Unknown request URL: {request.method} {request.url.path}."
    if error.status_code == 405:
        message = f"{request.url.path} can't be called with {request.method}."
    code = _CODES.get(error.status_code)
    return error_reply(error.status_code, message, code=code, headers=error.headers)


def _store(request: Request, error: Exception) -> Response:
    return storage_unavailable(request_id_of(request), error)


def storage_unavailable(request_id: str | None, error: Exception) -> Response:
    """The reply when the database can't answer now; the log tells why."""
    log.error("request %s: %s: %s", request_id, type(error).__name__, error)
    if isinstance(error, LakeFailed):
        message = (
            "The lake can't be read now; try again later, or ask about this node alone, which needs no lake."
        )
        return error_reply(503, message, code="lake_unavailable", headers={"retry-after": "10"})
    message = f"The database could not answer in time; try again later ({type(error).__name__})."
    return error_reply(503, message, code="storage_unavailable", headers={"retry-after": "1"})
