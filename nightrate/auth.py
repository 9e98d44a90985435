"""The gate before every route: who is asking, may they, and is the body small enough.

Pure ASGI, so that a refused request is answered before its body is read. It decides by the path as
the router sees it: under /v1 a key is needed whether or not there is such a route.
"""

import logging
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs, quote

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from metering.access import Access
from metering.store import StoreError
from nightrate.errors import error_reply, storage_unavailable

log = logging.getLogger("nightrate.access")

ADMIN_TAG = "admin"
"""Routes with this tag are the admin's alone."""
_UPLOAD = ("POST", "/v1/files")
"""Its body is streamed to disk and has a limit of its own."""
_BACKUP = ("POST", "/v1/backup")


class BodyLimit(NamedTuple):
    """How long a body may be, and the setting that says so."""

    bytes: int
    setting: str

    @property
    def message(self) -> str:
        """What a caller is told whose body is longer."""
        return f"The body is larger than {self.bytes} bytes ({self.setting})."


@dataclass(frozen=True, slots=True)
class Gatekeeping:
    """What the gate asks: collaborators and limits."""

    verify: Callable[[str], Access | None]
    has_workspace: Callable[[str], bool]
    is_metrics_token: Callable[[str], bool]
    body_bytes: int
    backup_list_bytes: int

    def body_limit(self, scope: Scope) -> BodyLimit | None:
        """Of an API call; none for an upload, and for what is no API call."""
        route = (scope["method"], scope["path"])
        if route == _UPLOAD or not scope["path"].startswith("/v1/"):
            return None
        if route == _BACKUP:
            return BodyLimit(self.backup_list_bytes, "limits.backup_list_bytes")
        return BodyLimit(self.body_bytes, "limits.request_body_bytes")


def admin_patterns(routers: Iterable[APIRouter]) -> list[tuple[str, "re.Pattern[str]"]]:
    """Method and path of each route that is tagged as the admin's."""
    return [
        (method, route.path_regex)
        for router in routers
        for route in router.routes
        if isinstance(route, APIRoute) and ADMIN_TAG in route.tags
        for method in route.methods or ()
    ]


class Gate:
    """ASGI middleware; `admin_routes` are those of `admin_patterns`."""

    def __init__(
        self,
        app: ASGIApp,
        keeping: Gatekeeping,
        admin_routes: Sequence[tuple[str, "re.Pattern[str]"]],
    ) -> None:
        self._app = app
        self._keeping = keeping
        self._admin_routes = admin_routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request in or answers it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        reply = _Reply(send, scope)
        try:
            if (refusal := self._checked(scope, reply.request_id)) is not None:
                await refusal(scope, receive, reply.send)
            else:
                await self._app(scope, self._limited(scope, receive), reply.send)
        except Exception:  # the caller gets the id, the log the rest
            log.exception("request %s failed: %s %s", reply.request_id, scope["method"], quote(scope["path"]))
            if reply.started:
                raise
            message = f"Something went wrong; tell the operator this request id: {reply.request_id}"
            await error_reply(500, message, code="internal_error")(scope, receive, reply.send)

    # -- who may -----------------------------------------------------------------------------------

    def _checked(self, scope: Scope, request_id: str) -> Response | None:
        try:
            return self._refusal(scope)
        except StoreError as error:
            return storage_unavailable(request_id, error)

    def _refusal(self, scope: Scope) -> Response | None:
        path: str = scope["path"]
        if path == "/metrics":
            return self._metrics_refusal(scope)
        if path != "/v1" and not path.startswith("/v1/"):
            return None
        secret = _bearer(scope)
        access = self._keeping.verify(secret) if secret else None
        if access is None:
            return _unauthorized(secret is not None)
        scope["state"]["access"] = access
        return (
            self._admin_refusal(scope, access)
            or self._workspace_refusal(scope, access)
            or self._too_large(scope)
        )

    def _metrics_refusal(self, scope: Scope) -> Response | None:
        secret = _bearer(scope)
        if secret is None:
            return _unauthorized(given=False)
        if self._keeping.is_metrics_token(secret):
            return None
        access = self._keeping.verify(secret)
        if access is None:
            return _unauthorized(given=True)
        return None if access.is_admin else _forbidden()

    def _admin_refusal(self, scope: Scope, access: Access) -> Response | None:
        if access.is_admin:
            return None
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        wanted = (pattern for allowed, pattern in self._admin_routes if allowed == method)
        return _forbidden() if any(pattern.match(scope["path"]) for pattern in wanted) else None

    def _workspace_refusal(self, scope: Scope, access: Access) -> Response | None:
        asked = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).get(
            "workspace_id", []
        )
        for identity in asked:
            hidden = not access.is_admin and identity != access.workspace_id
            if hidden or not self._keeping.has_workspace(identity):
                message = f"No such workspace: {identity!r}."
                return error_reply(404, message, param="workspace_id", code="not_found")
        return None

    # -- how much ----------------------------------------------------------------------------------

    def _too_large(self, scope: Scope) -> Response | None:
        limit, length = self._keeping.body_limit(scope), _header(scope, b"content-length")
        if limit and length and length.isdecimal() and int(length) > limit.bytes:
            return error_reply(413, limit.message, code="request_too_large")
        return None

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        limit = self._keeping.body_limit(scope)
        if limit is None:
            return receive
        read = 0

        async def counted() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > limit.bytes:
                raise HTTPException(413, limit.message)
            return message

        return counted


class _Reply:
    """Adds what every reply carries, and knows whether one has begun."""

    def __init__(self, send: Send, scope: Scope) -> None:
        self._send = send
        self._scope = scope
        self._begun = time.monotonic()
        self.started = False
        self.request_id = f"req_{secrets.token_hex(16)}"
        scope.setdefault("state", {})["request_id"] = self.request_id

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            message["headers"] = [
                *message.get("headers", ()),
                (b"x-request-id", self.request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            took_ms = (time.monotonic() - self._begun) * 1000
            # The path alone: queries can hold a login token, headers a key.
            line = "%s %s %s %d %.1f ms"
            method, path = self._scope["method"], quote(self._scope["path"])
            log.info(line, self.request_id, method, path, message["status"], took_ms)
        await self._send(message)


def _header(scope: Scope, name: bytes) -> str | None:
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value).decode("latin-1")
    return None


def _bearer(scope: Scope) -> str | None:
    scheme, _, secret = (_header(scope, b"authorization") or "").partition(" ")
    return secret.strip() or None if scheme.lower() == "bearer" else None


def _unauthorized(given: bool) -> Response:
    message = (
        "This API key is not valid: it is unknown, expired or revoked, or its workspace is disabled."
        if given
        else "No API key was given; send the header 'Authorization: Bearer <key>'."
    )
    return error_reply(
        401,
        message,
        kind="authentication_error",
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


def _forbidden() -> Response:
    message = "This needs the admin key; a workspace's key may not do it."
    return error_reply(403, message, kind="permission_error", code="forbidden")
