from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from metering.access import ADMIN, Access
from metering.api import events, statistics
from metering.api.statistics_shapes import ErrorsReply, EventList, ModelsReply, TrendReply
from metering.events import Events
from metering.lake.nodes import OfNodes
from nightrate import errors
from tests.metering.billed import FAILED, NOON, ended, event
from tests.metering.counted import Night

SLASHED = "Qwen/Qwen3-32B"
OLDEST, NEWEST = "batch_0001", "batch_0004"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The routes over four ended tasks and one that still runs; the header `x-workspace` says who asks."""
    night = Night(tmp_path_factory.mktemp("api"))
    night.task(NOON - timedelta(hours=40), [{}, {}, FAILED])
    night.task(NOON - timedelta(hours=3), [{}], workspace_id="ws_2")
    night.task(NOON - timedelta(hours=2), [{}, {}], model=SLASHED, currency=None, free=True)
    night.task(NOON - timedelta(hours=1), [FAILED, {}, {}])
    running = [event(ended("batch_running"), line) for line in (1, 2)]
    night.store.write(lambda tx: tx.insert("request_events", running))
    app = FastAPI()
    errors.install(app)
    app.include_router(statistics.router(OfNodes(night.statistics())))
    app.include_router(events.router(Events(night.store)))

    @app.middleware("http")
    async def known(request: Request, go_on: Any) -> Any:
        name = request.headers.get("x-workspace")
        request.state.access = Access(name, "key") if name else ADMIN
        return await go_on(request)

    with TestClient(app) as open_client:
        yield open_client
    night.store.close()


def ids(client: TestClient, **asked: Any) -> list[str]:
    answer = client.get("/v1/events", params=asked)
    assert answer.status_code == 200, answer.text
    return [row["id"] for row in answer.json()["data"]]


def test_answers_are_as_openapi_describes_them(client: TestClient) -> None:
    """Every field, and no other."""
    for path, shape in (
        ("/v1/statistics", ModelsReply),
        ("/v1/statistics/qwen-plus/trend", TrendReply),
        ("/v1/statistics/qwen-plus/errors", ErrorsReply),
        ("/v1/events", EventList),
    ):
        body = client.get(path).json()
        described = shape.model_validate(body).model_dump()
        assert described.keys() == body.keys()
        assert body["data"]
        for row, told in zip(body["data"], described["data"], strict=True):
            assert row.keys() == told.keys()


def test_a_models_name_may_contain_a_slash(client: TestClient) -> None:
    """Plain or escaped in the path."""
    for name in (SLASHED, SLASHED.replace("/", "%2F")):
        answer = client.get(f"/v1/statistics/{name}/trend").json()
        assert answer["model"] == SLASHED
        assert sum(point["calls"] for point in answer["data"]) == 2
        assert client.get(f"/v1/statistics/{name}/errors").json()["data"] == []


def test_money_is_a_plain_decimal_string(client: TestClient) -> None:
    """A free model costs "0"."""
    rows = client.get("/v1/statistics").json()["data"]
    assert {row["amount"] for row in rows if row["currency"] is None} == {"0"}
    assert all(isinstance(row["amount"], str) and "e" not in row["amount"].lower() for row in rows)


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/statistics?start=yesterday", "start"),
        ("/v1/statistics?end=2026-11-22", "end"),
        ("/v1/statistics?start=2026-11-22T00:00:00Z&end=2026-11-21T00:00:00Z", "end"),
        ("/v1/statistics?timezone=Mars", "timezone"),
        ("/v1/statistics?inference_type=realtime", "inference_type"),
        ("/v1/statistics/m/trend?interval=week", "interval"),
        ("/v1/statistics/m/trend?interval=minute&start=2026-11-20T00:00:00Z", "interval"),
        ("/v1/events?outcome=maybe", "outcome"),
        ("/v1/events?limit=0", "limit"),
        ("/v1/events?limit=10001", "limit"),
        ("/v1/events?limit=x", "limit"),
        ("/v1/events?after=x", "after"),
        ("/v1/events?after=batch_9:1", "after"),
        ("/v1/events?after=batch_running:1", "after"),
        ("/v1/events?start=0&end=x", "end"),
    ],
)
def test_every_refused_parameter_is_400_with_its_name(client: TestClient, path: str, param: str) -> None:
    """Never 422."""
    answer = client.get(path)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_a_strangers_workspace_is_404(client: TestClient) -> None:
    """On each route, and without asking for one a stranger sees nothing."""
    for path in (
        "/v1/statistics",
        "/v1/statistics/qwen-plus/trend",
        "/v1/statistics/qwen-plus/errors",
        "/v1/events",
    ):
        answer = client.get(path, params={"workspace_id": "default"}, headers={"x-workspace": "ws_3"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (404, "workspace_id")
    empty = client.get("/v1/events", headers={"x-workspace": "ws_3"}).json()
    assert empty == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}
    answer = client.get("/v1/events", params={"after": f"{NEWEST}:1"}, headers={"x-workspace": "ws_2"})
    assert answer.status_code == 400


def test_events_are_those_of_ended_tasks(client: TestClient) -> None:
    """The task that ended last first, its lines in order; a running task's are not shown."""
    assert ids(client) == [
        f"{NEWEST}:1", f"{NEWEST}:2", f"{NEWEST}:3", "batch_0003:1", "batch_0003:2", "batch_0002:1",
        f"{OLDEST}:1", f"{OLDEST}:2", f"{OLDEST}:3",
    ]  # fmt: skip
    assert ids(client, task_id="batch_running") == []
    row = client.get("/v1/events", params={"task_id": "batch_0002"}).json()["data"][0]
    assert (row["task_id"], row["line_no"], row["ended_at"]) == (
        "batch_0002",
        1,
        "2026-11-22T09:00:00.123456Z",
    )


def test_events_are_filtered(client: TestClient) -> None:
    """By task, workspace, model, outcome, and the task's end."""
    assert ids(client, task_id=OLDEST, outcome="failed") == [f"{OLDEST}:3"]
    assert ids(client, workspace_id="ws_2") == ["batch_0002:1"]
    assert ids(client, model=SLASHED) == ["batch_0003:1", "batch_0003:2"]
    assert ids(client, outcome="failed") == [f"{NEWEST}:1", f"{OLDEST}:3"]
    second = "2026-11-22T10:00:00Z"
    assert ids(client, start=second, end=second) == ["batch_0003:1", "batch_0003:2"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 8, 9])
@pytest.mark.parametrize("outcome", [None, "succeeded", "failed"])
def test_pages_join_without_a_gap(client: TestClient, limit: int, outcome: str | None) -> None:
    """Whatever their length and filter."""
    asked = {"outcome": outcome} if outcome else {}
    found: list[str] = []
    more, after = True, None
    while more:
        page = client.get(
            "/v1/events", params={**asked, "limit": limit, **({"after": after} if after else {})}
        ).json()
        assert len(page["data"]) <= limit
        found += [row["id"] for row in page["data"]]
        more, after = page["has_more"], page["last_id"]
    assert found == ids(client, **asked)


def test_pages_go_on_where_events_are_gone(tmp_path: Path) -> None:
    """A task whose events retention took away does not hide those of the tasks before it."""
    night = Night(tmp_path)
    for hour in range(5, 0, -1):
        night.task(NOON - timedelta(hours=hour), [{}, {}])
    night.store.write(
        lambda tx: tx._connection.execute("DELETE FROM request_events WHERE task_id > 'batch_0001'")
    )
    page = Events(night.store).list(ADMIN, limit=1)
    assert [row["id"] for row in page.data] == ["batch_0001:1"]
    assert page.has_more
    night.store.close()
