"""A node's lake after kills and while it is down: what ended is there once, and nothing else ever waits for it."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.metering.lakes import Shared
from tests.postgres import Postgres
from tests.server import Server
from tests.upstream import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        upstream.latency = 0.1  # so that whoever makes a task has its id before it ends
        yield upstream


@pytest.fixture
def lake(tmp_path: Path, postgres: Postgres) -> Iterator[Shared]:
    lake = Shared(tmp_path, postgres.database())
    yield lake
    lake.close()


def server_of(folder: Path, upstream: Upstream, lake: Shared, **environment: str) -> Server:
    told = {
        "LAKE": str(lake.options.lake),
        "LAKE_DATA": str(lake.options.lake_data),
        "LAKE_PUBLISH_SECONDS": "0.1",
        "LAKE_TIMEOUT_SECONDS": "1",
    }
    settings = {f"NIGHTRATE_STORAGE__{name}": value for name, value in told.items()}
    return Server(folder, upstream.url, environment=settings | environment)


def done(server: Server) -> dict[str, Any]:
    batch: dict[str, Any] = server.wait(server.submit([f"hello {number}" for number in range(30)]))
    assert batch["status"] == "completed"
    return batch


def up(server: Server) -> str:
    return next(line for line in server.get("/metrics").splitlines() if line.startswith("nightrate_lake_up "))


def assert_there_once(server: Server, lake: Shared, batches: list[dict[str, Any]]) -> None:
    """Each task with all its calls, and a ledger that equals the node's."""
    wanted = {batch["id"]: (1, 30) for batch in batches}
    calls = (
        "SELECT task_id, (SELECT count(*) FROM task_rollups r WHERE r.task_id = e.task_id), count(*) "
        "FROM request_events e GROUP BY task_id"
    )
    server.until(
        lambda: {task: (rollups, events) for task, rollups, events in lake.find(calls)},
        lambda found: found == wanted,
    )
    charges = server.get("/v1/billing/charges?limit=10000")["data"]
    assert sorted(lake.find("SELECT charge_id, amount FROM charges")) == sorted(
        (charge["charge_id"], Decimal(charge["amount"])) for charge in charges
    )


def test_kills_while_publishing(tmp_path: Path, upstream: Upstream, lake: Shared) -> None:
    """Killed before, in and after the lake's transaction, the next start publishes what is missing and no more."""
    server = server_of(tmp_path / "node", upstream, lake)
    tasks = []
    for place in ("publication.compared", "publication.added", "publication.stored"):
        server.start(NIGHTRATE_FAULT=f"{place}:2")
        tasks.append(server.submit([f"hello {number}" for number in range(30)]))
        assert server.process is not None
        assert server.process.wait(60) == -9
    server.start()
    assert_there_once(server, lake, [*map(server.wait, tasks), done(server)])
    assert server.stop() == 0


def test_a_lake_that_is_down_is_only_behind(
    tmp_path: Path, upstream: Upstream, lake: Shared, postgres: Postgres
) -> None:
    """Its catalogue is gone, or hangs: tasks end, the service is ready and says so; then the lake catches up."""
    server = server_of(tmp_path / "node", upstream, lake)
    postgres.stop()
    try:
        server.start()
        batches = [done(server)]
        server.until(lambda: up(server), lambda line: line.endswith(" 0"))
        assert server.status("/readyz") == 200
        assert "the lake is behind" in server.log.read_text()
    finally:
        postgres.start()
    server.until(lambda: up(server), lambda line: line.endswith(" 1"))
    assert_there_once(server, lake, batches)
    postgres.halt()
    try:
        batches += [done(server)]
        server.until(lambda: up(server), lambda line: line.endswith(" 0"))
        assert server.status("/readyz") == 200
        assert server.stop() == 0
    finally:
        postgres.go_on()
    server.start()
    assert_there_once(server, lake, batches)
    assert server.stop() == 0
