"""The failed calls of an ended task, by status and code, each with a few examples out of its error file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from dashboard.services import ConsoleServices
from executor.tasks import Task
from metering.access import Access
from metering.errors import Refused

LOOKED_AT = 500
"""Lines of the error file: enough for an example of whatever is frequent, and soon read."""
LINE_BYTES = 100_000
EXAMPLES = 3
MESSAGE_CHARACTERS = 300
Kind = tuple[int | None, str | None]


@dataclass(frozen=True, slots=True)
class Example:
    """A failed request: which, and what was said."""

    custom_id: str
    message: str


@dataclass(frozen=True, slots=True)
class Failures:
    """The calls that failed in one way."""

    status_code: int | None
    error_code: str | None
    calls: int
    examples: tuple[Example, ...]


def failures_of(services: ConsoleServices, access: Access, task: Task) -> list[Failures]:
    """Every way in which calls of an ended task failed, the most frequent first."""
    rows = services.glance.errors(access, task.id) if task.failed else []
    examples = _examples(services, access, task) if rows else {}
    return [
        Failures(
            r["status_code"],
            r["error_code"],
            r["calls"],
            tuple(_for(examples, r["status_code"], r["error_code"])[:EXAMPLES]),
        )
        for r in rows
    ]


def failures_so_far(services: ConsoleServices, access: Access, task: Task) -> list[Failures]:
    """How calls of a running task failed, of the first ones that did; its end tells of all."""
    path, length = services.batches.errors_so_far(access, task.id)
    try:
        found = examples_in(path, length) if length else {}
    except FileNotFoundError:  # it ended meanwhile
        return []
    kinds = sorted(found.items(), key=lambda kind: -len(kind[1]))
    return [Failures(*kind, len(lines), tuple(lines[:EXAMPLES])) for kind, lines in kinds]


def _for(examples: Mapping[Kind, list[Example]], status: int | None, code: str | None) -> list[Example]:
    # An answer that could not be used has a status in the statistics but no response in its line.
    return examples.get((status, code)) or examples.get((None, code), [])


def _examples(services: ConsoleServices, access: Access, task: Task) -> Mapping[Kind, list[Example]]:
    if task.error_file_id is None:
        return {}
    try:
        path = services.files.path_of(services.files.get(access, task.error_file_id))
        return examples_in(path)
    except (Refused, FileNotFoundError):
        return {}  # it expired or was deleted; the counts remain


def examples_in(path: Path, length: int | None = None) -> dict[Kind, list[Example]]:
    """Examples of each kind out of the first lines of an error file, or of so many bytes of it."""
    found: dict[Kind, list[Example]] = {}
    with path.open("rb") as file:
        for line in islice(iter(lambda: file.readline(LINE_BYTES), b""), LOOKED_AT):
            if length is not None and file.tell() > length:
                break  # what is behind does not count yet
            try:
                kind, example = _read(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # a line longer than is read here
            found.setdefault(kind, []).append(example)
    return found


def _read(line: Mapping[str, Any]) -> tuple[Kind, Example]:
    error, response = line["error"], line["response"]
    if error is not None:
        return (None, error["code"]), Example(line["custom_id"], error["message"][:MESSAGE_CHARACTERS])
    body = response["body"]
    given = body.get("error") if isinstance(body, dict) else None
    error = given if isinstance(given, dict) else {}
    message = error.get("message") or json.dumps(body, ensure_ascii=False)
    codes = [error.get("code"), error.get("type"), body.get("code") if isinstance(body, dict) else None]
    code = next((c[:100] for c in codes if isinstance(c, str) and c), None)  # as the event has it
    return (response["status_code"], code), Example(line["custom_id"], str(message)[:MESSAGE_CHARACTERS])
