"""Intake on a real store in a folder of the test: its services, and its routes on a real server."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import uvicorn
from fastapi import FastAPI, Request

import executor.api.batches
import executor.api.files
import executor.api.models
from executor.batches import Batches
from executor.files import Files, StoredFile
from executor.models import ModelCatalog
from executor.options import LimitOptions, ModelOptions
from metering.access import ADMIN, Access
from metering.errors import InvalidParameter
from metering.options import StorageOptions
from metering.store import Store
from nightrate.errors import install

WORKSPACES = ("default", "other", "narrow", "euro", "disabled")


class MovableClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def move(self, **by: float) -> None:
        self.now += timedelta(**by)


class OnePrice:
    """Prices in CNY only, and none for `unpriced`."""

    def currency_for(self, model: str, workspace_currency: str | None = None) -> str:
        currency = workspace_currency or "CNY"
        if model == "unpriced" or currency != "CNY":
            raise InvalidParameter(f"{model} has no price in {currency}", param="model", code="no_price")
        return currency


class Intake:
    """The services of intake, and what the tests turn."""

    def __init__(self, data_dir: Path, limits: LimitOptions) -> None:
        self.data_dir = data_dir
        self.clock = MovableClock()
        self.limits = limits
        self.store = Store(StorageOptions(data_dir=data_dir), ("metering", "executor"), self.clock)
        self.changed: list[str] = []
        upstream = ("http://127.0.0.1:9/v1",)
        self.catalog = ModelCatalog(
            [
                ModelOptions(name="qwen-plus", upstreams=upstream),
                ModelOptions(name="house/small", upstreams=upstream, free=True),
                ModelOptions(name="unpriced", upstreams=upstream),
            ]
        )
        self.files = Files(self.store, data_dir, limits, self.clock)
        self.batches = Batches(
            self.store, self.files, self.catalog, OnePrice(), self.clock, self.changed.append
        )
        self.store.write(lambda tx: tx.insert("workspaces", [self._workspace(name) for name in WORKSPACES]))

    def _workspace(self, name: str) -> dict:
        return {
            "id": name,
            "name": name,
            "disabled": name == "disabled",
            "currency": "EUR" if name == "euro" else None,
            "allowed_models": '["house/small"]' if name == "narrow" else None,
            "created_at": self.clock(),
        }

    def upload(self, data: bytes, access: Access = ADMIN, **options) -> StoredFile:
        with self.files.receive(access, filename="input.jsonl", **options) as upload:
            upload.write(data)
            return upload.commit()

    def set_task(self, task_id: str, **values) -> None:
        """Writes what the engine would have written."""
        assignments = ", ".join(f"{name} = ${name}" for name in values)
        self.store.write(
            lambda tx: tx._connection.execute(
                f"UPDATE tasks SET {assignments} WHERE id = $id", values | {"id": task_id}
            )
        )


@pytest.fixture
def limits() -> LimitOptions:
    return LimitOptions(file_bytes=5_000_000)


@pytest.fixture
def intake(tmp_path: Path, limits: LimitOptions) -> Iterator[Intake]:
    intake = Intake(tmp_path / "data", limits)
    yield intake
    intake.store.close()


@pytest.fixture
def base_url(intake: Intake) -> Iterator[str]:
    """The routes on a real server; the key is the name of the workspace, or `admin`."""
    app = FastAPI()
    install(app)
    app.include_router(executor.api.files.router(intake.files, intake.batches, intake.catalog))
    app.include_router(executor.api.batches.router(intake.batches, lambda _: None, ZoneInfo("Asia/Shanghai")))
    app.include_router(executor.api.models.router(intake.batches, intake.catalog))

    @app.middleware("http")
    async def let_in(request: Request, go_on: Callable):
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        request.state.access = ADMIN if key == "admin" else Access(key, f"key-{key}")
        return await go_on(request)

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    socket = server.config.bind_socket()
    socket.listen()  # a test that comes before the server is ready waits
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join()
    socket.close()
