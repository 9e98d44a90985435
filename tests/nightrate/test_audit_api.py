"""The audit of a real service: over HTTP, on the command line, in the metrics, and on its data when it is stopped."""

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from nightrate.app import build
from nightrate.cli import main
from nightrate.settings import load
from tests.nightrate.running import settings_file
from tests.nightrate.served import served
from tests.upstream import Upstream

PROMPTS = ("hello", "@status=400", "world")


@dataclass
class House:
    """A running service with an ended task."""

    url: str
    key: str
    config: Path
    task: dict[str, Any]
    services: Any

    def audit(self, body: object = None, **headers: str) -> requests.Response:
        all_headers = {"authorization": f"Bearer {self.key}", **headers}
        return requests.post(f"{self.url}/v1/audit", json=body, headers=all_headers, timeout=60)

    def metric(self, name: str) -> float:
        headers = {"authorization": f"Bearer {self.key}"}
        text = requests.get(f"{self.url}/metrics", headers=headers, timeout=30).text
        [family] = [one for one in text_string_to_metric_families(text) if one.name == name]
        return float(family.samples[0].value)

    def delete(self, file_id: str) -> None:
        headers = {"authorization": f"Bearer {self.key}"}
        assert requests.delete(f"{self.url}/v1/files/{file_id}", headers=headers, timeout=30).ok

    def sql(self, statement: str) -> None:
        self.services.store.write(lambda tx: tx._connection.execute(statement))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with Upstream() as upstream:
        model = f'[[models]]\nname = "priced"\nupstreams = ["{upstream.url}"]\n[executor]\nmax_attempts = 1\n'
        config = settings_file(tmp_path, model)
        app, services = build(load(config, {}), {})
        with served(app) as url:
            yield House(url, services.admin.secret, config, _ended_task(url, services.admin.secret), services)


def _ended_task(url: str, key: str) -> dict[str, Any]:
    headers = {"authorization": f"Bearer {key}"}
    lines = [
        {"custom_id": f"c{n}", "method": "POST", "url": "/v1/chat/completions",
         "body": {"model": "priced", "messages": [{"role": "user", "content": prompt}]}}
        for n, prompt in enumerate(PROMPTS)
    ]  # fmt: skip
    data = "\n".join(json.dumps(line) for line in lines).encode()
    sent = {"files": {"file": ("in.jsonl", data)}, "data": {"purpose": "batch"}}
    file = requests.post(f"{url}/v1/files", headers=headers, timeout=30, **sent).json()  # type: ignore[arg-type]
    body = {"input_file_id": file["id"], "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    task = requests.post(f"{url}/v1/batches", headers=headers, json=body, timeout=30).json()
    deadline = time.monotonic() + 60
    while task["status"] != "completed":
        assert time.monotonic() < deadline, task
        time.sleep(0.05)
        task = requests.get(f"{url}/v1/batches/{task['id']}", headers=headers, timeout=30).json()
    made: dict[str, Any] = task
    return made


def test_what_the_service_delivered_is_verified(house: House) -> None:
    """The whole real path, from the upstream's answer to the ledger, agrees with the audit."""
    report = house.audit().json()
    assert report["differences"] == []
    assert report["totals"] == {"verified": 1, "digest_only": 0, "not_verifiable": 0, "different": 0}
    assert (report["requests"], report["charges"]) == (3, 2)
    assert report["amounts"][0]["amount"] == house.task["nightrate"]["amount"]
    assert house.audit({"task_id": house.task["id"]}).json()["tasks"] == 1


def test_a_file_that_a_caller_deleted_is_no_alarm(house: House) -> None:
    """One that was lost is."""
    house.delete(house.task["output_file_id"])
    assert house.audit({}).json()["totals"]["digest_only"] == 1
    next(house.config.parent.glob("data/outputs/*.error.jsonl")).unlink()
    [one] = house.audit({}).json()["differences"]
    assert (one["place"], one["column"]) == ("error_file", "file")


def test_the_last_audit_is_a_metric(house: House) -> None:
    """0 before the first; then what it found, soon after it."""
    assert house.metric("nightrate_audit_differences") == 0
    assert house.metric("nightrate_audit_timestamp_seconds") == 0
    house.sql("UPDATE charges SET amount = 5")
    assert house.audit({}).json()["difference_count"] == 2
    deadline = time.monotonic() + 60
    while house.metric("nightrate_audit_differences") != 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert house.metric("nightrate_audit_timestamp_seconds") > 1e9


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"period": "2026-13"}, 400, "period"),
        ({"month": "2026-11"}, 400, "month"),
        ({"task_id": 5}, 400, "task_id"),
        ([], 400, None),
        ({"task_id": "batch_0"}, 404, "task_id"),
        ({"workspace_id": "nobody"}, 404, "workspace_id"),
    ],
)
def test_what_can_not_be_asked_is_refused(house: House, body: object, status: int, param: str | None) -> None:
    """With the parameter's name, and the next audit can begin."""
    reply = house.audit(body)
    assert reply.status_code == status, reply.text
    assert param is None or reply.json()["error"]["param"] == param
    assert house.audit().status_code == 200


def test_progress_comes_line_by_line(house: House) -> None:
    """With `Accept: application/x-ndjson`; the report is the last line."""
    reply = house.audit({}, accept="application/x-ndjson")
    assert reply.headers["content-type"].startswith("application/x-ndjson")
    *steps, report = [json.loads(line) for line in reply.iter_lines()]
    assert {step["object"] for step in steps} == {"audit.progress"}
    assert steps[-1]["bytes"] == steps[-1]["bytes_total"] == report["bytes"] > 0
    assert report["object"] == "audit"


def run(monkeypatch: pytest.MonkeyPatch, *args: str) -> int:
    """The command line in this process; its exit code."""
    for name in [name for name in os.environ if name.startswith("NIGHTRATE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(sys, "argv", ["nightrate", "audit", *args])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command_against_a_running_service(
    house: House, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 0 and a table; exit 1 and the differences, only if something is different; 2 for wrong use."""
    where = ("--url", house.url, "--key", house.key)
    assert run(monkeypatch, *where) == 0
    told = capsys.readouterr()
    assert "verified" in told.out
    assert "1 tasks, 3 requests" in told.err
    assert run(monkeypatch, *where, "--period", "2020-01") == 0
    assert run(monkeypatch, *where, "--period", "soon") == 2
    assert run(monkeypatch, *where, "--task", "batch_0") == 1
    house.delete(house.task["output_file_id"])
    assert run(monkeypatch, *where, "--task", house.task["id"]) == 0
    house.sql("UPDATE charges SET quantity = 1 WHERE sku = 'input_tokens'")
    capsys.readouterr()
    assert run(monkeypatch, *where, "--json", "--workspace", "default") == 1
    report = json.loads(capsys.readouterr().out)
    assert report["totals"]["different"] == 1


def test_the_command_on_a_stopped_services_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same verdicts; the result is there for the metrics of the next start."""
    with Upstream() as upstream:
        model = f'[[models]]\nname = "priced"\nupstreams = ["{upstream.url}"]\n[executor]\nmax_attempts = 1\n'
        config = settings_file(tmp_path, model)
        config.write_text(config.read_text().replace("port = 0", "port = 9"))  # nothing answers there
        app, services = build(load(config, {}), {})
        with served(app) as url:
            _ended_task(url, services.admin.secret)
    assert run(monkeypatch, "--config", str(config)) == 0
    assert "verified" in capsys.readouterr().out
    assert run(monkeypatch, "--config", str(config), "--task", "batch_0") == 1
    assert run(monkeypatch, "--config", str(config), "--period", "2026") == 2
    file = next(tmp_path.glob("data/outputs/*.output.jsonl"))
    file.write_bytes(file.read_bytes()[:-10])
    assert run(monkeypatch, "--config", str(config)) == 1
    assert "result file" in capsys.readouterr().out
    app, services = build(load(config, {}), {})
    with served(app) as url:
        house = House(url, services.admin.secret, config, {}, services)
        assert house.metric("nightrate_audit_differences") > 0
