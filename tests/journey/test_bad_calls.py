"""Bad calls over HTTP with the SDK: each is refused with its parameter's name, and a good task beside it never notices."""

from typing import Any

import pytest
from openai import OpenAI

from tests.held import held
from tests.journey.neighbour import new_key, refused
from tests.server import Server, request
from tests.upstream import Upstream

pytestmark = pytest.mark.usefixtures("beside")
CHAT: Any = "/v1/chat/completions"


@pytest.fixture
def client(server: Server) -> OpenAI:
    return server.client()


def upload(client: OpenAI, content: bytes = request(1, "hello"), **options: Any) -> str:
    return client.files.create(file=("in.jsonl", content), purpose="batch", **options).id


def create(client: OpenAI, file_id: str, window: Any = "24h", endpoint: Any = CHAT, **options: Any) -> str:
    return client.batches.create(
        input_file_id=file_id, endpoint=endpoint, completion_window=window, **options
    ).id


def slow(client: OpenAI) -> str:
    """An input file whose requests can be held."""
    return upload(client, b"".join(request(n, f"slow {n}") for n in range(20)))


def test_an_input_file_that_is_none(server: Server, client: OpenAI) -> None:
    """Unknown, deleted, or the output of a task: 400 that names the parameter, and what it should be."""
    gone = upload(client)
    assert client.files.delete(gone).deleted
    output = server.wait(server.submit(["hello"]))["output_file_id"]
    for bad in ("file-batch-none", "", gone):
        with refused(400, repr(bad), "uploaded with the purpose 'batch'", param="input_file_id"):
            create(client, bad)
    with refused(400, "'batch_output'", "upload one", param="input_file_id"):
        create(client, output)
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with refused(404, gone, param="file_id"):
            call(gone)


def test_completion_windows(client: OpenAI) -> None:
    """Outside of a day to a fortnight, or nothing at all like it: the message gives the range."""
    file = upload(client)
    for bad in ("23h", "337h", "0d", "15d", "x", "24", "1w", "٢٤h", ""):
        with refused(400, f"'{bad}'", "'24h' to '336h'", "'1d' to '14d'", param="completion_window"):
            create(client, file, bad)
    for good in ("336h", "14d"):
        assert client.batches.retrieve(create(client, file, good)).completion_window == good


def test_endpoints(client: OpenAI) -> None:
    """One that is not served is refused with those that are."""
    with refused(400, "'/v1/images'", "'/v1/chat/completions'", param="endpoint"):
        create(client, upload(client), endpoint="/v1/images")


METADATA: list[tuple[Any, str, str]] = [
    ("x", "metadata", "an object"),
    (["a"], "metadata", "an object"),
    ({"a": 1}, "metadata.a", "a string"),
    ({"a": None}, "metadata.a", "a string"),
    ({"a": {"b": "c"}}, "metadata.a", "a string"),
    ({f"k{n}": "v" for n in range(17)}, "metadata", "at most 16"),
    ({"k" * 65: "v"}, "metadata", "64 characters"),
    ({"a": "v" * 513}, "metadata.a", "at most 512"),
    ({"ds_name": "n" * 101}, "metadata.ds_name", "at most 100"),
    ({"ds_description": "d" * 201}, "metadata.ds_description", "at most 200"),
    ({"ds_batch_finish_callback": "ftp://a"}, "metadata.ds_batch_finish_callback", "http://"),
]


def test_metadata(client: OpenAI) -> None:
    """No map of strings, too many pairs, too long: refused with the pair's name and the limit."""
    file = upload(client)
    for bad, param, says in METADATA:
        with refused(400, says, param=param):
            create(client, file, metadata=bad)
    most = {f"{n:064}": "v" * 512 for n in range(16)}
    assert client.batches.retrieve(create(client, file, metadata=most)).metadata == most


def test_a_foreign_key(server: Server, client: OpenAI) -> None:
    """What another workspace owns is unknown: 404 by its id, 400 as a parameter, and in no list."""
    other, key = new_key(server, "elsewhere")
    stranger = server.client(key)
    file = slow(client)
    batch = create(client, file)
    foreign: list[tuple[Any, str, str]] = [
        (stranger.files.retrieve, file, "file_id"),
        (stranger.files.content, file, "file_id"),
        (stranger.files.delete, file, "file_id"),
        (stranger.batches.retrieve, batch, "batch_id"),
        (stranger.batches.cancel, batch, "batch_id"),
    ]
    for call, identity, param in foreign:
        with refused(404, identity, param=param):
            call(identity)
    with refused(400, file, param="input_file_id"):
        create(stranger, file)
    with refused(400, batch, param="after"):
        stranger.batches.list(after=batch)
    with refused(400, file, param="after"):
        stranger.files.list(after=file)
    with refused(404, "default", param="workspace_id"):
        stranger.batches.list(extra_query={"workspace_id": "default"})
    assert (stranger.files.list().data, stranger.batches.list().data) == ([], [])
    assert [x.id for x in client.files.list(extra_query={"workspace_id": other}).data] == []
    assert server.wait(batch)["request_counts"]["completed"] == 20


def test_an_idempotency_key(server: Server, client: OpenAI) -> None:
    """The same body is the same task, another one 409; keys of two workspaces have nothing to do with each other."""
    file, second = upload(client), upload(client)
    header = {"Idempotency-Key": "once"}
    first = create(client, file, metadata={"a": "1"}, extra_headers=header)
    assert create(client, file, metadata={"a": "1"}, extra_headers=header) == first
    for changed in ({"file_id": second}, {"file_id": file, "window": "48h"}):
        with refused(409, "another body", "new key", param="Idempotency-Key", code="idempotency_key_reused"):
            create(client, **changed, extra_headers=header)  # type: ignore[arg-type]
    _, key = new_key(server, "namesake")
    stranger = server.client(key)
    assert create(stranger, upload(stranger), extra_headers=header) != first
    assert server.wait(first)["status"] == "completed"


def test_a_cancel_that_comes_too_late(server: Server, client: OpenAI, upstream: Upstream) -> None:
    """409 for a task that completed or failed; a cancelled one answers 200 and stays as it was."""
    ended = [server.wait(server.submit(["hi"]))["id"], server.wait(server.submit_lines([b"no\n"]))["id"]]
    for task_id, status in zip(ended, ("completed", "failed"), strict=True):
        with refused(409, f"'{status}'", code="batch_not_cancellable"):
            client.batches.cancel(task_id)
    with held(upstream, "slow"):
        running = create(client, slow(client))
        assert client.batches.cancel(running).status in ("cancelling", "cancelled")
        cancelled = server.wait(running)
    again = client.batches.cancel(running)
    assert (again.status, again.cancelled_at) == ("cancelled", cancelled["cancelled_at"])
    with refused(404, "batch_none", param="batch_id"):
        client.batches.cancel("batch_none")


def test_a_file_in_use(server: Server, client: OpenAI, upstream: Upstream) -> None:
    """It can't be deleted before its task ended; afterwards it can, and the task stays as it is."""
    file = slow(client)
    with held(upstream, "slow"):
        task_id = create(client, file)
        with refused(409, task_id, "cancel it or wait", param="file_id", code="file_in_use"):
            client.files.delete(file)
    batch = server.wait(task_id)
    assert batch["request_counts"] == {"total": 20, "completed": 20, "failed": 0}
    assert client.files.delete(file).deleted
    assert client.files.delete(batch["output_file_id"]).deleted
    assert client.batches.retrieve(task_id).status == "completed"
    with refused(404, param="file_id"):
        client.files.content(batch["output_file_id"])


def test_an_unknown_key_comes_before_everything(server: Server) -> None:
    """401, whatever else is wrong with the call."""
    stranger = server.client("sk-nr-nobody")
    calls: list[Any] = [
        lambda: stranger.files.create(file=("x", b""), purpose="no"),  # type: ignore[arg-type]
        lambda: create(stranger, "none", "x"),
        lambda: stranger.batches.list(limit=-5),
        lambda: stranger.get("/nowhere", cast_to=object),
        lambda: stranger.post("/workspaces", body=[], cast_to=object),
    ]
    for call in calls:
        with refused(401, "not valid", code="invalid_api_key"):
            call()
    _, key = new_key(server, "no admin")
    with refused(403, "admin key"):
        server.client(key).post("/workspaces", body=[], cast_to=object)


def test_a_form_without_its_parts(client: OpenAI) -> None:
    """Another purpose, an impossible expiry, no form at all."""
    for purpose in ("fine-tune", "", "batch_output"):
        with refused(400, "'batch'", param="purpose"):
            client.files.create(file=("x", b""), purpose=purpose)  # type: ignore[arg-type]
    for seconds in (3599, 2592001, 0):
        with refused(400, "3600", "2592000", param="expires_after[seconds]"):
            upload(client, expires_after={"anchor": "created_at", "seconds": seconds})
    with refused(400, "'created_at'", param="expires_after[anchor]"):
        upload(client, expires_after={"anchor": "now", "seconds": 3600})
    with refused(400, "multipart/form-data", param="file", code="invalid_multipart"):
        client.post("/files", body={"file": "x"}, cast_to=object)
