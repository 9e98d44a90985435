"""No route shows or touches what is another workspace's. A new route without a rule here fails (SPEC §2.7, §12)."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi import FastAPI

from nightrate.app import build
from nightrate.settings import load
from tests.nightrate.running import settings_file
from tests.nightrate.served import served
from tests.upstream import Upstream

MARK = "owners-mark"
"""Stands in everything the owner made: names, metadata, custom ids, prompts."""
ALWAYS = "?start=2020-01-01T00:00:00Z&end=2099-01-01T00:00:00Z"
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass
class Town:
    """A service in which one workspace owns something of everything, and another owns nothing."""

    url: str
    description: dict[str, Any]
    owner: str
    foreign: str
    admin: str
    owner_workspace: str
    ids: dict[str, str]

    def call(self, method: str, path: str, key: str, **more: Any) -> requests.Response:
        for name, value in self.ids.items():
            path = path.replace(f"{{{name}}}", value)
        headers = {"authorization": f"Bearer {key}", **more.pop("headers", {})}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **more)


Rule = Callable[[Town, str, str], None]


def hidden(town: Town, method: str, path: str) -> None:
    """The owner's id is as unknown as one that never was."""
    reply = town.call(method, path, town.foreign, json={})
    assert reply.status_code == 404, reply.text
    assert set(reply.json()["error"]) == {"message", "type", "param", "code"}


def hidden_validation(town: Town, method: str, path: str) -> None:
    reply = town.call(method, path, town.foreign, json={"endpoint": "/v1/chat/completions"})
    assert reply.status_code == 404, reply.text


def empty_list(town: Town, method: str, path: str) -> None:
    """There is something, but not for this key."""
    assert town.call(method, path, town.owner).json()["data"], (
        "the owner sees nothing: the test proves nothing"
    )
    assert town.call(method, path, town.foreign).json()["data"] == []


def no_figures(town: Town, method: str, path: str) -> None:
    """The owner's calls are counted for nobody else."""
    query = "?interval=hour" if path.endswith("trend") else ""
    query = ALWAYS if path.endswith("summary") else query
    seen, unseen = town.call(method, path + query, town.owner), town.call(method, path + query, town.foreign)
    assert (seen.status_code, unseen.status_code) == (200, 200), unseen.text
    assert _numbers(seen.json())
    assert not _numbers(unseen.json())


def _numbers(value: Any, key: str = "") -> list[Any]:
    if isinstance(value, dict):
        return [n for k, inner in value.items() for n in _numbers(inner, k)]
    if isinstance(value, list):
        return [n for inner in value for n in _numbers(inner, key)]
    counted = key in ("calls", "requests", "failed", "succeeded", "input_tokens", "amount", "list_amount")
    return [value] if counted and value not in (0, "0", None) else []


def no_statement(town: Town, method: str, path: str) -> None:
    """What one workspace owes is nobody else's."""
    month = town.call("GET", "/v1/billing/periods", town.owner).json()["data"][0]["period"]
    seen = town.call(method, f"{path}?period={month}", town.owner).json()["data"]
    assert [(one["workspace_id"], one["lines"] != []) for one in seen] == [(town.owner_workspace, True)]
    assert town.call(method, f"{path}?period={month}", town.foreign).json()["data"] == []


def no_rows(town: Town, method: str, path: str) -> None:
    """An export of nothing."""
    seen, unseen = (
        town.call(method, path + ALWAYS, town.owner),
        town.call(method, path + ALWAYS, town.foreign),
    )
    assert (seen.status_code, unseen.status_code) == (200, 200), seen.text + unseen.text
    rows = [reply.headers.get("x-nightrate-rows") or reply.json()["rows"] for reply in (seen, unseen)]
    assert int(rows[0]) > 0
    assert int(rows[1]) == 0


def common(town: Town, method: str, path: str) -> None:
    """The same for everyone: models and prices are nobody's own."""
    assert town.call(method, path, town.foreign).status_code == 200


def own_upload(town: Town, method: str, path: str) -> None:
    """What a key makes belongs to its workspace."""
    made = town.call(
        method, path, town.foreign, files={"file": ("a.jsonl", b"{}")}, data={"purpose": "batch"}
    )
    assert made.status_code == 200, made.text
    identity = made.json()["id"]
    assert town.call("GET", f"/v1/files/{identity}", town.owner).status_code == 404
    assert town.call("DELETE", f"/v1/files/{identity}", town.foreign).status_code == 200


def foreign_input(town: Town, method: str, path: str) -> None:
    """A task on somebody else's file is refused as if there were none."""
    body = {
        "input_file_id": town.ids["file_id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    reply = town.call(method, path, town.foreign, json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input_file_id")


def admins(town: Town, method: str, path: str) -> None:
    """Known to the key's owner, but not theirs to do; whatever the body is."""
    for key in (town.foreign, town.owner):
        reply = town.call(method, path, key, data=b"{not json")
        assert reply.status_code == 403
        assert reply.json()["error"]["type"] == "permission_error"


RULES: dict[str, dict[str, Rule]] = {
    "/v1/files": {"GET": empty_list, "POST": own_upload},
    "/v1/files/{file_id}": {"GET": hidden, "DELETE": hidden},
    "/v1/files/{file_id}/content": {"GET": hidden},
    "/v1/files/{file_id}/validate": {"POST": hidden_validation},
    "/v1/batches": {"GET": empty_list, "POST": foreign_input},
    "/v1/batches/{batch_id}": {"GET": hidden},
    "/v1/batches/{batch_id}/cancel": {"POST": hidden},
    "/v1/batches/{batch_id}/retry": {"POST": hidden},
    "/v1/batches/{batch_id}/results": {"GET": hidden},
    "/v1/models": {"GET": common},
    "/v1/models/{model}": {"GET": common},
    "/v1/statistics": {"GET": no_figures},
    "/v1/statistics/{model}/trend": {"GET": no_figures},
    "/v1/statistics/{model}/errors": {"GET": no_figures},
    "/v1/events": {"GET": empty_list},
    "/v1/billing/charges": {"GET": empty_list},
    "/v1/billing/summary": {"GET": no_figures},
    "/v1/billing/statements": {"GET": no_statement},
    "/v1/billing/periods": {"GET": common},
    "/v1/billing/periods/{period}/close": {"POST": admins},
    "/v1/billing/periods/{period}/verify": {"GET": admins},
    "/v1/billing/corrections": {"POST": admins},
    "/v1/billing/prices": {"GET": common},
    "/v1/billing/prices/check": {"POST": admins},
    "/v1/billing/exports/{kind}": {"GET": no_rows},
    "/v1/billing/exports/{kind}/manifest": {"GET": no_rows},
    "/v1/billing/exports/focus/schema": {"GET": common},
    "/v1/audit": {"POST": admins},
    "/v1/backup": {"POST": admins},
    "/v1/workspaces": {"GET": admins, "POST": admins},
    "/v1/workspaces/{workspace_id}": {"GET": admins, "PATCH": admins},
    "/v1/workspaces/{workspace_id}/keys": {"GET": admins, "POST": admins},
    "/v1/workspaces/{workspace_id}/keys/{key_id}": {"DELETE": admins},
}
OPEN = {"/healthz", "/readyz"}
METRICS = "/metrics"
ROUTES = [(method, path) for path, rules in RULES.items() for method in rules]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    folder = tmp_path_factory.mktemp("town")
    with Upstream() as upstream:
        model = f'[[models]]\nname = "priced"\nupstreams = ["{upstream.url}"]\n[executor]\nmax_attempts = 1\n'
        app, services = build(load(settings_file(folder, model), {}), {})
        with served(app) as url:
            workspace = services.workspaces.create(MARK)[0].id
            _, owner = services.workspaces.create_key(workspace, MARK)
            _, foreign = services.workspaces.create_key("default", "foreign")
            made = Town(url, _description(app), owner, foreign, services.admin.secret, workspace, {})
            key_id = services.workspaces.keys(workspace).data[0].id
            made.ids = {
                "workspace_id": workspace,
                "key_id": key_id,
                "model": "priced",
                "kind": "charges",
                "period": "2020-01",
            }
            made.ids |= _a_task_of_the_owner(made)
            yield made


def _description(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def _a_task_of_the_owner(town: Town) -> dict[str, str]:
    """A file and an ended task with a success, a failure and a bill."""
    lines = [_line(f"{MARK}-1", "hello"), _line(f"{MARK}-2", "@status=400")]
    upload = {"file": (f"{MARK}.jsonl", "\n".join(lines).encode())}
    file = town.call("POST", "/v1/files", town.owner, files=upload, data={"purpose": "batch"}).json()
    body = {
        "input_file_id": file["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        "metadata": {"ds_name": MARK},
    }
    task = town.call("POST", "/v1/batches", town.owner, json=body).json()
    deadline = time.monotonic() + 60
    while task["status"] != "completed":
        assert time.monotonic() < deadline, task
        assert task["status"] not in ("failed", "expired", "cancelled"), task
        time.sleep(0.1)
        task = town.call("GET", f"/v1/batches/{task['id']}", town.owner).json()
    return {"file_id": file["id"], "batch_id": task["id"]}


def _line(custom_id: str, prompt: str) -> str:
    body = {"model": "priced", "messages": [{"role": "user", "content": f"{prompt} {MARK}"}]}
    request = {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return json.dumps(request)


def test_every_route_has_a_rule(town: Town) -> None:
    """Whoever adds a route says here what a foreign key gets of it."""
    described = {
        (method.upper(), path)
        for path, operations in town.description["paths"].items()
        for method in operations
    }
    without_rule = described - set(ROUTES) - {("GET", path) for path in OPEN} - {("GET", METRICS)}
    assert not without_rule
    assert set(ROUTES) <= described


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_foreign_key_gets_nothing_of_the_owners(town: Town, method: str, path: str) -> None:
    """As the rule of the route says, and the owner's things are all there afterwards."""
    RULES[path][method](town, method, path)
    assert town.call("GET", "/v1/files/{file_id}/content", town.owner).text.count(MARK) >= 2
    assert town.call("GET", "/v1/batches/{batch_id}", town.owner).json()["status"] == "completed"


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_naming_the_owners_workspace_helps_nothing(town: Town, method: str, path: str) -> None:
    """A foreign key that names it gets 404 (403 of an admin's route), and no reply has a trace of the owner."""
    reply = town.call(method, f"{path}?workspace_id={town.owner_workspace}", town.foreign, json={})
    assert reply.status_code == (403 if RULES[path][method] is admins else 404), reply.text
    assert MARK not in reply.text


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[0] == "GET"])
def test_no_reply_to_a_foreign_key_has_a_trace_of_the_owner(town: Town, method: str, path: str) -> None:
    """Neither names nor ids of the owner's workspace, key, file or task."""
    reply = town.call(method, path, town.foreign)
    own = [MARK, town.owner_workspace, town.ids["key_id"]]
    assert not [trace for trace in own if trace in reply.text]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("path", RULES)
def test_without_a_key_every_route_is_401(town: Town, method: str, path: str) -> None:
    """For every method, whatever the body."""
    reply = town.call(method, path, "sk-nr-none", data=b"{not json")
    assert reply.status_code == 401
    assert reply.json()["error"]["code"] == "invalid_api_key"


def test_admins_are_exactly_these_routes(town: Town) -> None:
    """What the gate guards is what the description calls the admin's."""
    marked = {
        (method.upper(), path)
        for path, operations in town.description["paths"].items()
        for method, operation in operations.items()
        if "admin" in operation.get("tags", ())
    }
    assert marked == {
        (method, path) for path, rules in RULES.items() for method in rules if rules[method] is admins
    }


def test_metrics_and_health(town: Town) -> None:
    """Figures of all workspaces are the admin's; health is anybody's."""
    assert town.call("GET", METRICS, town.foreign).status_code == 403
    assert town.call("GET", METRICS, town.admin).status_code == 200
    assert all(requests.get(town.url + path, timeout=30).status_code == 200 for path in OPEN)


def test_the_routes_are_documented(town: Town) -> None:
    """docs/api.md names every path."""
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")
    missing = [path for path in town.description["paths"] if path not in page]
    assert not missing, missing
