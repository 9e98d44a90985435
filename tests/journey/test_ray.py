"""With `executor.engine = "ray"` a task runs in Ray actors, and keeps every promise when an actor or the service dies.

A real Ray cluster on this machine, of two actors; max_attempts = 1: whatever is counted wrongly fails a request.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.behaviour import Behaviour
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

pytestmark = pytest.mark.timeout(600)
READY_SECONDS = 250
"""A cluster has some dozen processes to start."""


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Server]:
    executor = 'engine = "ray"\nray_actors = 2\nmax_attempts = 1\ncancel_grace_seconds = 1'
    folder = tmp_path_factory.mktemp("ray")
    server = Server(folder, upstream.url, timeout=60, executor=executor, more='api_key_env = "UPSTREAM_KEY"')
    server.environment["UPSTREAM_KEY"] = "sk-upstream-secret"
    try:
        server.start(wait=False).wait_ready(READY_SECONDS)
        yield server
    finally:
        assert server.stop() == 0


@pytest.fixture(autouse=True)
def healthy(upstream: Upstream) -> None:
    upstream.forget()
    upstream.latency, upstream.rule = 0.0, None


def descendants(pid: int) -> dict[int, str]:
    """Every process that comes from this one, and its command line."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text().rpartition(")")[2].split()
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        if stat[0] != "Z":
            parents[int(folder.name)] = int(stat[1])
    found: dict[int, str] = {}
    below = [pid]
    while below:
        below = [child for child, parent in parents.items() if parent in below]
        found.update((child, commands[child]) for child in below)
    return found


def actors(server: Server) -> list[int]:
    assert server.process is not None
    return [
        pid for pid, command in descendants(server.process.pid).items() if command.startswith("ray::Actor")
    ]


def lines_of(server: Server, file_id: str | None) -> list[dict[str, Any]]:
    if file_id is None:
        return []
    return [json.loads(line) for line in server.client().files.content(file_id).text.splitlines()]


def completed(server: Server, task_id: str) -> int:
    return int(server.get(f"/v1/batches/{task_id}")["request_counts"]["completed"])


def assert_whole(server: Server, task_id: str) -> None:
    """One line a request and one event a call; the ledger equals the result file, and the audit agrees."""
    batch = server.wait(task_id)
    assert batch["status"] == "completed"
    counts = batch["request_counts"]
    good, bad = lines_of(server, batch["output_file_id"]), lines_of(server, batch["error_file_id"])
    numbers = sorted(int(line["custom_id"][1:]) for line in good + bad)
    assert numbers == list(range(1, counts["total"] + 1))
    assert counts["completed"] == len(good)
    assert counts["failed"] == 0
    events = server.get(f"/v1/events?task_id={task_id}&limit=10000")["data"]
    assert Counter(event["custom_id"] for event in events) == {line["custom_id"]: 1 for line in good}
    tokens = Counter[str]()
    for line in good:
        tokens.update(line["response"]["body"]["usage"])
    charges = server.get(f"/v1/billing/charges?task_id={task_id}&limit=10000")["data"]
    owed = Decimal(tokens["prompt_tokens"]) * Decimal("1.5") + Decimal(tokens["completion_tokens"]) * Decimal(
        "2.25"
    )
    assert sum(Decimal(charge["amount"]) for charge in charges) == owed * Decimal("0.0000005")
    assert Decimal(batch["nightrate"]["amount"]) == owed * Decimal("0.0000005")
    assert audited(server, task_id) == {"verified"}


def audited(server: Server, task_id: str) -> set[str]:
    """What the audit says of a task."""
    headers = {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"}
    body = json.dumps({"task_id": task_id}).encode()
    request = urllib.request.Request(f"{server.url}/v1/audit", data=body, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as reply:
        return {name for name, count in json.load(reply)["totals"].items() if count}


def test_without_ray_the_service_says_what_to_install(tmp_path: Path) -> None:
    """Exit code 2, and one line with the remedy; an address that is none is refused too."""
    (tmp_path / "sitecustomize.py").write_text('import sys\nsys.modules["ray"] = None\n')
    config = Server(tmp_path / "service", "http://127.0.0.1:9/v1", executor='engine = "ray"').config
    done = _started(config, PYTHONPATH=str(tmp_path))
    assert done.returncode == 2
    assert 'executor.engine is "ray", but Ray is not installed' in done.stderr
    assert 'pip install "nightrate[ray]"' in done.stderr
    done = _started(config, NIGHTRATE_EXECUTOR__RAY_ADDRESS="ray://head")
    assert done.returncode == 2
    assert "NIGHTRATE_EXECUTOR__RAY_ADDRESS: 'ray://head' is not the address of a Ray cluster" in done.stderr


def _started(config: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "nightrate.serve", str(config)]
    env = {**os.environ, **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_a_task_runs_to_its_end_in_actors(server: Server, upstream: Upstream) -> None:
    """Results, events, charges and audit are those of any task; both actors work, the service asks nothing itself."""
    upstream.latency = 0.05
    task_id = server.submit([f"hello {n}" for n in range(500)])
    assert_whole(server, task_id)
    assert upstream.total == 500
    assert {seen.headers["authorization"] for seen in upstream.snapshot()} == {"Bearer sk-upstream-secret"}
    server.until(lambda: len(actors(server)), lambda count: count == 2)


def test_the_upstreams_key_is_written_nowhere(server: Server) -> None:
    """Neither Ray's logs nor a command line hold it."""
    folders = [
        Path(command.split("--temp-dir=")[1].split()[0])
        for command in _commands(server)
        if "--temp-dir=" in command
    ]
    assert folders
    files = [path for path in folders[0].rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if b"sk-upstream-secret" in path.read_bytes()]
    assert not [command for command in _commands(server) if "sk-upstream-secret" in command]
    assert folders[0].parent.stat().st_mode & 0o777 == 0o700


def _commands(server: Server) -> list[str]:
    assert server.process is not None
    return list(descendants(server.process.pid).values())


def test_killed_actors_lose_nothing_and_double_nothing(server: Server, upstream: Upstream) -> None:
    """One is killed, then the other too: what they had under way is asked again and none of it counts as failed."""
    upstream.latency = 0.1
    one, other = server.until(lambda: actors(server), lambda pids: len(pids) == 2)
    task_id = server.submit([f"hello {n}" for n in range(600)])
    server.until(lambda: completed(server, task_id), lambda count: count >= 50)
    os.kill(one, signal.SIGKILL)
    server.until(lambda: completed(server, task_id), lambda count: count >= 150)
    os.kill(other, signal.SIGKILL)
    assert_whole(server, task_id)
    assert sum(asked - 1 for asked in upstream.asked.values()) <= 2 * 16
    server.wait_ready(READY_SECONDS)


def test_a_cluster_that_is_gone_is_begun_anew(server: Server, upstream: Upstream) -> None:
    """What it had under way is asked again; nothing of the old one is left, and meanwhile the service is not ready."""
    upstream.latency = 0.1
    task_id = server.submit([f"hello {n}" for n in range(600)])
    server.until(lambda: completed(server, task_id), lambda count: count >= 50)
    assert server.process is not None
    old = descendants(server.process.pid)
    [speaker] = [pid for pid, command in old.items() if "executor.engines.ray" in command]
    os.kill(speaker, signal.SIGKILL)
    assert server.until(lambda: server.status("/readyz"), lambda status: status != 200) == 503
    waiting = server.until(lambda: server.get(f"/v1/batches/{task_id}")["nightrate"]["waiting"], bool)
    assert (waiting["reason"], waiting["upstream"]) == ("outage", None)
    until_gone(old)
    server.wait_ready(READY_SECONDS)
    assert_whole(server, task_id)


def test_an_outage_fails_no_request(server: Server, upstream: Upstream) -> None:
    """The task waits, says so, and goes on when the upstream is back."""
    upstream.latency = 0.05
    task_id = server.submit([f"hello {n}" for n in range(300)])
    server.until(lambda: completed(server, task_id), lambda count: count >= 20)
    upstream.stop()
    waiting = server.until(lambda: server.get(f"/v1/batches/{task_id}")["nightrate"]["waiting"], bool)
    assert (waiting["reason"], waiting["upstream"]) == ("outage", upstream.url)
    upstream.start()
    assert_whole(server, task_id)


def test_pushback_fails_no_request(server: Server, upstream: Upstream) -> None:
    """429 lowers the concurrency, is asked again, and uses up no attempt."""
    upstream.rule = lambda seen: Behaviour(status=429, retry_after="0") if seen.ask == 1 else None
    task_id = server.submit([f"hello {n}" for n in range(60)])
    assert_whole(server, task_id)
    assert set(upstream.asked.values()) == {2}


def test_a_cancel_gives_up_what_takes_too_long(server: Server, upstream: Upstream) -> None:
    """Within the grace what is under way is given up in the actors too: the upstream sees its connections close."""
    upstream.rule = lambda seen: Behaviour(latency=100) if seen.prompt.startswith("slow") else None
    task_id = server.submit([f"hello {n}" for n in range(20)] + [f"slow {n}" for n in range(100)])
    server.until(lambda: completed(server, task_id), lambda count: count == 20)
    server.until(lambda: upstream.in_flight, bool)
    server.client().batches.cancel(task_id)
    batch = server.wait(task_id)
    assert (batch["status"], batch["request_counts"]["completed"]) == ("cancelled", 20)
    codes = Counter(line["error"]["code"] for line in lines_of(server, batch["error_file_id"]))
    assert codes == {"batch_cancelled": 100}
    server.until(lambda: upstream.in_flight, lambda count: count == 0)


def test_a_killed_service_goes_on_and_leaves_no_processes(server: Server, upstream: Upstream) -> None:
    """What belongs to its cluster ends with it, and the next start finishes the task."""
    upstream.latency = 0.1
    task_id = server.submit([f"hello {n}" for n in range(600)])
    server.until(lambda: completed(server, task_id), lambda count: count >= 50)
    assert server.process is not None
    left = descendants(server.process.pid)
    assert len(left) > 4
    server.kill()
    until_gone(left)
    server.start(wait=False).wait_ready(READY_SECONDS)
    assert_whole(server, task_id)


def until_gone(processes: dict[int, str]) -> None:
    deadline = time.monotonic() + 60
    while alive := [command for pid, command in processes.items() if _lives(pid, command)]:
        assert time.monotonic() < deadline, alive
        time.sleep(0.1)


def _lives(pid: int, command: str) -> bool:
    try:
        return (Path(f"/proc/{pid}/cmdline")).read_bytes().replace(b"\0", b" ").decode() == command
    except OSError:
        return False
