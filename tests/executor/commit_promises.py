"""What the model of the commit protocol knows of a task, and how it reads what was delivered."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from executor.tasks import Ending, Task
from tests.executor.commit_world import World


@dataclass
class Promise:
    """What the model knows of one task."""

    requests: int
    given: dict[int, set[bytes]] = field(default_factory=dict)
    """Every answer that a line ever got; after a crash it may have several."""
    kept: dict[int, bytes] = field(default_factory=dict)
    """Answers whose commit was confirmed and whose bytes nobody took away."""
    ending: Ending | None = None
    """A cancel or an expiry that was confirmed; nothing changes it any more."""
    whole: bool = True
    """Nobody has cut the files short since they were last brought back to what counts."""


def lines_of(
    world: World, task: Task, output: int | None, error: int | None
) -> tuple[list[bytes], list[bytes]]:
    """The whole lines of both files, up to their lengths that count."""
    good, bad = (
        (path.read_bytes() if path.exists() else b"")[:size].splitlines(keepends=True)
        for path, size in zip(world.paths(task.id), (output, error), strict=True)
    )
    return good, bad


def content(world: World, task_id: str) -> bytes:
    return b"".join(path.read_bytes() for path in world.paths(task_id) if path.exists())


def check_delivered(promise: Promise, lines: list[bytes]) -> None:
    """Every line is an answer that was given, and no confirmed one is missing or another."""
    delivered = {number_of(text): text for text in lines}
    assert all(text in promise.given[line_no] for line_no, text in delivered.items())
    assert all(delivered.get(line_no) == text for line_no, text in promise.kept.items())


def number_of(text: bytes) -> int:
    return int(json.loads(text)["custom_id"][1:])


def is_closing(text: bytes) -> bool:
    error = json.loads(text)["error"]
    return error is not None and error["code"].startswith("batch_")


def by_task(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(row.pop("task_id"), []).append(row)
    return found


def bytes_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
