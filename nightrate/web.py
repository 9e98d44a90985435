"""The web application over given routers: the gate, the errors, and the routes that need no room."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import anyio.to_thread
from a2wsgi import WSGIMiddleware
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response

from nightrate import errors
from nightrate.auth import Gate, Gatekeeping, admin_patterns
from nightrate.openapi import describe
from nightrate.stalls import Stalls

CONSOLE = "/console"


def web_app(
    *,
    version: str,
    keeping: Gatekeeping,
    routers: Sequence[APIRouter],
    start: Callable[[], None],
    stop: Callable[[], None],
    request_threads: int,
    stall_seconds: float,
) -> FastAPI:
    """The API. `start` runs before the first request is taken, `stop` after the last was answered."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = request_threads
        await anyio.to_thread.run_sync(start)
        try:
            yield
        finally:
            await anyio.to_thread.run_sync(stop)

    app = FastAPI(
        title="Nightrate",
        version=version,
        description="Batch inference with metering, billing and observability.",
        lifespan=lifespan,
        docs_url=None,  # its pages load their scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        strict_content_type=False,  # a key is needed for everything, so no foreign page can send a form
    )
    for router in routers:
        app.include_router(router)
    errors.install(app)
    describe(app)
    app.add_middleware(Stalls, seconds=stall_seconds)
    app.add_middleware(Gate, keeping=keeping, admin_routes=admin_patterns(routers))
    return app


def service_routes(
    ready: Callable[[], tuple[bool, str]], render_metrics: Callable[[bool], tuple[bytes, str]]
) -> APIRouter:
    """Health, readiness, metrics, and the way from `/` to the console."""
    routes = APIRouter(tags=["service"])

    @routes.get("/healthz", summary="Whether the process answers")
    async def healthz() -> Mapping[str, str]:
        return {"status": "ok"}

    @routes.get("/readyz", summary="Whether work goes on", responses={503: {"description": "not now"}})
    def readyz() -> JSONResponse:
        is_ready, why = ready()
        body = {"status": "ready" if is_ready else "not_ready", "reason": why}
        return JSONResponse(body, 200 if is_ready else 503)

    @routes.get("/metrics", summary="Prometheus metrics", response_class=Response)
    def metrics(request: Request) -> Response:
        wants_openmetrics = "application/openmetrics-text" in request.headers.get("accept", "")
        body, content_type = render_metrics(wants_openmetrics)
        return Response(body, headers={"content-type": content_type})

    @routes.get("/", include_in_schema=False)
    @routes.get(CONSOLE, include_in_schema=False)
    async def home() -> Response:
        return RedirectResponse(f"{CONSOLE}/", 307)

    return routes


def mount_console(app: FastAPI, console: Callable[..., object], threads: int) -> None:
    """Puts the console, a WSGI application, under its path."""
    app.mount(CONSOLE, WSGIMiddleware(console, workers=threads))
