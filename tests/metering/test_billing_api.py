import hashlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from metering.access import ADMIN, Access
from metering.api import billing
from metering.exports import Exports
from metering.lake.nodes import OfNodes
from metering.ledger import Ledger
from metering.options import BillingOptions
from metering.price_list import PriceList
from nightrate import errors
from tests.metering.billed import BOOK, StandingClock, book, end, ended, event, meter, open_store

NEW = '[[prices]]\nmodel = "qwen-plus"\ncurrency = "CNY"\nvalid_from = {at}\ntiers = [{{ input = "1", output = "1" }}]\n'
MONEY = re.compile(r"-?[0-9]+(\.[0-9]+)?")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The billing routes over a ledger of three tasks; the header `x-workspace` says who asks."""
    folder = tmp_path_factory.mktemp("api")
    store, clock = open_store(folder), StandingClock()
    book(folder, BOOK + NEW.format(at="2026-02-25T00:00:00Z")).remember(store)
    prices = book(folder, BOOK + NEW.format(at="2030-01-01T00:00:00Z"))
    prices.remember(store)
    for n in range(3):
        task = ended(f"batch_{n}", workspace_id=f"ws_{n % 2}")
        end(store, meter(prices, clock), task, [event(task, 1)])
        clock.advance(days=3)
    app = FastAPI()
    errors.install(app)
    options = BillingOptions()
    exports = OfNodes(Exports(store, options, clock))
    ledger = Ledger(store, options, clock)
    app.include_router(billing.router(ledger, PriceList(store, prices, clock), exports))

    @app.middleware("http")
    async def known(request: Request, go_on: Any) -> Any:
        name = request.headers.get("x-workspace")
        request.state.access = Access(name, "key") if name else ADMIN
        return await go_on(request)

    with TestClient(app) as open_client:
        yield open_client
    store.close()


def test_charges_come_as_a_list(client: TestClient) -> None:
    """In the shape of every list, its ids being charge ids; the next page begins after the last."""
    first = client.get("/v1/billing/charges?limit=4").json()
    assert (first["object"], first["has_more"], len(first["data"])) == ("list", True, 4)
    assert [first["first_id"], first["last_id"]] == [
        first["data"][0]["charge_id"],
        first["data"][3]["charge_id"],
    ]
    second = client.get("/v1/billing/charges", params={"after": first["last_id"]}).json()
    assert (second["has_more"], len(second["data"])) == (False, 2)
    empty = client.get("/v1/billing/charges?model=none").json()
    assert empty == {"object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None}


def test_quantities_are_integers_and_money_is_text(client: TestClient) -> None:
    """As OpenAPI says it, field by field."""
    for row in client.get("/v1/billing/charges").json()["data"]:
        assert type(row["quantity"]) is type(row["requests"]) is int
        assert all(MONEY.fullmatch(row[name]) for name in row if name.endswith(("amount", "unit_price")))
        assert row["recorded_at"].endswith("Z")
        billing.ChargeList.model_fields["data"].annotation.__args__[0].model_validate(row)  # type: ignore[union-attr]


def test_a_summary_by_month(client: TestClient) -> None:
    """Grouped as asked; amounts of all groups together are the total."""
    body = client.get("/v1/billing/summary?period=2026-11&group_by=workspace").json()
    assert [(row["workspace_id"], row["requests"]) for row in body["data"]] == [("ws_0", 2), ("ws_1", 1)]
    assert body["totals"][0]["amount"] == "0.000027"
    assert (
        client.get(
            "/v1/billing/summary?period=2026-11&group_by=workspace", headers={"x-workspace": "ws_1"}
        ).json()["totals"][0]["requests"]
        == 1
    )


def test_prices_say_where_they_stand(client: TestClient) -> None:
    """In force, to come, past, or no longer in the file; a page goes on after an id."""
    body = client.get("/v1/billing/prices?model=qwen-plus").json()
    assert [row["status"] for row in body["data"]] == ["in_force", "removed", "scheduled"]
    assert body["data"][0]["tiers"][0] == {
        "up_to_input_tokens": 128000,
        "input": "0.8",
        "output": "2",
        "output_thinking": "8",
    }
    rest = client.get("/v1/billing/prices", params={"after": body["first_id"], "model": "qwen-plus"}).json()
    assert rest["data"] == body["data"][1:]
    assert client.get("/v1/billing/prices?after=none").status_code == 404


@pytest.mark.parametrize("query", ["format=csv", "format=csv&profile=spreadsheet", "format=parquet", ""])
@pytest.mark.parametrize("kind", ["charges", "usage"])
def test_an_export_is_what_its_headers_and_its_manifest_say(
    client: TestClient, kind: str, query: str
) -> None:
    """Rows, SHA-256 and a name to save it under."""
    path = f"/v1/billing/exports/{kind}"
    reply = client.get(f"{path}?period=2026-11&{query}")
    assert reply.status_code == 200
    assert reply.headers["x-nightrate-sha256"] == hashlib.sha256(reply.content).hexdigest()
    manifest = client.get(f"{path}/manifest?period=2026-11&{query}").json()
    assert manifest["sha256"] == reply.headers["x-nightrate-sha256"]
    assert str(manifest["rows"]) == reply.headers["x-nightrate-rows"]
    assert manifest["amounts"][0] == {
        "currency": "CNY",
        "list_amount": "0.000054",
        "discount_amount": "0.000027",
        "amount": "0.000027",
    }
    assert re.search(
        rf'filename="nightrate-{kind}-2026-11\.(csv|parquet)"', reply.headers["content-disposition"]
    )


@pytest.mark.parametrize(
    ("path", "status", "param"),
    [
        ("charges?limit=0", 400, "limit"),
        ("charges?limit=x", 400, "limit"),
        ("charges?kind=x", 400, "kind"),
        ("charges?order=x", 400, "order"),
        ("charges?period=2026", 400, "period"),
        ("charges?after=x", 404, "after"),
        ("summary", 400, "period"),
        ("summary?period=2026-11&end=1", 400, "period"),
        ("summary?period=2026-11&group_by=hour", 400, "group_by"),
        ("prices?limit=10001", 400, "limit"),
        ("exports/bills?period=2026-11", 400, "kind"),
        ("exports/bills/manifest?period=2026-11", 400, "kind"),
        ("exports/charges?period=2026-11&format=xml", 400, "format"),
        ("exports/events?period=2026-11&format=xlsx", 400, "format"),
        ("exports/ledger?start=0&end=1", 400, "period"),
        ("exports/charges", 400, "period"),
        ("exports/charges?start=x", 400, "start"),
    ],
)
def test_what_is_refused_names_its_parameter(client: TestClient, path: str, status: int, param: str) -> None:
    """In OpenAI's shape, with what to write instead."""
    reply = client.get(f"/v1/billing/{path}")
    assert (reply.status_code, reply.json()["error"]["param"]) == (status, param)


def test_a_foreign_workspace_is_not_found(client: TestClient) -> None:
    """By whatever route its name is tried."""
    for path in ("charges", "summary", "exports/charges", "exports/charges/manifest"):
        reply = client.get(
            f"/v1/billing/{path}?period=2026-11&workspace_id=ws_0", headers={"x-workspace": "ws_1"}
        )
        assert reply.status_code == 404


def test_the_description_names_every_answer(client: TestClient) -> None:
    """OpenAPI has a schema, a summary and the enumerations of every billing route."""
    paths = client.get("/openapi.json").json()["paths"]
    assert len(paths) == 6
    for operations in paths.values():
        assert operations["get"]["summary"]
        assert operations["get"]["responses"]["200"]["content"]
    kinds = [p for p in paths["/v1/billing/exports/{kind}"]["get"]["parameters"] if p["name"] == "kind"]
    assert kinds[0]["schema"]["enum"] == ["charges", "usage", "statement", "events", "focus", "ledger"]
