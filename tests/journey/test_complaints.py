"""What people complain of in other services that meter and bill batches, each shown not to be so here.

Through the whole service; what needs a clock or a damaged ledger is in tests/metering/test_complaints.py.
"""

import json
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest

from tests.journey.neighbour import billed
from tests.server import Server, request
from tests.upstream import Upstream

SUMS = ("requests", "input_tokens", "output_tokens", "list_amount", "amount")


def charges(server: Server, task_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.get(f"/v1/billing/charges?task_id={task_id}&limit=1000")["data"]
    return found


def listed(*calls: tuple[int, int]) -> Decimal:
    """The list amount of calls with at most 1,000 input tokens, without thinking."""
    return sum((i * Decimal("1.5") + o * Decimal("2.25") for i, o in calls), Decimal(0)) / 1_000_000


def totals(server: Server) -> dict[str, Any]:
    """The month of the whole ledger, or zeros."""
    month = server.get("/v1/billing/periods?limit=1")["data"][0]["period"]
    found = server.get(f"/v1/billing/summary?period={month}")["totals"]
    return {name: Decimal(found[0][name]) if found else Decimal(0) for name in SUMS}


def test_polling_bills_nothing(server: Server) -> None:
    """Neither early, when a poll could pin the bill at zero, nor often, when each could bill again, nor not at all."""
    polled = server.submit(["@latency=0.3 @in=100 @out=10", *[f"{n} @in=100 @out=10" for n in range(4)]])
    unseen = server.submit([f"{n} @in=50 @out=5" for n in range(4)])
    while True:
        early = charges(server, polled)
        if server.get(f"/v1/batches/{polled}")["status"] == "completed":
            break
        assert early == []
    first = charges(server, polled)
    for _ in range(5):
        server.get(f"/v1/batches/{polled}")
        server.get_bytes(f"/v1/batches/{polled}/results")
    assert charges(server, polled) == first
    assert billed(server, polled)[0] == listed(*[(100, 10)] * 5)
    server.until(lambda: charges(server, unseen), bool)
    assert billed(server, unseen)[0] == listed(*[(50, 5)] * 4)


def test_equal_completion_ids_lose_nothing(server: Server, upstream: Upstream) -> None:
    """A self-hosted server may give every answer the same id: it is part of no key."""
    assert upstream.completion_id == "chatcmpl-same-for-all"
    task = server.submit([f"{n} @in={n} @out=1" for n in range(1, 31)])
    batch = server.wait(task)
    content = server.get_bytes(f"/v1/files/{batch['output_file_id']}/content")
    ids = Counter(json.loads(line)["response"]["body"]["id"] for line in content.splitlines())
    assert ids == {"chatcmpl-same-for-all": 30}
    events = server.get(f"/v1/events?task_id={task}")["data"]
    assert sorted(event["input_tokens"] for event in events) == list(range(1, 31))
    assert billed(server, task)[0] == listed(*[(n, 1) for n in range(1, 31)])


def test_an_equal_request_is_metered_as_often_as_it_is_asked(server: Server) -> None:
    """The same body twice in a file, and the same file twice, are four requests: content is part of no key either."""
    lines = [request(n, "the same @in=10 @out=1") for n in (1, 2)]
    for task in (server.submit_lines(lines), server.submit_lines(lines)):
        server.wait(task)
        assert billed(server, task)[0] == listed((10, 1), (10, 1))
        assert sum(charge["requests"] for charge in charges(server, task)) == 2


@pytest.mark.parametrize(
    ("endpoint", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "@in=90 @out=7"}]}),
        ("/v1/responses", {"input": "@in=90 @out=7"}),
        ("/v1/completions", {"prompt": "@in=90 @out=7"}),
        ("/v1/embeddings", {"input": "@in=90 @out=7"}),
    ],
)
def test_usage_of_every_endpoint_is_read(server: Server, endpoint: str, body: dict[str, Any]) -> None:
    """Whatever its fields are called: never zero tokens where there were some. Embeddings give none back."""
    line = {"custom_id": "a", "method": "POST", "url": endpoint, "body": {"model": "m", **body}}
    task = server.submit_lines([json.dumps(line).encode()], endpoint=endpoint)
    batch = server.wait(task)
    assert batch["request_counts"]["completed"] == 1
    output = 0 if endpoint == "/v1/embeddings" else 7
    assert (batch["usage"]["input_tokens"], batch["usage"]["output_tokens"]) == (90, output)
    assert billed(server, task)[0] == listed((90, output))


def test_reasoning_is_output_and_cached_is_input(server: Server) -> None:
    """Neither is dropped, counted twice or given away: the parts stand in the statistics, the wholes are billed."""
    task = server.submit(["@in=100 @cached=60 @out=50 @reasoning=40"])
    batch = server.wait(task)
    assert batch["usage"]["input_tokens_details"]["cached_tokens"] == 60
    assert batch["usage"]["output_tokens_details"]["reasoning_tokens"] == 40
    quantities = {charge["sku"]: (charge["quantity"], charge["mode"]) for charge in charges(server, task)}
    assert quantities == {"input_tokens": (100, "thinking"), "output_tokens": (50, "thinking")}
    assert billed(server, task)[0] == (100 * Decimal("1.5") + 50 * Decimal(4)) / 1_000_000


def test_what_a_cancelled_task_delivered_is_billed_and_kept(server: Server) -> None:
    """Exactly the lines of its result file; what never ran and what failed cost nothing."""
    task = server.submit([*[f"{n} @in=20 @out=2" for n in range(9)], "@status=400", *["@hang"] * 40])
    server.until(
        lambda: server.get(f"/v1/batches/{task}")["request_counts"], lambda counts: counts["completed"] == 9
    )
    server.client().batches.cancel(task)
    batch = server.wait(task)
    assert batch["status"] == "cancelled"
    lines = server.get_bytes(f"/v1/files/{batch['output_file_id']}/content").splitlines()
    assert len(lines) == 9
    assert billed(server, task)[0] == listed(*[(20, 2)] * 9)


@pytest.mark.parametrize("fault", ["@status=500", "@status=404", "@cut", "@broken", "@hang", "@reset"])
def test_failures_cost_nothing(server: Server, fault: str) -> None:
    """Not even those that broke off in the middle of an answer, nor those that were tried more than once."""
    task = server.submit([f"{fault} @in=500 @out=500"])
    batch = server.wait(task)
    assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
    assert (charges(server, task), batch["nightrate"]["amount"]) == ([], "0")
    assert len(server.get(f"/v1/events?task_id={task}")["data"]) == 1, "the failure is seen all the same"


def test_a_retried_attempt_is_billed_once(server: Server) -> None:
    """The upstream may have been asked twice; the customer asked once."""
    task = server.submit(["again @cut @times=1 @in=10 @out=1"])
    server.wait(task)
    (event,) = server.get(f"/v1/events?task_id={task}")["data"]
    assert event["attempts"] == 2
    assert billed(server, task)[0] == listed((10, 1))


def test_a_refund_restores_every_total(server: Server) -> None:
    """Requests, tokens and amounts of the ledger's sums and of the statement are what they were without it."""
    before = totals(server)
    task = server.submit(["@in=700 @out=70"])
    server.wait(task)
    assert totals(server)["list_amount"] == before["list_amount"] + listed((700, 70))
    for charge in charges(server, task):
        body = {"charge_id": charge["charge_id"], "reason": "refunded"}
        server.client().post("/billing/corrections", body=body, cast_to=dict[str, Any])
    assert totals(server) == before
    month = server.get("/v1/billing/periods?limit=1")["data"][0]["period"]
    (statement,) = server.get(f"/v1/billing/statements?period={month}&workspace_id=default")["data"]
    assert Decimal(statement["exact_amount"]) == totals(server)["amount"]


def test_work_without_a_key_of_its_own_is_billed_too(server: Server) -> None:
    """With the admin key: to the workspace, under no API key; its sum is a row of its own."""
    task = server.submit(["@in=30 @out=3"])
    server.wait(task)
    assert {(charge["workspace_id"], charge["api_key_id"]) for charge in charges(server, task)} == {
        ("default", None)
    }


def test_the_discount_is_the_same_in_every_view(server: Server) -> None:
    """The batch object, the ledger, statistics, metrics and exports: none shows the list price as what was charged."""
    task = server.submit(["@in=800 @out=80"])
    batch = server.wait(task)
    amount = listed((800, 80)) / 2
    assert Decimal(batch["nightrate"]["amount"]) == amount
    assert Decimal(batch["nightrate"]["list_amount"]) == 2 * amount
    for row in charges(server, task):
        assert (
            Decimal(row["list_amount"]) == 2 * Decimal(row["amount"]) == 2 * Decimal(row["discount_amount"])
        )
    month = server.get("/v1/billing/periods?limit=1")["data"][0]["period"]
    sums = totals(server)
    assert sums["list_amount"] == 2 * sums["amount"]
    manifest = server.get(f"/v1/billing/exports/focus/manifest?period={month}")
    (exported,) = manifest["amounts"]
    assert (Decimal(exported["amount"]), Decimal(exported["list_amount"])) == (
        sums["amount"],
        sums["list_amount"],
    )
