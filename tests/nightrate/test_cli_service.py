"""The commands against a real service: the whole way of a task from a table to its bill."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from unittest import mock

import pytest
import requests

from nightrate.cli import main
from tests.ports import reserved_port
from tests.upstream import Upstream

NIGHTRATE = Path(sys.executable).with_name("nightrate")
SETTINGS = """
[server]
port = {port}
[storage]
data_dir = "data"
min_free_bytes = 0
[billing]
prices = "prices.toml"
[executor]
max_attempts = 2
shutdown_grace_seconds = 1
cancel_grace_seconds = 1
[[models]]
name = "scripted"
upstreams = ["{upstream}"]
max_concurrency = 8
"""
PRICES = """
[[prices]]
model = "scripted"
currency = "USD"
valid_from = 2026-01-01T00:00:00Z
source = "test"
tiers = [{ input = "2", output = "6" }]
"""


@dataclass(frozen=True)
class Told:
    """What a command ended with and wrote."""

    returncode: int
    stdout: str
    stderr: str


@dataclass
class Installed:
    """The installed command in a folder with settings and, while `process` runs, a service."""

    folder: Path
    port: int
    process: subprocess.Popen[str] | None = None

    @property
    def environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTRATE_")}
        return {**own, "NIGHTRATE_CONFIG": str(self.folder / "nightrate.toml")}

    def __call__(self, *args: object) -> "Told":
        """Runs a command in this process, as the installed one would; its output and exit code."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
        with ExitStack() as stack:
            stack.enter_context(mock.patch.object(sys, "argv", ["nightrate", *map(str, args)]))
            stack.enter_context(mock.patch.dict(os.environ, self.environment, clear=True))
            stack.enter_context(chdir(self.folder))
            stack.enter_context(redirect_stdout(out))
            stack.enter_context(redirect_stderr(err))
            ended = stack.enter_context(pytest.raises(SystemExit))
            main()
        texts = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
        return Told(int(ended.value.code or 0), *texts)

    def start(self) -> None:
        log = (self.folder / "server.log").open("a")
        self.process = subprocess.Popen(
            [NIGHTRATE, "serve"], cwd=self.folder, env=self.environment, stdout=log, stderr=log, text=True
        )
        deadline = time.monotonic() + 60  # as long as every other test gives a start
        while time.monotonic() < deadline:
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            try:
                if requests.get(f"http://127.0.0.1:{self.port}/readyz", timeout=1).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.1)
        raise AssertionError((self.folder / "server.log").read_text())

    def stop(self) -> int:
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(60)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def nightrate(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Installed]:
    """A service that runs, and the command beside it."""
    folder = tmp_path_factory.mktemp("cli")
    port = reserved_port()
    (folder / "nightrate.toml").write_text(SETTINGS.format(port=port, upstream=upstream.url))
    (folder / "prices.toml").write_text(PRICES)
    installed = Installed(folder, port)
    installed.start()
    try:
        yield installed
    finally:
        if installed.process is not None and installed.process.poll() is None:
            installed.stop()


@pytest.fixture(scope="module")
def task(nightrate: Installed) -> str:
    """A completed task of three requests, of which one failed, made as a newcomer would."""
    (nightrate.folder / "in.csv").write_text("custom_id,q\na,one\nb,two words\nc,bad @status=400\n")
    assert nightrate("convert", "in.csv", "--model", "scripted").returncode == 0
    done = nightrate("submit", "in.jsonl", "--name", "From a table", "--metadata", "team=x", "--wait")
    assert done.returncode == 0, done.stderr
    assert "2 succeeded, 1 failed of 3" in done.stderr
    assert "USD" in done.stderr
    return done.stdout.strip()


def test_submit_wait_and_results(nightrate: Installed, task: str) -> None:
    """Result and error file come to standard output or to a file."""
    got = [json.loads(line) for line in nightrate("results", task).stdout.splitlines()]
    assert sorted(line["custom_id"] for line in got) == ["a", "b"]
    assert nightrate("results", task, "--errors", "--out", "errors.jsonl").returncode == 0
    assert json.loads((nightrate.folder / "errors.jsonl").read_text())["response"]["status_code"] == 400


def test_tasks_lists_and_shows(nightrate: Installed, task: str) -> None:
    """The list has the task with its name and counts; one task as JSON is the API's object."""
    listed = nightrate("tasks", "--status", "completed").stdout
    assert task in listed
    assert "From a table" in listed
    assert json.loads(nightrate("tasks", task, "--json").stdout)["metadata"]["team"] == "x"
    assert nightrate("tasks", "batch_unknown").returncode == 1
    assert nightrate("tasks", "--status", "nonsense").returncode == 2


def test_statistics_and_prices(nightrate: Installed, task: str) -> None:
    """Statistics have the task's calls, prices the book."""
    found = json.loads(nightrate("statistics", "--json").stdout)
    assert next(row for row in found["data"] if row["model"] == "scripted")["calls"] == 3
    assert "scripted" in nightrate("statistics").stdout
    assert nightrate("statistics", "--start", "yesterday").returncode == 2
    assert "scripted" in nightrate("prices").stdout


def test_a_failed_task_is_exit_code_1_and_told_by_line(nightrate: Installed) -> None:
    """A file that the service refuses is told line by line."""
    (nightrate.folder / "bad.jsonl").write_text('{"custom_id": "a"}\nnot json\n')
    done = nightrate("submit", "bad.jsonl", "--wait")
    assert done.returncode == 1
    assert "invalid_json_line" in done.stdout
    assert "no result file" in nightrate("results", done.stdout.split()[0]).stderr


def test_cancel(nightrate: Installed) -> None:
    """A running task can be cancelled; a completed one not."""
    (nightrate.folder / "slow.csv").write_text("a,slow @latency=30\n")
    nightrate("convert", "slow.csv", "--model", "scripted")
    task = nightrate("submit", "slow.jsonl").stdout.strip()
    assert "cancelling" in nightrate("cancel", task).stderr
    assert nightrate("results", task).returncode == 1


def test_retry(nightrate: Installed) -> None:
    """What failed runs again as a task of its own; then there is nothing left to retry."""
    (nightrate.folder / "again.csv").write_text("a,fine\nb,better later @status=400 @times=1\n")
    nightrate("convert", "again.csv", "--model", "scripted")
    first = nightrate("submit", "again.jsonl", "--wait").stdout.strip()
    done = nightrate("retry", first, "--wait", "--idempotency-key", "once")
    assert done.returncode == 0, done.stderr
    assert "1 succeeded, 0 failed of 1" in done.stderr
    again = done.stdout.strip()
    assert json.loads(nightrate("results", again).stdout)["custom_id"] == "b"
    assert nightrate("retry", first, "--idempotency-key", "once").stdout.strip() == again
    refused = nightrate("retry", again)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "succeeded" in refused.stderr


def test_partial_results(nightrate: Installed) -> None:
    """Of a running task only if asked for, and said to be a part; of an ended one they are the file."""
    (nightrate.folder / "half.csv").write_text("a,at once\nb,slow @latency=30\n")
    nightrate("convert", "half.csv", "--model", "scripted")
    task = nightrate("submit", "half.jsonl").stdout.strip()
    while not (part := nightrate("results", task, "--partial")).stdout:
        time.sleep(0.1)
    assert json.loads(part.stdout)["custom_id"] == "a"
    assert "partial results" in part.stderr
    refused = nightrate("results", task)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--partial" in refused.stderr
    assert nightrate("results", task, "--partial", "--errors").returncode == 2
    nightrate("cancel", task)


def test_partial_results_of_an_ended_task(nightrate: Installed, task: str) -> None:
    """They are all of them, and nothing is said of a part."""
    whole = nightrate("results", task, "--partial")
    assert (whole.stdout, whole.stderr) == (nightrate("results", task).stdout, "")


def test_sample_is_accepted(nightrate: Installed) -> None:
    """The sample asks a model of the running service."""
    (nightrate.folder / "sample.jsonl").write_text(nightrate("sample").stdout)
    assert nightrate("check", "sample.jsonl").returncode == 0
    assert nightrate("submit", "sample.jsonl", "--wait").returncode == 0


def test_workspaces_and_keys(nightrate: Installed) -> None:
    """A new workspace's key works, sees only its own, and no longer works once revoked."""
    made = nightrate("workspaces", "create", "Search team", "--json")
    workspace = json.loads(made.stdout)[0]["id"]
    created = nightrate("keys", "create", "ci", "--workspace", workspace)
    secret = created.stdout.strip()
    assert "There is no such task" in nightrate("tasks", "--key", secret).stderr
    assert nightrate("workspaces", "--key", secret).returncode == 1
    listed = nightrate("keys", "--workspace", workspace)
    assert secret not in listed.stdout
    key_id = json.loads(nightrate("keys", "--workspace", workspace, "--json").stdout)[0]["id"]
    assert nightrate("keys", "revoke", key_id, "--workspace", workspace).returncode == 0
    assert "valid key" in nightrate("tasks", "--key", secret).stderr
    assert nightrate("workspaces", "set", workspace, "--disabled").returncode == 0


def _charges(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))


def test_export_is_the_same_from_a_stopped_service(nightrate: Installed, task: str) -> None:
    """The ledger, byte for byte the same over HTTP and from the data folder, with the same manifest beside it."""
    deadline = time.monotonic() + 60  # a task that another test cancelled must not end in between
    while {row["status"] for row in json.loads(nightrate("tasks", "--json").stdout)} & {
        "validating",
        "in_progress",
        "finalizing",
        "cancelling",
    }:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    for name in ("csv", "parquet"):
        done = nightrate("export", "charges", "--format", name, "--out", f"running.{name}")
        assert done.returncode == 0, done.stderr
        assert "rows, SHA-256" in done.stderr
    assert task in (nightrate.folder / "running.csv").read_text()
    manifest = json.loads((nightrate.folder / "running.csv.manifest.json").read_text())
    amounts = [charge["amount"] for charge in _charges(nightrate.folder / "running.csv")]
    assert (manifest["rows"], manifest["kind"]) == (len(amounts), "charges")
    assert sum(Decimal(one["amount"]) for one in manifest["amounts"]) == sum(map(Decimal, amounts))
    printed = nightrate("export", "charges", "--out", "-")
    assert printed.stdout == (nightrate.folder / "running.csv").read_text()
    assert nightrate("export", "usage", "--no-manifest", "--out", "alone.csv").returncode == 0
    assert [file.name for file in nightrate.folder.glob("alone*")] == ["alone.csv"]
    assert nightrate.stop() == 0
    try:
        for name in ("csv", "parquet"):
            done = nightrate("export", "charges", "--format", name, "--out", f"stopped.{name}")
            assert done.returncode == 0, done.stderr
            running, stopped = (nightrate.folder / f"{when}.{name}" for when in ("running", "stopped"))
            assert running.read_bytes() == stopped.read_bytes()
            manifest = running.with_name(f"{running.name}.manifest.json").read_bytes()
            assert stopped.with_name(f"{stopped.name}.manifest.json").read_bytes() == manifest
            assert json.loads(manifest)["sha256"] == hashlib.sha256(stopped.read_bytes()).hexdigest()
        checked = nightrate("prices", "check", "--period", f"{datetime.now(UTC):%Y-%m}")
        assert (checked.returncode, "the service would take it" in checked.stderr) == (0, True)
        assert "no month is closed" in nightrate("statement", "--verify").stderr
        assert nightrate("export", "charges", "--url", f"http://127.0.0.1:{nightrate.port}").returncode == 1
    finally:
        nightrate.start()
