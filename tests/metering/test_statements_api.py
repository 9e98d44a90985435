from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from metering.access import ADMIN, Access
from metering.api import statements
from metering.api.statement_shapes import BillingPeriods, Correction, StatementList
from metering.lake.nodes import OfNodes
from nightrate import errors
from tests.metering.books import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """Tasks of three workspaces in October; now it is November."""
    made = Rig(tmp_path, datetime(2026, 10, 20, tzinfo=UTC))
    for name in ("default", "ws_a", "ws_b"):
        made.workspace(name)
        made.task(workspace_id=name)
    made.clock.now = datetime(2026, 11, 20, tzinfo=UTC)
    yield made
    made.store.close()


@pytest.fixture
def client(rig: Rig) -> Iterator[TestClient]:
    """The routes; the header `x-workspace` says who asks."""
    app = FastAPI()
    errors.install(app)
    own = OfNodes(rig.statements)
    app.include_router(statements.router(own, rig.closing, rig.verification, rig.corrections))

    @app.middleware("http")
    async def known(request: Request, go_on: Any) -> Any:
        name = request.headers.get("x-workspace")
        request.state.access = Access(name, "key") if name else ADMIN
        return await go_on(request)

    with TestClient(app) as open_client:
        yield open_client


def test_statements_come_as_a_list(client: TestClient) -> None:
    """As OpenAPI says it; the next page begins after the last."""
    body = client.get("/v1/billing/statements?period=2026-10&limit=2").json()
    StatementList.model_validate(body)
    assert (body["object"], body["has_more"], len(body["data"])) == ("list", True, 2)
    assert (body["first_id"], body["last_id"]) == ("default:2026-10:CNY", "ws_a:2026-10:CNY")
    rest = client.get("/v1/billing/statements", params={"period": "2026-10", "after": body["last_id"]}).json()
    assert [one["workspace_id"] for one in rest["data"]] == ["ws_b"]
    own = client.get("/v1/billing/statements?period=2026-10", headers={"x-workspace": "ws_b"}).json()
    assert own["data"] == rest["data"]
    empty = client.get("/v1/billing/statements?period=2026-09").json()
    assert empty == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


def test_statements_come_as_a_page_to_print(client: TestClient, rig: Rig) -> None:
    """A sheet each; what users chose is text and never markup, and nothing is loaded or run."""
    rig.workspace("ws_c", name="<script>alert(1)</script>")
    rig.task({"input_tokens": 1_000_000}, workspace_id="ws_c", model="qwen-plus")
    path = "/v1/billing/statements?period=2026-11&format=html"
    reply = client.get(path)
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    assert "&lt;script&gt;" in reply.text
    assert "<script" not in reply.text
    assert "1,000,000" in reply.text
    assert "2.40 CNY" in reply.text
    assert "<title>Statement 2026-11</title>" in reply.text
    assert "<tfoot><tr><td>Sum</td>" in reply.text
    assert '<td class="n">4.80024</td>' in reply.text
    assert 'class="draft"' in reply.text
    assert "API key" in client.get(f"{path}&group_by=api_key").text
    assert client.get("/v1/billing/statements?period=2026-10&format=html").text.count("<section>") == 3


def test_a_month_is_closed(client: TestClient) -> None:
    """Its statements are final from then on, and `periods` tells their numbers."""
    closed = client.post("/v1/billing/periods/2026-10/close")
    assert (closed.status_code, closed.json()["status"]) == (200, "closed")
    final = client.get("/v1/billing/statements?period=2026-10&workspace_id=ws_a").json()["data"]
    assert (final[0]["number"], final[0]["status"]) == ("NR-000002", "final")
    listed = client.get("/v1/billing/periods").json()
    BillingPeriods.model_validate(listed)
    assert listed["data"][1] == closed.json()
    assert client.get("/v1/billing/periods?limit=1").json()["has_more"]
    by_key = client.get("/v1/billing/statements?period=2026-10&group_by=api_key").json()
    assert by_key["data"][0]["lines"][0]["api_key_id"] == "key_1"


def test_a_closed_month_is_verified(client: TestClient) -> None:
    """With each statement's number and hash; one that is not closed has none."""
    assert client.get("/v1/billing/periods/2026-10/verify").status_code == 409
    client.post("/v1/billing/periods/2026-10/close")
    told = client.get("/v1/billing/periods/2026-10/verify").json()
    assert (told["verified"], told["differences"]) == (True, [])
    assert [one["number"] for one in told["statements"]] == ["NR-000001", "NR-000002", "NR-000003"]


def test_a_charge_is_corrected(client: TestClient, rig: Rig) -> None:
    """The reply has both entries."""
    body = {"charge_id": rig.charges()[0]["charge_id"], "reason": "wrong", "replacement": {"quantity": 4}}
    reply = client.post("/v1/billing/corrections", json=body)
    assert reply.status_code == 200
    Correction.model_validate(reply.json())
    assert reply.json()["replacement"]["quantity"] == 4
    again = client.post("/v1/billing/corrections", json=body)
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_reversed")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "param"),
    [
        ("GET", "statements", None, 400, "period"),
        ("GET", "statements?period=2026", None, 400, "period"),
        ("GET", "statements?period=2026-10&group_by=model", None, 400, "group_by"),
        ("GET", "statements?period=2026-10&workspace_id=ws_none", None, 404, "workspace_id"),
        ("GET", "statements?period=2026-10&after=x", None, 404, "after"),
        ("GET", "statements?period=2026-10&format=pdf", None, 400, "format"),
        ("GET", "statements?period=2026-10&limit=0", None, 400, "limit"),
        ("GET", "periods?after=x", None, 404, "after"),
        ("GET", "periods?limit=0", None, 400, "limit"),
        ("POST", "periods/2026-11/close", None, 400, "period"),
        ("POST", "periods/november/close", None, 400, "period"),
        ("POST", "periods/2026-12/close", None, 400, "period"),
        ("POST", "corrections", {}, 400, "charge_id"),
        ("POST", "corrections", {"charge_id": "x"}, 400, "reason"),
        ("POST", "corrections", {"charge_id": "x", "reason": "r"}, 404, "charge_id"),
        ("POST", "corrections", {"charge_id": 1, "reason": "r"}, 400, "charge_id"),
        (
            "POST",
            "corrections",
            {"charge_id": "x", "reason": "r", "replacement": {}},
            400,
            "replacement",
        ),
        (
            "POST",
            "corrections",
            {"charge_id": "x", "reason": "r", "replacement": {"quantity": 1.5}},
            400,
            "replacement.quantity",
        ),
        (
            "POST",
            "corrections",
            {"charge_id": "x", "reason": "r", "replacement": {"list_unit_price": 0.8}},
            400,
            "replacement.list_unit_price",
        ),
        ("POST", "corrections", {"charge_id": "x", "reason": "r", "amount": "1"}, 400, "amount"),
    ],
)
def test_what_is_refused_names_its_parameter(
    client: TestClient, method: str, path: str, body: Any, status: int, param: str
) -> None:
    """In OpenAI's shape."""
    reply = client.request(method, f"/v1/billing/{path}", json=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param), reply.text


def test_closing_and_correcting_are_the_admins(client: TestClient) -> None:
    """Even behind the gate the services refuse a workspace's key."""
    for path, body in (
        ("periods/2026-10/close", None),
        ("corrections", {"charge_id": "x", "reason": "r"}),
    ):
        reply = client.post(f"/v1/billing/{path}", json=body, headers={"x-workspace": "ws_a"})
        assert reply.status_code == 403
