"""The routes of files, batches and models, by the openai SDK and by hand, on a real server."""

import json
import socket
import time
from http.client import HTTPConnection
from urllib.parse import urlsplit

import openai
import pytest
from openai import OpenAI

from executor.options import TEST_ENDPOINT, TEST_MODEL

CHAT = "/v1/chat/completions"


@pytest.fixture
def client(base_url):
    with OpenAI(base_url=f"{base_url}/v1", api_key="admin", max_retries=0) as client:
        yield client


@pytest.fixture
def call(base_url):
    """Sends anything and gives status and decoded body."""

    def send(method, path, body=None, key="admin", **headers):
        connection = HTTPConnection(urlsplit(base_url).netloc, timeout=20)
        data = json.dumps(body).encode() if isinstance(body, dict | list) else body
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, data, {"authorization": f"Bearer {key}"} | names)
        reply = connection.getresponse()
        text = reply.read()
        connection.close()
        return reply.status, json.loads(text)

    return send


def lines(*ids, model="qwen-plus", url=CHAT) -> bytes:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    rows = ({"custom_id": name, "method": "POST", "url": url, "body": body} for name in ids)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def form(*parts, end=b"--B--\r\n") -> bytes:
    return b"".join(b"--B\r\nContent-Disposition: form-data; " + p + b"\r\n" for p in parts) + end


FILE = b'name="file"; filename="a.jsonl"\r\n\r\n{}'
PURPOSE = b'name="purpose"\r\n\r\nbatch'


def test_the_sdk_uploads_lists_downloads_and_deletes(client, intake):
    """All of a file's life, `expires_after` and a name of the world included."""
    data = lines("a", "b") * 1000
    file = client.files.create(
        file=("Nächte 夜.jsonl", data),
        purpose="batch",
        expires_after={"anchor": "created_at", "seconds": 7200},
    )
    assert (file.bytes, file.filename, file.purpose, file.status) == (
        len(data),
        "Nächte 夜.jsonl",
        "batch",
        "processed",
    )
    assert file.expires_at == file.created_at + 7200
    assert client.files.retrieve(file.id) == file
    second = client.files.create(file=b"", purpose="batch")
    assert (second.bytes, second.expires_at) == (0, None)
    assert {found.id for found in client.files.list(purpose="batch", limit=1)} == {file.id, second.id}
    assert client.files.list(purpose="batch_output").data == []
    content = client.files.content(file.id)
    assert content.read() == data
    assert content.response.headers["content-type"].startswith("application/jsonl")
    assert "N%C3%A4chte" in content.response.headers["content-disposition"]
    assert client.files.delete(file.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)


def test_an_upload_is_stored_once(client, intake, tmp_path):
    """There is one file of that size on disk, and no temporary one."""
    path = tmp_path / "big.jsonl"
    path.write_bytes(b"x" * 5_000_000)
    with path.open("rb") as source:
        file = client.files.create(file=source, purpose="batch")
    stored = [p for p in intake.data_dir.rglob("*") if p.is_file() and p.stat().st_size >= 5_000_000]
    assert [p.name for p in stored if "duckdb" not in p.name] == [file.id]
    assert not list((intake.data_dir / "tmp").glob("*.upload"))


def test_an_upload_above_the_limit_is_413(client, intake):
    """And nothing of it stays."""
    with pytest.raises(openai.APIStatusError) as refused:
        client.files.create(file=b"x" * 5_000_001, purpose="batch")
    assert (refused.value.status_code, refused.value.code) == (413, "file_too_large")
    assert client.files.list().data == []


BAD_FORMS = [
    (form(PURPOSE), "file"),
    (form(FILE), "purpose"),
    (form(FILE, b'name="purpose"\r\n\r\nfine-tune'), "purpose"),
    (form(FILE, FILE, PURPOSE), "file"),
    (form(FILE, PURPOSE, b'name="colour"\r\n\r\nred'), "colour"),
    (form(FILE, PURPOSE, b'name="expires_after[seconds]"\r\n\r\n3600'), "expires_after[anchor]"),
    (form(FILE, PURPOSE, b'name="expires_after[anchor]"\r\n\r\ncreated_at'), "expires_after[seconds]"),
    *(
        (
            form(
                FILE,
                PURPOSE,
                b'name="expires_after[anchor]"\r\n\r\ncreated_at',
                b'name="expires_after[seconds]"\r\n\r\n' + seconds,
            ),
            "expires_after[seconds]",
        )
        for seconds in (b"3599", b"2592001", b"-1", b"x", b"1e4", b"")
    ),
    (form(PURPOSE, FILE, end=b""), "file"),
    (form(PURPOSE, FILE)[:-4], "file"),
    (b"--B\r\nnonsense\r\n\r\n--B--", "file"),
    (b"", "file"),
    (b"just text", "file"),
    (form(FILE, b'name="purpose"\r\n\r\n' + b"b" * 5000), "purpose"),
]


def test_a_bad_form_is_refused_by_name(call, intake):
    """Missing, doubled, unknown and cut off: 400 with the field, and no file."""
    for body, param in BAD_FORMS:
        status, reply = call("POST", "/v1/files", body, content_type="multipart/form-data; boundary=B")
        assert (status, reply["error"]["param"]) == (400, param), (body, reply)
    assert call("GET", "/v1/files")[1]["data"] == []
    assert not list(intake.data_dir.rglob("*.upload"))


def test_a_body_that_is_no_form_is_refused(call):
    """JSON, or a form without a boundary."""
    for kind in ("application/json", "multipart/form-data", "multipart/form-data; boundary=" + "B" * 300):
        assert call("POST", "/v1/files", b"{}", content_type=kind)[0] == 400


def test_a_client_that_goes_away_leaves_nothing(base_url, intake, caplog):
    """Half an upload is removed, and it is no error of ours."""
    with socket.create_connection(urlsplit(base_url)._hostinfo) as connection:
        head = (
            "POST /v1/files HTTP/1.1\r\nhost: x\r\nauthorization: Bearer admin\r\ncontent-length: 9999999\r\n"
        )
        head += "content-type: multipart/form-data; boundary=B\r\n\r\n"
        connection.sendall(head.encode() + form(PURPOSE, FILE, end=b""))
        wait_until(lambda: list(intake.data_dir.rglob("*.upload")))
    wait_until(lambda: not list(intake.data_dir.rglob("*.upload")))
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def wait_until(true) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_fields_may_come_in_any_order(call):
    """A form that names the purpose after the file is as good."""
    for parts in ((FILE, PURPOSE), (PURPOSE, FILE)):
        status, reply = call(
            "POST", "/v1/files", form(*parts), content_type="multipart/form-data; boundary=B"
        )
        assert (status, reply["bytes"], reply["filename"]) == (200, 2, "a.jsonl")


def test_the_sdk_makes_lists_and_cancels_batches(client, intake):
    """The batch object has every field of the SDK's model, and ours under `nightrate`."""
    file = client.files.create(file=lines("a"), purpose="batch")
    batch = client.batches.create(
        input_file_id=file.id,
        endpoint=CHAT,
        completion_window="24h",
        metadata={"ds_name": "nightly"},
        output_expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert (batch.status, batch.model, batch.usage, batch.errors) == ("validating", "qwen-plus", None, None)
    assert batch.expires_at == batch.created_at + 86400
    assert batch.request_counts.to_dict() == {"total": 0, "completed": 0, "failed": 0}
    assert set(type(batch).model_fields) - {"errors"} <= set(batch.to_dict()) | {"errors"}
    own = batch.to_dict()["nightrate"]
    assert own == {
        "workspace_id": "default", "name": "nightly", "description": None, "started_at": None,
        "ended_at": None, "estimated_end_at": None, "requests_per_second": None, "waiting": None,
        "currency": "CNY", "list_amount": None, "amount": None, "retry_of": None,
    }  # fmt: skip
    assert client.batches.retrieve(batch.id) == batch
    assert [found.id for found in client.batches.list(limit=1)] == [batch.id]
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert client.batches.cancel(batch.id).cancelling_at is not None
    intake.set_task(batch.id, status="completed")
    with pytest.raises(openai.ConflictError, match="completed"):
        client.batches.cancel(batch.id)
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_1")


def test_an_ended_batch_shows_usage_and_money(client, intake):
    """Amounts are plain decimal strings, and errors those of the row."""
    file = client.files.create(file=lines("a"), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="1d")
    intake.set_task(
        batch.id, status="completed", ended_at=intake.clock(), completed_at=intake.clock(), total=3, completed=2,
        failed=1, input_tokens=7, cached_input_tokens=2, output_tokens=5, reasoning_tokens=1,
        list_amount="0.0000152", amount="0.0000076",
        errors='[{"code": "invalid_method", "message": "m", "param": "method", "line": 3}]',
    )  # fmt: skip
    batch = client.batches.retrieve(batch.id)
    assert (batch.usage.total_tokens, batch.usage.input_tokens_details.cached_tokens) == (12, 2)
    assert (batch.errors.data[0].code, batch.errors.data[0].line) == ("invalid_method", 3)
    own = batch.to_dict()["nightrate"]
    assert (own["list_amount"], own["amount"]) == ("0.0000152", "0.0000076")
    assert own["ended_at"] == batch.completed_at == int(intake.clock().timestamp())


def test_pages_of_batches_join(client, intake):
    """The SDK's pager goes through all of them, newest first."""
    file = client.files.create(file=lines("a"), purpose="batch")
    made = [
        client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h").id
        for _ in range(5)
        if not intake.clock.move(seconds=1)
    ]
    assert [batch.id for batch in client.batches.list(limit=2)] == made[::-1]
    assert client.batches.list(extra_query={"status": "failed"}).to_dict() == {
        "object": "list", "data": [], "has_more": False, "first_id": None, "last_id": None,
    }  # fmt: skip


def test_the_list_is_filtered_by_query(call, client, intake):
    """`create_after` is in the billing zone without one; 14 digits or ISO 8601; its second is within."""
    file = client.files.create(file=lines("a"), purpose="batch")
    meta = {"ds_name": "测试任务"}
    client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h", metadata=meta)
    found = {
        "create_after=20260301200000": 1,  # 12:00:00 UTC is 20:00:00 in Shanghai
        "create_after=20260301200001": 0,
        "create_before=20260301200000": 1,
        "create_before=20260301195959": 0,
        "create_after=2026-03-01T12:00:00Z": 1,
        "create_after=2026-03-01T20:00:01": 0,
        "create_before=2026-03-01T20:00:00%2B08:00": 1,
        "create_before=2026-03-01": 0,
        "ds_name=%E4%BB%BB%E5%8A%A1": 1,
        "q=batch_": 1,
        "status=validating,completed": 1,
        "status=": 1,
        f"input_file_ids={file.id}": 1,
        "input_file_ids=a,b": 0,
        "workspace_id=other": 0,
        "workspace_id=default": 1,
    }
    for query, number in found.items():
        status, reply = call("GET", f"/v1/batches?{query}")
        assert (status, len(reply["data"])) == (200, number), query
    refused = {
        "limit": ["0", "101", "x"],
        "status": ["done"],
        "create_after": ["x", "20261301000000", "2026-13-01"],
        "create_before": ["99999999999999"],
        "input_file_ids": [",".join(map(str, range(21)))],
        "after": ["batch_1"],
        "ds_name": ["x" * 101],
    }
    for param, values in refused.items():
        for value in values:
            status, reply = call("GET", f"/v1/batches?{param}={value}")
            assert (status, reply["error"]["param"]) == (400, param), (param, value, reply)


def test_a_bad_batch_body_is_400_with_its_field(call):
    """Whatever the body is, 422 is never the answer."""
    cases = {
        b"": None,
        b"{": None,
        b"[]": None,
        b"null": None,
        b'"x"': None,
        b"{}": "input_file_id",
        b"\xff": None,
    }
    for body, param in cases.items():
        status, reply = call("POST", "/v1/batches", body)
        assert (status, reply["error"]["param"]) == (400, param), body
    assert call("POST", "/v1/batches", b"[" * 100_000)[0] == 400


def test_an_idempotency_key_is_a_header(call, client):
    """The first task again, and 409 for another body."""
    file = client.files.create(file=lines("a"), purpose="batch")
    body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    first = call("POST", "/v1/batches", body, idempotency_key="k")
    assert call("POST", "/v1/batches", body, idempotency_key="k") == first
    status, reply = call("POST", "/v1/batches", body | {"completion_window": "2d"}, idempotency_key="k")
    assert (status, reply["error"]["code"]) == (409, "idempotency_key_reused")


def test_a_file_is_checked_without_a_task(call, client):
    """The report that a task would give, under the rules of the file's workspace."""
    file = client.files.create(file=lines("a", "a") + b"x\n", purpose="batch")
    path = f"/v1/files/{file.id}/validate"
    status, report = call("POST", path, {"endpoint": CHAT})
    assert status == 200
    assert (report["valid"], report["total"], report["model"], report["error_count"]) == (
        False,
        3,
        "qwen-plus",
        2,
    )
    found = [(e["line"], e["code"]) for e in report["errors"]["data"]]
    assert found == [(2, "duplicate_custom_id"), (3, "invalid_json_line")]
    good = client.files.create(file=lines("a", model=TEST_MODEL, url=TEST_ENDPOINT), purpose="batch")
    status, report = call("POST", f"/v1/files/{good.id}/validate", {"endpoint": TEST_ENDPOINT})
    assert (report["valid"], report["errors"]) == (True, None)
    for body, param in (
        ({}, "endpoint"),
        ({"endpoint": 1}, "endpoint"),
        ({"endpoint": "/x"}, "endpoint"),
        ([], None),
    ):
        status, reply = call("POST", path, body)
        assert (status, reply["error"]["param"]) == (400, param)
    assert call("POST", "/v1/files/file-batch-0/validate", {"endpoint": CHAT})[0] == 404
    assert call("GET", "/v1/batches")[1]["data"] == []


def test_each_key_sees_the_models_that_it_may_use(base_url, client, call):
    """A name may contain a slash; what is not allowed is not found."""
    assert [model.id for model in client.models.list()] == [
        "qwen-plus",
        "house/small",
        "unpriced",
        TEST_MODEL,
    ]
    assert client.models.retrieve("house/small").id == "house/small"
    _, reply = call("GET", "/v1/models", key="narrow")
    assert [model["id"] for model in reply["data"]] == ["house/small", TEST_MODEL]
    assert call("GET", "/v1/models?workspace_id=narrow")[1] == reply
    assert call("GET", "/v1/models/house/small", key="narrow")[0] == 200
    for path, key in (("/v1/models/qwen-plus", "narrow"), ("/v1/models/none", "admin")):
        assert call("GET", path, key=key)[0] == 404


def test_foreign_ids_are_unknown_on_every_route(call, client):
    """A key learns nothing of another workspace, and can't name it."""
    file = client.files.create(file=lines("a"), purpose="batch")
    batch = client.batches.create(input_file_id=file.id, endpoint=CHAT, completion_window="24h")
    routes = [
        ("GET", f"/v1/files/{file.id}", None),
        ("GET", f"/v1/files/{file.id}/content", None),
        ("DELETE", f"/v1/files/{file.id}", None),
        ("POST", f"/v1/files/{file.id}/validate", {"endpoint": CHAT}),
        ("GET", f"/v1/batches/{batch.id}", None),
        ("POST", f"/v1/batches/{batch.id}/cancel", None),
        *(("GET", f"/v1/{name}?workspace_id=default", None) for name in ("files", "batches", "models")),
    ]
    for method, path, body in routes:
        status, reply = call(method, path, body, key="other")
        assert (status, reply["error"]["code"]) == (404, "not_found"), path
    body = {"input_file_id": file.id, "endpoint": CHAT, "completion_window": "24h"}
    status, reply = call("POST", "/v1/batches", body, key="other")
    assert (status, reply["error"]["param"]) == (400, "input_file_id")


def test_the_description_names_bodies_and_parameters(call):
    """A fuzzer finds what to send: the form's fields, the batch's, and the path's."""
    _, api = call("GET", "/openapi.json")
    content = api["paths"]["/v1/files"]["post"]["requestBody"]["content"]
    assert {"file", "purpose"} <= set(content["multipart/form-data"]["schema"]["properties"])
    schema = api["paths"]["/v1/batches"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["input_file_id", "endpoint", "completion_window"]
    names = {p["name"] for p in api["paths"]["/v1/batches"]["get"]["parameters"]}
    assert {"limit", "after", "status", "ds_name", "create_after", "workspace_id"} <= names
