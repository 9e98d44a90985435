"""Two nodes, one lake: what either says of all nodes is what both say of themselves, added up."""

import json
import urllib.error
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from nightrate.cli import application
from tests.postgres import Postgres
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

Run = Callable[..., str]


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[tuple[Server, Server]]:
    """Both have ended a task; one has corrected a charge."""
    folder = tmp_path_factory.mktemp("nodes")
    lake = {
        "LAKE": postgres.database(),
        "LAKE_DATA": str(folder / "lake"),
        "LAKE_PUBLISH_SECONDS": "0.1",
        "LAKE_TIMEOUT_SECONDS": "2",
    }
    told = {f"NIGHTRATE_STORAGE__{name}": value for name, value in lake.items()}
    with Upstream() as upstream:
        first, second = (Server(folder / name, upstream.url, environment=told) for name in "ab")
        with first, second:
            for server, prompts in ((first, 20), (second, 30)):
                server.wait(server.submit([f"hello {number}" for number in range(prompts)]))
            charge = first.get("/v1/billing/charges")["data"][0]["charge_id"]
            correct(first, charge)
            entries = sum(len(ledger(server, "")) for server in (first, second))
            first.until(lambda: entries_of_all(first), lambda found: found == entries)
            yield first, second


def correct(server: Server, charge_id: str) -> None:
    body = {"charge_id": charge_id, "reason": "a test"}
    authorized = {"authorization": f"Bearer {ADMIN_KEY}"}
    answer = requests.post(f"{server.url}/v1/billing/corrections", json=body, headers=authorized, timeout=30)
    assert answer.status_code == 200, answer.text


def entries_of_all(server: Server) -> int:
    """Zero while no node has made the lake's tables."""
    try:
        return len(ledger(server, "&nodes=all"))
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return 0
        raise


def ledger(server: Server, more: str) -> list[dict[str, Any]]:
    text = server.get_bytes(f"/v1/billing/exports/charges?start=0&format=jsonl{more}").decode()
    return [json.loads(line) for line in text.splitlines()]


def refusal(server: Server, path: str, key: str = ADMIN_KEY) -> tuple[int, str]:
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.get(path, key)
    return refused.value.code, json.load(refused.value)["error"]["code"]


def test_statistics_of_all_nodes(nodes: tuple[Server, Server]) -> None:
    """Totals, the points of a trend and failures are the nodes' sums, the same from either node."""
    each = [server.get("/v1/statistics")["totals"] for server in nodes]
    for server in nodes:
        both = server.get("/v1/statistics?nodes=all")["totals"]
        for name in ("calls", "succeeded", "failed", "tasks", "input_tokens", "output_tokens"):
            assert both[name] == sum(one[name] for one in each), name
        amounts = [Decimal(one["amounts"][0]["amount"]) for one in (*each, both)]
        assert amounts[0] + amounts[1] == amounts[2]
    points = nodes[0].get("/v1/statistics/m/trend?nodes=all")["data"]
    assert sum(point["calls"] for point in points) == 50
    assert nodes[0].get("/v1/statistics/m/errors?nodes=all")["failed"] == 0


def test_a_statement_of_all_nodes(nodes: tuple[Server, Server]) -> None:
    """It is a draft without a number, whose lines are the nodes' lines, corrections included."""
    period = nodes[0].get("/v1/billing/periods")["data"][0]["period"]
    path = f"/v1/billing/statements?period={period}"
    each = [server.get(path)["data"][0] for server in nodes]
    [both] = nodes[1].get(f"{path}&nodes=all")["data"]
    assert (both["number"], both["status"], both["workspace_id"]) == (None, "draft", "default")
    assert Decimal(both["exact_amount"]) == sum(Decimal(one["exact_amount"]) for one in each)
    tokens = Counter[str]()
    for one in each:
        tokens.update({line["sku"]: line["quantity"] for line in one["lines"]})
    assert {line["sku"]: line["quantity"] for line in both["lines"]} == dict(tokens)
    by_key = nodes[1].get(f"{path}&nodes=all&group_by=api_key")["data"][0]
    assert by_key["exact_amount"] == both["exact_amount"]


def test_exports_of_all_nodes(nodes: tuple[Server, Server]) -> None:
    """The ledger of all is the nodes' ledgers, entry for entry; every kind can be had, and its manifest."""
    each = [entry for server in nodes for entry in ledger(server, "")]
    both = ledger(nodes[0], "&nodes=all")
    assert both == sorted(each, key=lambda entry: (entry["recorded_at"], entry["charge_id"]))
    assert any(entry["kind"] == "correction" for entry in both)
    period = nodes[0].get("/v1/billing/periods")["data"][0]["period"]
    for kind in ("charges", "usage", "statement", "events", "focus", "ledger"):
        path = f"/v1/billing/exports/{kind}?period={period}&nodes=all"
        assert nodes[0].get_bytes(path) == nodes[1].get_bytes(path), kind
    manifest = nodes[0].get(f"/v1/billing/exports/events/manifest?period={period}&nodes=all")
    assert (manifest["nodes"], manifest["rows"], manifest["requests"]) == ("all", 50, 50)


def test_only_the_admin_asks_about_all_nodes(nodes: tuple[Server, Server]) -> None:
    """A workspace's key sees its own node's part of that workspace, as ever."""
    key = (nodes[0].folder / "data/default.key").read_text().strip()
    assert nodes[0].get("/v1/statistics", key)["totals"]["tasks"] == 1
    assert refusal(nodes[0], "/v1/statistics?nodes=all", key) == (403, "forbidden")
    assert refusal(nodes[0], "/v1/statistics?nodes=both") == (400, "invalid_value")


def test_the_commands_read_all_nodes(
    nodes: tuple[Server, Server], tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`statistics`, `statement` and `export` take `--all-nodes`; `export` needs no running service for it."""
    period = nodes[0].get("/v1/billing/periods")["data"][0]["period"]
    assert json.loads(run("statistics", "--all-nodes", "--json"))["totals"]["tasks"] == 2
    [statement] = json.loads(run("statement", "--all-nodes", "--json"))
    assert statement["number"] is None
    still = tmp_path / "still.csv"
    monkeypatch.chdir(tmp_path)
    run("export", "charges", "--all-nodes", "--period", period)
    live = tmp_path / f"all-nodes-charges-{period}.csv"
    run("export", "charges", "--all-nodes", "--period", period, "--out", str(still), port="1")
    assert live.read_bytes() == still.read_bytes()
    assert len(live.read_text().splitlines()) == 1 + len(ledger(nodes[0], "&nodes=all"))


@pytest.fixture
def run(
    nodes: tuple[Server, Server], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs a command on the first node's settings; what it printed."""

    def run(*arguments: str, port: str = str(nodes[0].port)) -> str:
        told = {"NIGHTRATE_ADMIN_KEY": ADMIN_KEY, "NIGHTRATE_SERVER__PORT": port, **nodes[0].environment}
        for name, value in told.items():
            monkeypatch.setenv(name, value)
        application()([*arguments, "--config", str(nodes[0].config)], standalone_mode=False)
        return capsys.readouterr().out

    return run


def test_a_lake_that_is_down_answers_for_no_node(nodes: tuple[Server, Server], postgres: Postgres) -> None:
    """503 says so; of itself the node answers as ever, and of all again once the lake is back."""
    postgres.stop()
    try:
        assert refusal(nodes[0], "/v1/statistics?nodes=all") == (503, "lake_unavailable")
        assert nodes[0].get("/v1/statistics")["totals"]["tasks"] == 1
    finally:
        postgres.start()
    assert nodes[0].get("/v1/statistics?nodes=all")["totals"]["tasks"] == 2


def test_a_catalogue_that_hangs_keeps_few_waiting(nodes: tuple[Server, Server], postgres: Postgres) -> None:
    """Two questions wait for it, a third is told so, and of itself the node answers; afterwards all do."""
    assert nodes[0].get("/v1/statistics?nodes=all")["totals"]["tasks"] == 2
    postgres.halt()
    try:
        with ThreadPoolExecutor(3) as asking:
            waiting = [asking.submit(status, nodes[0], "/v1/statistics?nodes=all") for _ in range(3)]
            first = next(as_completed(waiting))
            assert first.result() == 503
            assert nodes[0].get("/v1/statistics")["totals"]["tasks"] == 1
            assert nodes[0].status("/readyz") == 200
            postgres.go_on()
    finally:
        postgres.go_on()
    nodes[0].until(lambda: status(nodes[0], "/v1/statistics?nodes=all"), lambda found: found == 200)


def status(server: Server, path: str) -> int:
    authorized = {"authorization": f"Bearer {ADMIN_KEY}"}
    return requests.get(server.url + path, headers=authorized, timeout=60).status_code
