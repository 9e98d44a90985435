"""Bad upstreams over HTTP: each fault has its line, harms no other request, and is never charged."""

import json
from decimal import Decimal
from typing import Any

import pytest

from tests.journey.neighbour import billed, peak_bytes
from tests.server import Server
from tests.upstream import Upstream

pytestmark = pytest.mark.usefixtures("beside")

BROKEN = {
    "an HTML page": ("@html", "invalid_response"),
    "half a JSON object": ("@broken", "invalid_response"),
    "JSON that is no object": ("@list", "invalid_response"),
    "nothing": ("@empty", "invalid_response"),
    "half of the body": ("@cut", "connection_error"),
    "a reset": ("@reset", "connection_error"),
    "headers and then nothing": ("@quiet", "timeout"),
    "a body that never ends": ("@endless", "response_too_large"),
    "a body above the limit": ("@huge=1100000", "response_too_large"),
}
BELIEVED = {"input_tokens": 60, "output_tokens": 10}


def lines_of(server: Server, file_id: str | None) -> dict[str, Any]:
    """The lines of a result or error file by their custom_id; each is there once."""
    if file_id is None:
        return {}
    rows = [json.loads(row) for row in server.get_bytes(f"/v1/files/{file_id}/content").splitlines()]
    assert len({row["custom_id"] for row in rows}) == len(rows)
    return {row["custom_id"]: row for row in rows}


def test_an_answer_that_is_none(server: Server, upstream: Upstream) -> None:
    """Each broken answer ends with its code in the error file; the good requests of the same task are billed."""
    prompts = [prompt for prompt, _ in BROKEN.values()]
    good = ["good @in=30 @out=5"] * 2
    batch = server.wait(server.submit([good[0], *prompts, good[1]]))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": len(prompts) + 2, "completed": 2, "failed": len(prompts)}
    errors = lines_of(server, batch["error_file_id"])
    codes = {f"r{n}": code for n, (_, code) in enumerate(BROKEN.values(), 2)}
    assert {name: row["error"]["code"] for name, row in errors.items()} == codes
    assert all(row["response"] is None and row["error"]["message"] for row in errors.values())
    assert set(lines_of(server, batch["output_file_id"])) == {"r1", f"r{len(prompts) + 2}"}
    listed = (60 * Decimal("1.5") + 10 * Decimal("2.25")) / 1_000_000
    assert billed(server, batch["id"]) == (listed, listed / 2)
    assert {name: batch["usage"][name] for name in BELIEVED} == BELIEVED
    assert upstream.asked["@html"] == 2
    assert upstream.asked["@endless"] == upstream.asked["@huge=1100000"] == 1


def test_endless_bodies_cost_no_memory(server: Server) -> None:
    """Sixteen at once are cut off at the limit, and the service stays as small as it was."""
    server.wait(server.submit([f"@huge=900000 {n}" for n in range(16)]))
    before = peak_bytes(server, reset=True)
    batch = server.wait(server.submit([f"@endless {n}" for n in range(32)]))
    assert batch["request_counts"] == {"total": 32, "completed": 0, "failed": 32}
    assert peak_bytes(server) - before < 60_000_000
    assert billed(server, batch["id"]) == (0, 0)


POISON = ("@status=500", "@broken", "@hang", "@reset", "@cut")


def test_poison_at_the_end(server: Server, upstream: Upstream) -> None:
    """Ten bad requests in a row, with nothing good behind them, are no outage: each ends after its attempts."""
    poison = [f"last {n} {kind}" for n in range(2) for kind in POISON]
    batch = server.wait(server.submit([*(f"fine {n}" for n in range(100)), *poison]))
    assert batch["status"] == "completed"
    assert batch["request_counts"] == {"total": 110, "completed": 100, "failed": 10}
    assert len(lines_of(server, batch["error_file_id"])) == 10
    assert {upstream.asked[prompt] for prompt in poison} == {2}
    assert batch["nightrate"]["waiting"] is None
    assert "is down" not in server.log.read_text()


@pytest.mark.parametrize("kind", POISON)
def test_a_task_of_one_bad_request(server: Server, upstream: Upstream, kind: str) -> None:
    """It ends as soon as its attempts have failed."""
    batch = server.wait(server.submit([f"alone {kind}"]))
    assert batch["request_counts"] == {"total": 1, "completed": 0, "failed": 1}
    assert upstream.asked[f"alone {kind}"] == 2


def test_an_error_status(server: Server) -> None:
    """It is delivered with its status and body as they came."""
    batch = server.wait(server.submit(["@status=400", "@status=404"]))
    errors = lines_of(server, batch["error_file_id"])
    assert {name: row["response"]["status_code"] for name, row in errors.items()} == {"r1": 400, "r2": 404}
    assert errors["r1"]["response"]["body"]["error"]["message"] == "scripted 400"
    assert all(row["error"] is None for row in errors.values())


def test_usage_that_can_not_be_believed(server: Server) -> None:
    """The answer is delivered and counts as succeeded, is shown as unmetered, and nothing is charged for it."""
    kinds = ("none", "null", "negative", "absurd", "fraction", "text", "parts")
    bad = [f"odd @usage={kind} @in=30 @out=5" for kind in kinds]
    batch = server.wait(server.submit([*bad, "good @in=60 @out=10"]))
    assert batch["request_counts"] == {"total": 8, "completed": 8, "failed": 0}
    results = lines_of(server, batch["output_file_id"])
    assert all(row["response"]["body"]["choices"] for row in results.values())
    assert {name: batch["usage"][name] for name in BELIEVED} == BELIEVED
    listed = (60 * Decimal("1.5") + 10 * Decimal("2.25")) / 1_000_000
    assert billed(server, batch["id"]) == (listed, listed / 2)
    events = server.get(f"/v1/events?task_id={batch['id']}")["data"]
    metered = {event["custom_id"]: event["input_tokens"] for event in events if not event["unmetered"]}
    assert metered == {"r8": 60}
    assert {event["input_tokens"] for event in events if event["unmetered"]} == {None}


def test_unmetered_requests_are_never_silent(server: Server) -> None:
    """Statistics and metrics count them."""

    def shown() -> tuple[int, list[str]]:
        page = server.get("/metrics").splitlines()
        counted = [line for line in page if line.startswith("nightrate_unmetered_requests_total{")]
        return server.get("/v1/statistics?model=m")["data"][0]["unmetered"], counted

    before, _ = shown()
    server.wait(server.submit(["@usage=absurd 1", "@usage=negative 2", "fine"]))
    after, lines = shown()
    assert after == before + 2
    server.until(lambda: shown()[1], lambda lines: float(lines[0].split()[-1]) == after)
    assert len(lines) == 1
