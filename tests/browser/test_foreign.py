"""Nothing that the console asks or does gives a workspace's session anything of another one (SPEC §2.7).

What an admin's browser really sent is sent again in that session; a callback, section or route without a case fails.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from flask import Flask
from playwright.sync_api import Page, Request, expect

from dashboard import views
from dashboard.actions import actions
from dashboard.downloads import downloads
from dashboard.drawing import HEAD
from executor.options import LimitOptions
from tests.browser.conftest import Open, post
from tests.browser.signed import signed_in
from tests.server import ADMIN_KEY, Server, request

MARK = "classified"
"""Stands in everything the owner made: names, files, custom ids, prompts, errors."""


@dataclass
class Owned:
    """What a workspace has that nobody else may see: ids by the name of a route's part, and all traces of it."""

    ids: dict[str, str]
    traces: set[str] = field(default_factory=set)

    def leaked(self, asked: str, got: str) -> list[str]:
        """Traces in an answer which the question did not hold already."""
        return sorted(trace for trace in self.traces if trace in got and trace not in asked)


@pytest.fixture(scope="module")
def owned(server: Server) -> Owned:
    """A workspace with a key, an ended and a running task, files, charges and failures."""
    workspace = post(server, "/v1/workspaces", {"name": f"{MARK} workspace"})["id"]
    key = post(server, f"/v1/workspaces/{workspace}/keys", {"name": f"{MARK} key"})
    lines = [
        request(n, prompt).replace(f'"r{n}"'.encode(), f'"{MARK} {n}"'.encode())
        for n, prompt in enumerate([MARK, f"{MARK} @status=400 @says"], 1)
    ]
    client = server.client(key["secret"])
    file = client.files.create(file=(f"{MARK}.jsonl", b"".join(lines)), purpose="batch").id
    made = {"ds_name": f"{MARK} task", "ds_description": MARK}
    batch = client.batches.create(
        input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h", metadata=made
    )
    running = server.submit([f"{MARK} @hang"], key["secret"], metadata=made)
    ended = server.wait(batch.id)
    charges = server.get(f"/v1/billing/charges?task_id={batch.id}")["data"]
    ids = {
        "task_id": batch.id,
        "file_id": ended["output_file_id"],
        "input": file,
        "error": ended["error_file_id"],
        "running": running,
        "w": workspace,
        "key": key["id"],
    }
    return Owned(ids, {MARK, *ids.values(), *(charge["charge_id"] for charge in charges)})


@pytest.fixture
def foreign(server: Server, tenant: dict[str, str]) -> requests.Session:
    """The session of another workspace's key."""
    return signed_in(server, tenant["key"])


# -- callbacks --------------------------------------------------------------------------------------


def walk(owned: Owned) -> list[str]:
    """Every page, asked for what is the owner's."""
    workspace, task = owned.ids["w"], owned.ids["task_id"]
    return [
        f"?workspace={workspace}",
        f"?search={MARK}",
        f"?search={task}",
        f"tasks/{task}",
        f"tasks/{owned.ids['running']}",
        f"observation?workspace={workspace}&columns=all",
        f"monitor/m?workspace={workspace}&from=now-1h",
        f"billing?workspace={workspace}&statement={workspace}:USD&api_key_id={owned.ids['key']}",
        f"settings?workspace={workspace}",
        "nowhere",
        "",
        "observation",
        "monitor/m?from=now-1h",
        "billing",
    ]


def sent(page: Page, url: str, paths: list[str]) -> list[Any]:
    """The bodies of all callbacks that a browser sends on these pages."""
    bodies: list[Any] = []

    def note(asked: Request) -> None:
        if "_dash-update-component" in asked.url:
            bodies.append(json.loads(asked.post_data or ""))

    page.on("request", note)
    for path in paths:
        page.goto(f"{url}/console/{path}")
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator("#page .skeleton")).to_have_count(0)
    page.remove_listener("request", note)
    return bodies


def sections_of(bodies: list[Any]) -> set[str]:
    """The keys of the sections that were drawn."""
    outputs = [output["id"] for body in bodies for output in body["outputs"]]
    return {identity["key"] for identity in outputs if isinstance(identity, dict)}


VIEWS = [view for view in vars(views).values() if isinstance(view, views.View)]


def test_no_callback_gives_anything_of_another_workspace(
    open_console: Open, server: Server, owned: Owned, foreign: requests.Session
) -> None:
    """All callbacks of Dash's map, each section of each page: what the admin gets has traces, what others get has none."""
    bodies = sent(open_console().page, server.url, walk(owned))
    known = foreign.get(f"{server.url}/console/_dash-dependencies", timeout=30).json()
    assert {body["output"] for body in bodies} == {one["output"] for one in known}
    assert sections_of(bodies) == {HEAD, *(key for view in VIEWS for key in view.sections)}
    admin, shown = signed_in(server, ADMIN_KEY), 0
    for body in bodies:
        asked = json.dumps(body)
        shown += bool(owned.leaked(asked, called(server, admin, body)))
        assert owned.leaked(asked, called(server, foreign, body)) == [], asked
    assert shown > 20


def called(server: Server, session: requests.Session, body: Any) -> str:
    reply = session.post(f"{server.url}/console/_dash-update-component", json=body, timeout=30)
    assert reply.status_code in (200, 204), reply.text
    return reply.text


# -- routes -----------------------------------------------------------------------------------------

MONTH = "?period={month}&workspace={w}"
ROUTES: dict[str, tuple[str, int]] = {
    "/do/tasks": ("?clone={task_id}&name=x&days=1", 404),
    "/do/preview": ("", 200),
    "/do/check": ("?clone={task_id}", 404),
    "/do/tasks/<task_id>/cancel": ("", 404),
    "/do/tasks/<task_id>/retry": ("", 404),
    "/do/workspaces": ("", 403),
    "/do/workspaces/<w>/enable": ("", 403),
    "/do/workspaces/<w>/disable": ("", 403),
    "/do/workspaces/<w>/change": ("", 403),
    "/do/workspaces/<w>/keys": ("", 403),
    "/do/workspaces/<w>/keys/<key>/revoke": ("", 403),
    "/download/sample.jsonl": ("", 200),
    "/download/files/<file_id>": ("", 404),
    "/download/tasks/<task_id>/partial.jsonl": ("", 404),
    "/download/tasks/<task_id>/durations.csv": ("", 404),
    "/read/tasks/<task_id>/lines/<int:number>": ("", 404),
    "/read/tasks/<task_id>/results/<int:number>": ("", 404),
    "/download/exports/<kind>": (f"{MONTH}&format=csv", 404),
    "/download/observation.csv": ("?workspace={w}&from=now-1h", 404),
    "/download/monitor/<key>.csv": ("?workspace={w}&from=now-1h&model=m", 404),
    "/download/billing/<key>.csv": ("?workspace={w}&month={month}", 404),
    "/print/statements": (MONTH, 404),
}
"""Each route's query and what a foreign key is answered to it."""


def rules_of_routes() -> set[str]:
    """The routes as they are put on the console's server."""
    server, nothing = (
        Flask("routes", static_folder=None),
        SimpleNamespace(workspaces=None, limits=LimitOptions()),
    )
    services: Any = nothing
    actions(server, services)
    downloads(server, services)
    return {str(rule) for rule in server.url_map.iter_rules()}


def test_every_route_has_a_case() -> None:
    """Whoever adds one says here what a foreign key gets of it."""
    assert rules_of_routes() == set(ROUTES)


@pytest.fixture(scope="module")
def month(server: Server, owned: Owned) -> str:
    return str(server.get(f"/v1/billing/charges?task_id={owned.ids['task_id']}")["data"][0]["period"])


@pytest.mark.parametrize("rule", ROUTES)
def test_no_route_gives_anything_of_another_workspace(
    server: Server, owned: Owned, month: str, foreign: requests.Session, rule: str
) -> None:
    """Neither by its ids nor by naming its workspace; and nothing of it is changed."""
    query, status = ROUTES[rule]
    chart = "cost-USD" if "billing" in rule else "calls"
    values = {**owned.ids, "kind": "charges", "int:number": "1", "month": month}
    values |= {"key": chart} if rule.endswith(".csv") else {}
    path = re.sub(r"<([^>]+)>", lambda found: values[found[1]], rule) + query.format(**values)
    method = "POST" if rule.startswith("/do/") else "GET"
    reply = foreign.request(
        method, f"{server.url}/console{path}", json={"name": "x"} if method == "POST" else None, timeout=30
    )
    assert reply.status_code == status, reply.text
    assert owned.leaked(path, reply.text) == []
    assert server.get(f"/v1/batches/{owned.ids['running']}")["status"] == "in_progress"
    assert not server.get(f"/v1/workspaces/{owned.ids['w']}")["disabled"]


@pytest.mark.parametrize("kind", ["charges", "usage", "statement", "events", "focus", "ledger"])
def test_files_of_the_ledger_have_nothing_of_others(
    server: Server, owned: Owned, month: str, foreign: requests.Session, kind: str
) -> None:
    """Where no workspace is named either."""
    path = f"{server.url}/console/download/exports/{kind}?period={month}"
    assert owned.leaked(path, signed_in(server, ADMIN_KEY).get(path, timeout=30).text)
    assert owned.leaked(path, foreign.get(path, timeout=30).text) == []


@pytest.fixture(scope="module", autouse=True)
def ends(server: Server, owned: Owned) -> Iterator[None]:
    yield
    server.client().batches.cancel(owned.ids["running"])
