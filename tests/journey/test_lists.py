"""Lists, expiries and wrong types over HTTP with the SDK."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest import mock

import pytest
import requests
from openai import OpenAI

from tests.journey.neighbour import new_key, refused
from tests.server import ADMIN_KEY, Server, request

pytestmark = pytest.mark.usefixtures("beside")


@pytest.fixture(scope="module")
def client(server: Server) -> OpenAI:
    """A workspace of its own, so that lists show nothing else."""
    return server.client(new_key(server, "lister")[1])


@pytest.fixture(scope="module")
def ended(server: Server, client: OpenAI) -> list[str]:
    """Seven tasks, oldest first; the third failed."""
    key = client.api_key
    lines = [[b"no\n"] if n == 2 else [request(1, f"task {n}")] for n in range(7)]
    ids = [server.submit_lines(x, key, metadata={"ds_name": f"List {n}"}) for n, x in enumerate(lines)]
    for task_id in ids:
        server.wait(task_id)
    return ids


def test_batches_page_by_page(client: OpenAI, ended: list[str]) -> None:
    """The SDK's pagination walks over all of them, newest first, each once, whatever the limit."""
    for limit in (1, 2, 3, 7, 100):
        assert [batch.id for batch in client.batches.list(limit=limit)] == ended[::-1]
    page = client.batches.list(limit=3)
    assert page.has_more
    assert [batch.id for batch in page.get_next_page().data] == ended[::-1][3:6]
    assert client.batches.list(after=ended[0]).data == []
    for bad in (0, 101):
        with refused(400, param="limit"):
            client.batches.list(limit=bad)
    with refused(400, "batch_none", param="after"):
        client.batches.list(after="batch_none")


def test_batches_by_what_they_are(client: OpenAI, ended: list[str]) -> None:
    """Each filter finds what it names, and pagination keeps it."""

    def found(**query: str) -> list[str]:
        return [batch.id for batch in client.batches.list(limit=2, extra_query=query)]

    others = [task_id for task_id in ended[::-1] if task_id != ended[2]]
    third = client.batches.retrieve(ended[2])
    now = datetime.now(UTC)
    assert found(status="failed") == [ended[2]]
    assert found(status="completed,cancelled") == others
    assert found(ds_name="list 5") == [ended[5]]
    assert found(input_file_ids=third.input_file_id) == [ended[2]]
    assert found(create_after=(now - timedelta(days=300)).strftime("%Y%m%d%H%M%S")) == ended[::-1]
    assert found(create_before="2020-01-01T00:00:00Z") == []
    for query in ({"status": "done"}, {"create_after": "20261399000000"}, {"create_before": "yesterday"}):
        (param,) = query
        with refused(400, param=param):
            client.batches.list(extra_query=query)
    with refused(400, "at most 20", param="input_file_ids"):
        client.batches.list(extra_query={"input_file_ids": ",".join("x" * 21)})


def test_files_page_by_page(client: OpenAI, ended: list[str]) -> None:
    """Uploads and outputs, in both orders, by purpose, page by page; a deleted one is gone from every list."""
    uploads = [str(client.batches.retrieve(task_id).input_file_id) for task_id in ended]
    outputs = [out for x in ended if (out := client.batches.retrieve(x).output_file_id)]
    for limit in (2, 10_000):
        assert [file.id for file in client.files.list(purpose="batch", limit=limit)] == uploads[::-1]
        assert [file.id for file in client.files.list(purpose="batch", limit=limit, order="asc")] == uploads
    assert {file.id for file in client.files.list(purpose="batch_output", limit=2)} == set(outputs)
    assert {file.id for file in client.files.list(limit=3)} == {*uploads, *outputs}
    client.files.delete(uploads[0])
    assert [file.id for file in client.files.list(purpose="batch", order="asc")] == uploads[1:]
    for bad in (0, 10_001):
        with refused(400, param="limit"):
            client.files.list(limit=bad)
    with refused(400, param="order"):
        client.files.list(order="up")  # type: ignore[arg-type]


def test_expiry_is_kept(server: Server, client: OpenAI) -> None:
    """`expires_after` of an upload and `output_expires_after` of a task, in seconds after creation."""
    expiry: Any = {"anchor": "created_at", "seconds": 7200}
    file = client.files.create(file=("in", request(1, "x")), purpose="batch", expires_after=expiry)
    assert file.expires_at == file.created_at + 7200
    assert client.files.retrieve(file.id).expires_at == file.expires_at
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    output = client.files.retrieve(server.wait(batch.id)["output_file_id"])
    assert output.expires_at == output.created_at + 3600
    for bad, param in (({**expiry, "seconds": 10}, "seconds"), ({**expiry, "anchor": "x"}, "anchor")):
        with refused(400, param=f"output_expires_after.{param}"):
            client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                output_expires_after=bad,
            )


WRONG: tuple[Any, ...] = (None, True, 7, -1, 1.5, "x", "", "\x00", "9" * 40, [], ["x"], {}, {"x": {}})
REFUSALS = {400, 404, 405, 409, 413}


def test_wrong_types_are_never_422(server: Server) -> None:
    """Every parameter and every body of every route, with every wrong type: 400 in OpenAI's shape, never 422 or 5xx."""
    description = server.get("/openapi.json")
    victim, _ = new_key(server, "victim")
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {ADMIN_KEY}"
        asked = 0
        for path, operations in description["paths"].items():
            for method, operation in operations.items():
                if path.startswith("/v1/"):
                    url = server.url + _filled(path, victim)
                    asked += _try_all(session, method, url, operation, description["components"]["schemas"])
    assert asked > 500


def test_a_field_of_a_wrong_type_is_named(client: OpenAI) -> None:
    """With everything else right, the error is about that field."""
    good = {"input_file_id": "none", "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    optional = {"metadata": [None, {}], "output_expires_after": [None]}
    for name in (*good, *optional):
        for value in WRONG:
            if value not in optional.get(name, []):
                with refused(400, param=mock.ANY) as error:
                    client.post("/batches", body={**good, name: value}, cast_to=object)
                assert str(error.param).startswith(name), (name, value, error.param)


def test_odd_ids_and_places(server: Server) -> None:
    """Whatever stands in the path is answered in OpenAI's shape; so are unknown routes and methods."""
    with requests.Session() as session:
        session.headers["authorization"] = f"Bearer {ADMIN_KEY}"
        for odd in ("%00", "%2e%2e%2fnightrate.toml", "x" * 5000, "%ff", "%E2%82%AC", "'; DROP TABLE tasks"):
            for place in ("files/%s", "files/%s/content", "batches/%s", "models/%s", "statistics/%s/trend"):
                reply = session.get(f"{server.url}/v1/{place % odd}", timeout=30)
                assert reply.status_code in ((200, 400, 404) if "trend" in place else (400, 404))
                _check(reply)
        for method, path, status in (
            ("GET", "nowhere", 404),
            ("PUT", "batches", 405),
            ("POST", "models", 405),
        ):
            reply = session.request(method, f"{server.url}/v1/{path}", timeout=30)
            assert reply.status_code == status
            _check(reply)


def _filled(path: str, workspace_id: str) -> str:
    return re.sub(r"\{\w+\}", "none", path.replace("{workspace_id}", workspace_id))


def _try_all(
    session: requests.Session, method: str, url: str, operation: dict[str, Any], schemas: dict[str, Any]
) -> int:
    queries = [
        {parameter["name"]: value}
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "query"
        for value in ("x", "", "-1", "1.5", "\x00", "9" * 40, "€" * 200)
    ]
    for query in queries:
        _check(session.request(method, url, params=query, timeout=30))
    bodies = _bodies(operation["requestBody"]["content"], schemas) if "requestBody" in operation else []
    for body in bodies:
        _check(session.request(method, url, data=body, timeout=30), body)
    return len(queries) + len(bodies)


def _bodies(content: dict[str, Any], schemas: dict[str, Any]) -> list[str]:
    schema = content.get("application/json", {}).get("schema", {})
    schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    whole = [json.dumps(value) for value in WRONG] + ["", "{", "nul", '{"a": 1e999}', "[" * 5000, "\x00"]
    named = [json.dumps({name: value}) for name in schema.get("properties", {}) for value in WRONG]
    return whole + named


def _check(reply: requests.Response, body: str | None = None) -> None:
    about = (reply.request.method, reply.request.url, body, reply.status_code, reply.text[:500])
    assert reply.status_code in REFUSALS or reply.status_code == 200, about
    assert reply.headers["x-request-id"].startswith("req_")
    if reply.status_code != 200:
        error = reply.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}, about
        assert error["message"], about
