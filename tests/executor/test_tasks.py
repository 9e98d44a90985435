"""A task's faults, as its row keeps them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from executor.tasks import LineError, kept_errors, task_of
from metering.options import StorageOptions
from metering.store import Store

FAULTS = tuple(
    LineError("invalid_json_line", f"Line {n} is no JSON — „nein“: expected a value", "body", n)
    for n in range(1000)
)


@pytest.fixture
def row(tmp_path: Path) -> dict[str, Any]:
    """Of a task that was just made."""
    store = Store(StorageOptions(data_dir=tmp_path), packages=("metering", "executor"))
    now = datetime.now(UTC)
    made = {
        "id": "batch_1",
        "workspace_id": "default",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": "validating",
        "created_at": now,
        "expires_at": now,
    }
    store.write(lambda tx: tx.insert("tasks", [made]))
    store.write(lambda tx: tx.execute("engine.refuse", id="batch_1", now=now, errors=kept_errors(FAULTS)))
    found = store.one("tasks.one", id="batch_1", workspace_id=None)
    store.close()
    assert found is not None
    return dict(found)


def test_a_thousand_faults_take_a_few_kilobytes(row: dict[str, Any]) -> None:
    """Long values are what DuckDB's memory grows by."""
    assert task_of(row).errors == FAULTS
    assert len(row["errors"]) < 20_000 < len(str(FAULTS)) / 5


def test_faults_of_earlier_versions_are_read(row: dict[str, Any]) -> None:
    """Those were plain JSON."""
    plain = json.dumps([{"code": "empty_file", "message": "Nothing — nichts.", "param": None, "line": None}])
    assert task_of({**row, "errors": plain}).errors == (
        LineError("empty_file", "Nothing — nichts.", None, None),
    )
    assert task_of({**row, "errors": None}).errors == ()
