import json
import os
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from metering.options import StorageOptions
from metering.store import Store
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

CONCURRENCY = 32
UNCOMMITTED = 16
KILLS = 20
REQUESTS = 2000
POINTS = {
    # place: at which passing of it
    "validation.ended": 1,
    "commit.begun": 2,
    "commit.appended": 2,
    "commit.synced": 2,
    "commit.stored": 2,
    "ending.claimed": 1,
    "ending.cut": 1,
    "ending.synced": 1,
    "ending.rated": 1,
    "ending.stored": 1,
}
WHILE_CANCELLING = ("ending.cut", "ending.written", "ending.synced", "ending.rated", "ending.stored")
WHILE_EXPIRING = ("ending.claimed", "ending.cut", "ending.written", "ending.synced", "ending.stored")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def killed_server(folder: Path, upstream: Upstream) -> Server:
    """The service, with a bound on what a crash can cost."""
    executor = f"uncommitted_rows = {UNCOMMITTED}"
    return Server(folder, upstream.url, concurrency=CONCURRENCY, executor=executor)


def lines_of(server: Server, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    return [json.loads(line) for line in server.client().files.content(file_id).text.splitlines()]


def assert_whole(server: Server, upstream: Upstream, batch: dict[str, Any], kills: int) -> None:
    """One line a request, one event a call, the ledger equals the result file, and few were asked again."""
    good, bad = lines_of(server, batch["output_file_id"]), lines_of(server, batch["error_file_id"])
    total = batch["request_counts"]["total"]
    assert sorted(int(line["custom_id"][1:]) for line in good + bad) == list(range(1, total + 1))
    called = [line for line in good + bad if not (line["error"] or {}).get("code", "").startswith("batch_")]
    tokens = Counter[str]()
    for line in good:
        tokens.update(line["response"]["body"]["usage"])
    charges = server.get("/v1/billing/charges?limit=10000")["data"]
    assert {c["task_id"] for c in charges} <= {batch["id"]}
    assert sum(c["quantity"] for c in charges if c["sku"] == "input_tokens") == tokens["prompt_tokens"]
    assert sum(c["quantity"] for c in charges if c["sku"] == "output_tokens") == tokens["completion_tokens"]
    owed = (
        Decimal(tokens["prompt_tokens"]) * Decimal("1.5")
        + Decimal(tokens["completion_tokens"]) * Decimal("2.25")
    ) * Decimal("0.0000005")
    assert (
        sum((Decimal(c["amount"]) for c in charges), Decimal(0))
        == owed
        == Decimal(batch["nightrate"]["amount"])
    )
    assert server.stop() == 0
    with closing(Store(StorageOptions(data_dir=server.folder / "data"))) as store, store.reading() as read:
        events = read._connection.execute(
            "SELECT custom_id, count(*) FROM request_events WHERE task_id = ? GROUP BY ALL", [batch["id"]]
        ).fetchall()
        (rollups,) = read._connection.execute("SELECT count(*) FROM task_rollups").fetchone() or ()
    assert dict(events) == {line["custom_id"]: 1 for line in called}
    assert rollups == 1
    asked_again = sum(asked - 1 for asked in upstream.asked.values())
    # a batch that is being committed, and what is queued or in flight meanwhile: bound by settings, not by speed
    assert asked_again <= kills * 2 * (UNCOMMITTED + CONCURRENCY)


def test_twenty_kills_at_random_moments(tmp_path: Path, upstream: Upstream) -> None:
    """A task of 2,000 requests survives twenty SIGKILLs: nothing lost, nothing doubled."""
    seed = random.randrange(2**32)
    print("seed", seed)
    moments = random.Random(seed)
    upstream.latency = 0.05
    server = killed_server(tmp_path, upstream).start()
    task_id = server.submit([f"hello {n}" for n in range(REQUESTS)])
    kills = 0
    while kills < KILLS:
        time.sleep(moments.uniform(0.0, 0.25))
        server.kill()
        kills += 1
        # not only while it works: some kills hit the start itself
        server.start(wait=moments.random() < 0.7)
    server.wait_ready()
    batch = server.wait(task_id)
    assert batch["status"] == "completed"
    assert_whole(server, upstream, batch, kills)


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_between_two_steps(tmp_path: Path, upstream: Upstream, point: str) -> None:
    """Killed at a named place of validation, commit or ending, the next start goes on as if nothing was."""
    upstream.latency = 0.05
    server = killed_server(tmp_path, upstream).start(NIGHTRATE_FAULT=f"{point}:{POINTS[point]}")
    task_id = server.submit([f"hello {n}" for n in range(300)])
    assert server.process is not None
    assert server.process.wait(60) == -9
    server.start()
    batch = server.wait(task_id)
    assert batch["status"] == "completed"
    assert_whole(server, upstream, batch, 1)


@pytest.mark.parametrize("point", WHILE_CANCELLING)
def test_a_kill_while_cancelling(tmp_path: Path, upstream: Upstream, point: str) -> None:
    """A cancel that was answered stays one, wherever its ending is interrupted."""
    upstream.latency = 0.05
    server = killed_server(tmp_path, upstream).start(NIGHTRATE_FAULT=f"{point}:1")
    task_id = server.submit([f"hello {n}" for n in range(1000)])
    server.until(
        lambda: server.get(f"/v1/batches/{task_id}"),
        lambda b: b["request_counts"]["completed"] >= CONCURRENCY,
    )
    upstream.latency = 1  # so that not all is done before it can be cancelled
    assert server.client().batches.cancel(task_id).status == "cancelling"
    assert server.process is not None
    assert server.process.wait(60) == -9
    server.start()
    batch = server.wait(task_id)
    assert batch["status"] == "cancelled"
    assert 0 < batch["request_counts"]["completed"] < 1000
    assert_whole(server, upstream, batch, 1)


@pytest.mark.parametrize("point", WHILE_EXPIRING)
def test_a_kill_while_expiring(tmp_path: Path, upstream: Upstream, point: str) -> None:
    """A window that is over stays over, wherever the ending is interrupted."""
    upstream.latency = 0.2
    server = killed_server(tmp_path, upstream).start()
    task_id = server.submit([f"hello {n}" for n in range(1000)])
    server.until(
        lambda: server.get(f"/v1/batches/{task_id}"),
        lambda b: b["request_counts"]["completed"] >= CONCURRENCY,
    )
    server.kill()
    _let_the_window_end(tmp_path / "data", task_id)
    server.start(wait=False, NIGHTRATE_FAULT=f"{point}:1")
    assert server.process is not None
    assert server.process.wait(60) == -9
    server.start()
    batch = server.wait(task_id)
    assert batch["status"] == "expired"
    assert 0 < batch["request_counts"]["completed"] < 1000
    assert_whole(server, upstream, batch, 2)


@pytest.mark.parametrize("point", ["recovery.cut", "recovery.forgot", "recovery.done"])
def test_a_kill_while_recovering(tmp_path: Path, upstream: Upstream, point: str) -> None:
    """A recovery that is interrupted is simply done again."""
    upstream.latency = 0.02
    server = killed_server(tmp_path, upstream).start()
    task_id = server.submit([f"hello {n}" for n in range(1000)])
    server.until(
        lambda: server.get(f"/v1/batches/{task_id}"), lambda b: b["request_counts"]["completed"] >= 100
    )
    server.kill()
    results = tmp_path / f"data/outputs/{task_id}.output.jsonl"
    os.truncate(results, results.stat().st_size // 2)
    server.start(wait=False, NIGHTRATE_FAULT=f"{point}:1")
    assert server.process is not None
    assert server.process.wait(60) == -9
    server.start()
    batch = server.wait(task_id)
    assert batch["status"] == "completed"
    assert_whole(server, upstream, batch, 3)


def test_an_upload_cut_off_by_a_crash_leaves_nothing(tmp_path: Path, upstream: Upstream) -> None:
    """What was received of a file that never became one is gone after the next start."""
    server = Server(tmp_path, upstream.url).start()
    head = (
        "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + ADMIN_KEY + "\r\n"
        "content-type: multipart/form-data; boundary=b\r\ncontent-length: 900000\r\n\r\n"
        '--b\r\ncontent-disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
        '--b\r\ncontent-disposition: form-data; name="file"; filename="in.jsonl"\r\n\r\n'
    )
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(head.encode() + b"x" * 300_000)
        left = server.until(lambda: list((tmp_path / "data/tmp").glob("*")), bool)
        server.kill()
    server.start()
    assert not any(path.exists() for path in left)
    assert server.get("/v1/files")["data"] == []
    assert server.stop() == 0


def _let_the_window_end(data_dir: Path, task_id: str) -> None:
    """A real window lasts a day at least: its end is moved in the stopped service's database."""
    with closing(Store(StorageOptions(data_dir=data_dir))) as store:
        store.write(
            lambda tx: (
                tx._connection.execute("UPDATE tasks SET expires_at = created_at WHERE id = ?", [task_id])
                and None
            )
        )
