"""Statements, closing, corrections and budgets through the whole service: HTTP and the command line."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from nightrate.app import build
from nightrate.services import Services
from nightrate.settings import SettingsError, load
from tests.nightrate.running import PRICES, environment, settings_file
from tests.nightrate.served import served
from tests.upstream import Upstream

LINE = {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions"}


@dataclass
class House:
    """A running service with the admin's key."""

    url: str
    services: Services
    month: str = ""
    """Of what was charged first."""

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        headers = {"authorization": f"Bearer {self.services.admin.secret}"}
        return requests.request(method, self.url + path, headers=headers, timeout=30, **more)

    def cli(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", "from nightrate.cli import main; main()", *arguments],
            env=environment(NIGHTRATE_URL=self.url, NIGHTRATE_KEY=self.services.admin.secret),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def metric(self, beginning: str) -> str:
        """The first line of `/metrics` that begins so, once there is one."""
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            for line in self.call("GET", "/metrics").text.splitlines():
                if line.startswith(beginning):
                    return line
            time.sleep(0.3)
        raise AssertionError(beginning)

    def new_task(self, prompt: str = "hello") -> requests.Response:
        line = {**LINE, "body": {"model": "priced", "messages": [{"role": "user", "content": prompt}]}}
        upload = {"file": ("a.jsonl", json.dumps(line).encode())}
        file = self.call("POST", "/v1/files", files=upload, data={"purpose": "batch"}).json()
        body = {
            "input_file_id": file["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        return self.call("POST", "/v1/batches", json=body)

    def done(self, prompt: str = "hello") -> dict[str, Any]:
        """A task that ended."""
        task: dict[str, Any] = self.new_task(prompt).json()
        deadline = time.monotonic() + 60
        while task["status"] != "completed":
            assert time.monotonic() < deadline, task
            time.sleep(0.1)
            task = self.call("GET", f"/v1/batches/{task['id']}").json()
        return task


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("books")
    with Upstream() as upstream:
        model = f'[[models]]\nname = "priced"\nupstreams = ["{upstream.url}"]\n[executor]\nmax_attempts = 1\n'
        app, services = build(load(settings_file(folder, model), {}), {})
        with served(app) as url:
            made = House(url, services)
            task = made.done()
            (charge, *_) = made.call("GET", f"/v1/billing/charges?task_id={task['id']}").json()["data"]
            made.month = charge["period"]
            yield made


def running_month() -> str:
    return f"{datetime.now(UTC):%Y-%m}"


def test_the_statement_says_what_the_tasks_say(house: House) -> None:
    """On the command line as over HTTP; the running month's is a draft."""
    over_http = house.call("GET", f"/v1/billing/statements?period={house.month}").json()["data"]
    shown = house.cli("statement", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout) == over_http
    assert over_http[0]["status"] == "draft"
    page = house.cli("statement", house.month, "--html")
    assert page.stdout == house.call("GET", f"/v1/billing/statements?period={house.month}&format=html").text
    table = house.cli("statement", house.month, "--by-api-key")
    assert "Draft" in table.stdout
    assert f"Payable:            {over_http[0]['payable']} USD" in table.stdout
    assert house.cli("statement", "2020-01").stderr.strip() == "Nothing was delivered in 2020-01."


def test_closing_from_the_command_line(house: House) -> None:
    """The running month is refused with a reason, the one before is closed once."""
    refused = house.cli("close", running_month())
    assert (refused.returncode, "still running" in refused.stderr) == (2, True)
    before = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    closed = house.cli("close", before, "--json")
    assert json.loads(closed.stdout)["status"] == "closed"
    proved = house.cli("statement", before, "--verify")
    assert (proved.returncode, f"{before}: every statement follows" in proved.stderr) == (0, True)
    assert house.cli("statement", running_month(), "--verify").returncode == 1
    again = house.cli("close", before)
    assert (again.returncode != 0, "never reopens" in again.stderr) == (True, True)


def test_correcting_from_the_command_line(house: House) -> None:
    """The entries are shown, and the counter of credits follows."""
    charge = house.call("GET", "/v1/billing/charges?kind=usage").json()["data"][0]
    made = house.cli("correct", charge["charge_id"], "--reason", "twice", "--quantity", "1", "--json")
    assert made.returncode == 0, made.stderr
    assert json.loads(made.stdout)["replacement"]["quantity"] == 1
    assert house.cli("correct", charge["charge_id"], "--reason", "twice").returncode != 0
    assert float(house.metric("nightrate_credited_amount_total{").rpartition(" ")[2]) > 0


def test_a_used_up_budget_refuses_new_tasks_and_retries(house: House) -> None:
    """429 with its code; what the workspace had goes on, and a higher budget lets tasks in again."""
    failed = house.done("@status=400")
    assert house.cli("workspaces", "set", "default", "--budget", "0.0000001").returncode == 0
    for reply in (house.new_task(), house.call("POST", f"/v1/batches/{failed['id']}/retry")):
        assert (reply.status_code, reply.json()["error"]["code"]) == (429, "budget_exceeded")
    assert 'nightrate_budget_used_ratio{workspace="default"}' in house.metric("nightrate_budget_used_ratio{")
    assert house.cli("workspaces", "set", "default", "--budget", "none").returncode == 0
    assert house.new_task().status_code == 200


def test_a_price_book_is_held_against_the_ledger(house: House, tmp_path: Path) -> None:
    """A later price says what the month would cost; a used one that was changed is refused with its line."""
    book = tmp_path / "new.toml"
    book.write_text(PRICES + PRICES.replace("2026-01-01", "2099-01-01").replace('"1"', '"10"'))
    asked = house.cli("prices", "check", str(book), "--period", house.month, "--json")
    [row] = json.loads(asked.stdout)["data"]
    assert (asked.returncode, row["as_dated"]["difference"]) == (0, "0")
    assert Decimal(row["at_last_price"]["difference"]) == Decimal(row["input_tokens"]) * 9 / 2_000_000
    book.write_text(PRICES.replace('"2"', '"3"'))
    refused = house.cli("prices", "check", str(book), "--period", house.month)
    assert refused.returncode == 1
    assert f"{book}:1: prices: a used price can't be changed" in refused.stdout
    assert "would refuse it" in refused.stderr
    assert house.cli("prices", "check", str(book), "--period", "2026-13").returncode == 2


def test_a_budget_without_a_currency_is_refused(tmp_path: Path) -> None:
    """With prices in two currencies and none set, nobody knows what it would be in."""
    prices = "".join(
        f'[[prices]]\nmodel = "m"\ncurrency = "{code}"\nvalid_from = 2026-01-01T00:00:00Z\n'
        'tiers = [{ input = "1", output = "1" }]\n'
        for code in ("USD", "CNY")
    )
    app, services = build(load(settings_file(tmp_path, prices=prices), {}), {})
    with served(app) as url:
        house = House(url, services)
        refused = house.call("PATCH", "/v1/workspaces/default", json={"budget": "5"})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "budget")
        both = house.call("PATCH", "/v1/workspaces/default", json={"budget": "5", "currency": "USD"})
        assert both.json()["budget"] == "5"


def test_another_zone_is_refused_at_start(tmp_path: Path) -> None:
    """Once there are charges; the message says what to put back."""
    _, services = build(load(settings_file(tmp_path), {}), {})
    services.store.write(lambda tx: tx.insert("charges", [_charge()]))
    services.store.close()
    with pytest.raises(SettingsError, match='put back timezone = "UTC"'):
        build(load(settings_file(tmp_path, '[billing]\ntimezone = "Asia/Shanghai"\n'), {}), {})
    with pytest.raises(SettingsError, match='put back currency = "USD"'):
        build(load(settings_file(tmp_path, '[billing]\ncurrency = "CNY"\n'), {}), {})


def _charge() -> dict[str, Any]:
    at = datetime(2026, 10, 5, tzinfo=UTC)
    text = {
        "charge_id": "chg_1", "kind": "usage", "task_id": "batch_1", "workspace_id": "default",
        "model": "old", "sku": "input_tokens", "tier": "all", "mode": "standard", "currency": "USD",
        "period": "2026-10", "price_id": "p",
    }  # fmt: skip
    numbers = dict.fromkeys(
        ("requests", "quantity", "list_unit_price", "unit_price", "list_amount", "discount_amount", "amount"),
        1,
    )
    return {**text, **numbers, "ended_at": at, "recorded_at": at}
