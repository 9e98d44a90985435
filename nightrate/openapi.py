"""The OpenAPI description, completed: the key that every route of /v1 wants, and the errors it may answer."""

from typing import Any

from fastapi import FastAPI

ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_STATUSES = {
    "400": "a parameter or the body is not acceptable; `param` names it",
    "401": "no valid key",
    "403": "the admin's alone",
    "404": "there is no such thing for this key",
    "405": "not with this method",
    "409": "its state does not allow it",
    "413": "the body is too large",
    "429": "more at once than is allowed",
    "500": "unexpected; `x-request-id` finds it in the log",
    "503": "the database or the service can't answer now",
}


def describe(app: FastAPI) -> None:
    """Makes `/openapi.json` say what the gate and the error handlers do. Call it when all routes are known."""
    plain = app.openapi

    def complete() -> dict[str, Any]:
        if app.openapi_schema is None:
            _complete(plain())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = complete  # type: ignore[method-assign]  # the way that FastAPI documents


def _complete(description: dict[str, Any]) -> None:
    components = description.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Error"] = ERROR
    components["responses"] = {f"Error{status}": _response(text) for status, text in _STATUSES.items()}
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    for path, operations in description["paths"].items():
        for operation in operations.values():
            _complete_operation(path, operation)


def _response(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _complete_operation(path: str, operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    responses.pop("422", None)
    if path.startswith("/v1"):
        operation["security"] = [{"key": []}]
        for status in _STATUSES:
            responses.setdefault(status, {"$ref": f"#/components/responses/Error{status}"})
