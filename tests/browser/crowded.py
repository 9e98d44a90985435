"""A service with much behind it: 10,000 ended tasks of many workspaces, models and keys, and what they were charged."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.console import CHARGES, ENDED, ERRORS, EVENTS, OTHERS, execute
from benchmarks.statistics import rollups
from metering.options import StorageOptions
from metering.store import Store, Transaction
from tests.server import Server

TASKS, REFUSED, CALLS = 10_000, 500, 60
WITH_EVENTS = 10
"""The newest tasks, whose calls are still there."""
WORKSPACES, MODELS, KEYS = 60, 24, 240
NAME = "工作区的名字可以很长而且不是拉丁字母"
"""Names need not be short, nor of one byte a letter."""
CREATE_WORKSPACES = f"""
INSERT INTO workspaces (id, name, created_at, budget, currency)
SELECT 'ws_' || i, '{NAME} ' || i, now() - INTERVAL 1 YEAR + INTERVAL (i) MINUTE, 100000, 'CNY' FROM range({WORKSPACES}) t(i)
"""
CREATE_KEYS = f"""
INSERT INTO api_keys (id, workspace_id, name, prefix, secret_sha256, created_at)
SELECT 'key_' || i, 'ws_' || (i % {WORKSPACES}), '{NAME} ' || i, 'sk-nr-' || i, 'none', now() FROM range({KEYS}) t(i)
"""
PRICE = """
[[prices]]
model = "model-{number}"
currency = "CNY"
valid_from = 2020-01-01T00:00:00Z
tiers = [{{ up_to_input_tokens = 128000, input = "0.8", output = "2" }}, {{ up_to_input_tokens = 256000, input = "2.4", output = "20" }}, {{ input = "4.8", output = "48" }}]
"""
MODEL = """
[[models]]
name = "model-{number}"
upstreams = ["http://127.0.0.1:9/v1"]
"""


def _rows() -> list[dict[str, Any]]:
    """A rollup a task; all keys, workspaces and models have some."""
    return [
        {
            **row,
            "task_id": f"batch_{hashlib.md5(row['task_id'].encode()).hexdigest()}",
            "workspace_id": f"ws_{number % WORKSPACES}",
            "api_key_id": f"key_{number % KEYS}",
            "model": f"model-{number // 7 % MODELS}",
        }
        for number, row in enumerate(rollups(TASKS, CALLS))
    ]


def _fill(folder: Path) -> None:
    store, rows = Store(StorageOptions(data_dir=folder / "data")), _rows()

    def enter(tx: Transaction) -> None:
        tx.insert("task_rollups", rows)
        tx.execute("ending.set_moment", at=rows[-1]["ended_at"])
        for statement in (CREATE_WORKSPACES, CREATE_KEYS, ENDED, CHARGES, ERRORS):
            execute(tx, statement, {})
        execute(tx, OTHERS, {"others": REFUSED})
        execute(tx, EVENTS, {"tasks": WITH_EVENTS, "first": TASKS - WITH_EVENTS, "calls": CALLS})

    store.write(enter)
    store.close()


@contextmanager
def crowded(folder: Path, upstream_url: str) -> Iterator[Server]:
    """Started once for its prices, then filled, then started to be used."""
    more = "".join(MODEL.format(number=number) for number in range(MODELS))
    server = Server(folder, upstream_url, more=more)
    with (folder / "prices.toml").open("a") as prices:
        prices.write("".join(PRICE.format(number=number) for number in range(MODELS)))
    with server:
        server.stop()
        _fill(folder)
        server.start()
        yield server
