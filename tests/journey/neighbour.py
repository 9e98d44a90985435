"""What the tests of bad input share: a good task that runs beside them, and what a refusal looks like."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest
from openai import APIStatusError

from tests.server import Server

REQUESTS = 24
LISTED = REQUESTS * (Decimal("1.5") * 120 + Decimal("2.25") * 8) / 1_000_000


@dataclass(frozen=True)
class Neighbour:
    """A task of which everything is known in advance."""

    server: Server
    task_id: str

    @classmethod
    def moves_in(cls, server: Server) -> Self:
        prompts = [f"neighbour {n} @latency=0.02 @in=120 @out=8" for n in range(REQUESTS)]
        return cls(server, server.submit(prompts))

    def is_undisturbed(self) -> None:
        batch = self.server.wait(self.task_id)
        assert batch["status"] == "completed", batch
        assert batch["request_counts"] == {"total": REQUESTS, "completed": REQUESTS, "failed": 0}
        assert batch["error_file_id"] is None
        content = self.server.get_bytes(f"/v1/files/{batch['output_file_id']}/content")
        said = {
            row["custom_id"]: row["response"]["status_code"] for row in map(json.loads, content.splitlines())
        }
        assert said == {f"r{n}": 200 for n in range(1, REQUESTS + 1)}
        assert Decimal(batch["nightrate"]["list_amount"]) == LISTED
        assert billed(self.server, self.task_id) == (LISTED, LISTED / 2)


def billed(server: Server, task_id: str) -> tuple[Decimal, Decimal]:
    """What the ledger has of a task: list amount and amount."""
    charges = server.get(f"/v1/billing/charges?task_id={task_id}")["data"]
    listed = sum((Decimal(charge["list_amount"]) for charge in charges), Decimal(0))
    return listed, sum((Decimal(charge["amount"]) for charge in charges), Decimal(0))


@contextmanager
def refused(
    status: int, *says: str, param: str | None = None, code: str | None = None
) -> Iterator[SimpleNamespace]:
    """A call through the SDK that must be refused, with OpenAI's error object and all of `says` in its text."""
    found = SimpleNamespace()
    with pytest.raises(APIStatusError) as caught:
        yield found
    error = caught.value
    assert error.status_code == status, error
    assert isinstance(error.body, dict), error.response.text
    assert set(error.body) == {"message", "type", "param", "code"}
    assert error.body["param"] == param, error.body
    if code is not None:
        assert error.body["code"] == code
    missing = [part for part in says if part not in error.body["message"]]
    assert not missing, (missing, error.body["message"])
    assert error.response.headers["x-request-id"].startswith("req_")
    found.param = error.body["param"]


def failed(
    server: Server, content: bytes | Path, endpoint: str = "/v1/chat/completions"
) -> list[dict[str, Any]]:
    """Makes a task of a bad file; gives its errors, which the check without a task finds too, and it costs nothing."""
    client = server.client()
    file = client.files.create(
        file=content if isinstance(content, Path) else ("in.jsonl", content), purpose="batch"
    )
    report = client.post(f"/files/{file.id}/validate", body={"endpoint": endpoint}, cast_to=dict[str, Any])
    batch = client.batches.create(input_file_id=file.id, endpoint=endpoint, completion_window="24h")  # type: ignore[arg-type]
    ended = server.wait(batch.id)
    assert ended["status"] == "failed", ended
    assert (ended["output_file_id"], ended["error_file_id"]) == (None, None)
    assert ended["request_counts"]["completed"] == ended["request_counts"]["failed"] == 0
    assert (ended["nightrate"]["ended_at"], ended["nightrate"]["amount"]) == (None, None)
    assert billed(server, batch.id) == (0, 0)
    assert report["errors"] == ended["errors"]
    assert not report["valid"]
    errors: list[dict[str, Any]] = ended["errors"]["data"]
    return errors


def places(errors: Sequence[dict[str, Any]]) -> list[tuple[str, int | None, str | None]]:
    """What and where, of each error."""
    return [(error["code"], error["line"], error["param"]) for error in errors]


def new_key(server: Server, name: str, **workspace: Any) -> tuple[str, str]:
    """A workspace of its own: its id and a key."""
    client = server.client()
    made = client.post("/workspaces", body={"name": name}, cast_to=dict[str, Any])
    if workspace:
        client.patch(f"/workspaces/{made['id']}", body=workspace, cast_to=dict[str, Any])
    key = client.post(f"/workspaces/{made['id']}/keys", body={"name": "k"}, cast_to=dict[str, Any])
    return made["id"], key["secret"]


def peak_bytes(server: Server, reset: bool = False) -> int:
    """The most memory that the service's process ever had (or from now on, with `reset`)."""
    assert server.process is not None
    folder = Path("/proc") / str(server.process.pid)
    if reset:
        (folder / "clear_refs").write_text("5")
    (line,) = [x for x in (folder / "status").read_text().splitlines() if x.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
