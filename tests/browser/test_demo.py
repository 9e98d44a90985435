"""`nightrate demo`: filled by the real command, marked on every page, and right to the last digit."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import Browser, expect

from tests.browser.watched import Watched

NIGHTRATE = Path(sys.executable).with_name("nightrate")
PAGES = ("", "observation?from=now-3d", "monitor/qwen-plus?from=now-3d", "billing", "settings", "nowhere")
PATIENCE_SECONDS = 240


@dataclass
class Demo:
    """The running command, and what it printed."""

    folder: Path
    process: "subprocess.Popen[str]"
    printed: str

    def found(self, pattern: str) -> str:
        match = re.search(pattern, self.printed)
        assert match, self.printed
        return match[0]

    @property
    def url(self) -> str:
        return self.found(r"(?<=runs at )\S+")

    @property
    def key(self) -> str:
        return (self.folder / "data" / "admin.key").read_text().strip()

    def get(self, path: str) -> Any:
        reply = requests.get(self.url + path, headers={"authorization": f"Bearer {self.key}"}, timeout=30)
        reply.raise_for_status()
        return reply.json()


def nightrate(*words: object, **env: str) -> "subprocess.CompletedProcess[str]":
    given = [str(NIGHTRATE), *map(str, words)]
    return subprocess.run(
        given, env=os.environ | env, capture_output=True, text=True, timeout=240, check=False
    )


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder of an installation that the environment names: nothing may be written there."""
    return tmp_path_factory.mktemp("installation") / "data"


@pytest.fixture(scope="module")
def demo(real: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """Three days of it, made and served by one command."""
    folder = tmp_path_factory.mktemp("demo")
    words = [str(NIGHTRATE), "demo", "--folder", str(folder), "--port", "0", "--days", "3"]
    env = os.environ | {"NIGHTRATE_STORAGE__DATA_DIR": str(real)}
    with (folder.parent / "demo.log").open("w") as log:
        process = subprocess.Popen(words, env=env, stdout=subprocess.PIPE, stderr=log, text=True)
    demo, deadline = Demo(folder, process, ""), time.monotonic() + PATIENCE_SECONDS
    assert process.stdout
    try:
        while "print(batch.id" not in demo.printed:
            line = process.stdout.readline()
            assert line, (folder.parent / "demo.log").read_text()
            assert time.monotonic() < deadline
            demo.printed += line
        yield demo
    finally:
        process.kill()
        process.wait()


def test_every_page_is_marked(demo: Demo, chromium: Browser) -> None:
    """Login page too; the printed link logs in."""
    page = chromium.new_context().new_page()
    watched = Watched(page, demo.url)
    page.goto(f"{demo.url}/console/login")
    expect(page.get_by_role("note")).to_contain_text("This is a demo")
    page.goto(demo.found(r"http\S+token=\S+"))
    expect(page.locator("h1")).to_have_text("Batch inference")
    row = page.locator('tr[data-status="completed"]').first
    row.wait_for()
    for path in (*PAGES, f"tasks/{row.get_attribute('data-id')}"):
        visited = watched.visit(path)
        expect(visited.get_by_role("note").first).to_contain_text("This is a demo")
        expect(visited.locator("#page .skeleton")).to_have_count(0)
    assert watched.wrong == []
    page.context.close()


def test_it_is_lively(demo: Demo) -> None:
    """All models and workspaces, every status, failures of several kinds, cached and reasoning tokens, first tokens."""
    tasks = demo.get("/v1/batches?limit=100")["data"]
    assert {task["status"] for task in tasks} >= {"completed", "failed", "expired", "cancelled"}
    start = (time.time() // 86400 - 3) * 86400
    rows = demo.get(f"/v1/statistics?start={start:.0f}")["data"]
    assert len({row["model"] for row in rows}) == 6
    assert len({row["workspace_id"] for row in rows}) == 4
    for field in ("failed", "rate_limited", "cached_input_tokens", "reasoning_tokens", "avg_first_token_ms"):
        assert any(row[field] for row in rows), field
    errors = [
        e["error_code"]
        for row in rows
        for e in demo.get(f"/v1/statistics/{row['model']}/errors?start={start:.0f}")["data"]
    ]
    assert len(set(errors)) >= 3, errors
    prices = {
        charge["list_unit_price"]
        for charge in demo.get("/v1/billing/charges?model=qwen-plus&limit=1000")["data"]
    }
    assert {"0.4", "0.32"} <= prices


def test_its_books_are_right_and_it_goes_on(demo: Demo, real: Path) -> None:
    """The audit finds nothing, running or stopped; a second run adds what has happened since."""
    settings = demo.folder / "nightrate.toml"
    audited = nightrate("audit", "--config", settings, "--url", demo.url, "--key", demo.key)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    second = nightrate("demo", "--folder", demo.folder, "--port", "0")
    assert second.returncode == 1
    assert f"in use by process {demo.process.pid}" in second.stderr
    demo.process.terminate()
    assert demo.process.wait(60) == 0
    assert not real.exists()
    before = json.loads((demo.folder / "demo.json").read_text())
    again = nightrate("demo", "--folder", demo.folder, "--port", "0", "--fill-only")
    assert again.returncode == 0, again.stderr
    assert "was brought up to now" in again.stderr
    after = json.loads((demo.folder / "demo.json").read_text())
    assert (before["start"], before["until"] < after["until"]) == (after["start"], True)
    audited = nightrate("audit", "--config", settings)
    assert (audited.returncode, "; 0 differences" in audited.stderr) == (0, True), audited.stdout


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Exit code 2, and nothing in it is touched."""
    (tmp_path / "mine.txt").write_text("mine")
    refused = nightrate("demo", "--folder", tmp_path, "--port", "0")
    assert refused.returncode == 2
    assert "--folder" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
