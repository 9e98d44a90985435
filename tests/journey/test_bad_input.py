"""Bad input files over HTTP: each gets its error with code, line and field, and a good task beside it never notices."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.journey.conftest import FILE_BYTES
from tests.journey.neighbour import failed, peak_bytes, places, refused
from tests.server import Server, request
from tests.upstream import Upstream

pytestmark = pytest.mark.usefixtures("beside")
GOOD = request(1, "good")


def line(**changes: Any) -> bytes:
    """A request with some fields changed, or left out where the change is None."""
    whole = {**json.loads(request(2, "hello")), **changes}
    return json.dumps({key: value for key, value in whole.items() if value is not None}).encode() + b"\n"


def says(error: dict[str, Any], *parts: str) -> None:
    missing = [part for part in parts if part not in error["message"]]
    assert not missing, (missing, error["message"])


def test_no_jsonl(server: Server) -> None:
    """CSV, prose and a pretty-printed object: each bad line is named, and the message shows the right form."""
    errors = failed(server, b"custom_id,prompt\nr1,hello\n" + GOOD + b"[1]\n7\n{\n}\n")
    assert places(errors) == [("invalid_json_line", n, None) for n in (1, 2, 4, 5, 6, 7)]
    says(errors[0], "not parseable as valid JSON", "one JSON object on a line of its own")
    says(errors[2], "an array", "one JSON object")
    says(errors[4], "spread over several lines")


def test_half_a_line(server: Server) -> None:
    """A file that was cut off: its last line is named, the good one before it is not."""
    errors = failed(server, GOOD + request(2, "cut off here")[:60])
    assert places(errors) == [("invalid_json_line", 2, None)]


def test_a_bom_crlf_and_blank_lines_are_accepted(server: Server) -> None:
    """As editors on Windows write them."""
    lines = [request(n, f"windows {n}").replace(b"\n", b"\r\n") for n in (1, 2)]
    content = b"\xef\xbb\xbf" + lines[0] + b"\r\n \r\n" + lines[1].rstrip()
    batch = server.wait(server.submit_lines([content]))
    assert (batch["status"], batch["request_counts"]) == (
        "completed",
        {"total": 2, "completed": 2, "failed": 0},
    )


def test_utf_16(server: Server) -> None:
    """With its mark it is recognised as a whole; without, the lines are still refused."""
    text = (GOOD * 2).decode()
    errors = failed(server, text.encode("utf-16"))
    assert places(errors) == [("invalid_json_line", n, None) for n in (1, 2)]
    says(errors[0], "UTF-16", "save it as UTF-8")
    assert {place[0] for place in places(failed(server, text.encode("utf-16-le")))} == {"invalid_json_line"}


def test_latin_1(server: Server) -> None:
    """A byte that is not UTF-8 is named."""
    errors = failed(server, GOOD + request(2, "x").replace(b'"x"', '"café"'.encode("latin-1")))
    assert places(errors) == [("invalid_json_line", 2, None)]
    says(errors[0], "not UTF-8", "0xe9", "Save the file as UTF-8")


def test_60_megabytes_on_one_line(server: Server, tmp_path: Path) -> None:
    """The line is named and never held in memory: it costs hardly more than one that is just too long."""

    def too_long(size: int) -> int:
        file = tmp_path / "long.jsonl"
        file.write_bytes(GOOD + b'{"custom_id": "' + b"x" * size + b'"}\n' + request(3, "good"))
        errors = failed(server, file)
        assert places(errors) == [("line_too_large", 2, None)]
        says(errors[0], "6,000,000 bytes", "shorten or split")
        return peak_bytes(server)

    before = too_long(6_000_000)
    assert too_long(60_000_000) - before < 20_000_000


def test_a_file_above_the_limit(server: Server, tmp_path: Path) -> None:
    """Refused at upload with 413, and nothing of it stays."""
    data = server.folder / "data"
    kept = len(list((data / "files").iterdir()))
    with refused(413, "64,000,000 bytes", "split", param="file", code="file_too_large"):
        server.client().files.create(file=("big.jsonl", b"x" * (FILE_BYTES + 1)), purpose="batch")
    assert len(list((data / "files").iterdir())) <= kept + 1  # the neighbour may have got its result file
    assert not list((data / "tmp").glob("*.upload"))


def test_50_001_lines(server: Server) -> None:
    """One error for the whole file, on no line; 50,000 of them would have been accepted."""
    before = peak_bytes(server, reset=True)
    errors = failed(server, b"".join(request(n, "x") for n in range(50_001)))
    assert places(errors) == [("too_many_requests_in_file", None, None)]
    says(errors[0], "50,000", "split it")
    assert peak_bytes(server) - before < 60_000_000


def test_more_bad_lines_than_are_listed(server: Server) -> None:
    """The first thousand, then one that says there are more."""
    errors = failed(server, b"no\n" * 1500)
    assert [error["line"] for error in errors] == [*range(1, 1001), None]
    assert errors[-1]["code"] == "too_many_errors"
    says(errors[-1], "1,000")


def test_an_empty_file(server: Server) -> None:
    """It may be uploaded, and its task says that it is empty; blank lines and a lone mark are nothing either."""
    for content in (b"", b"\n \r\n\n", b"\xef\xbb\xbf"):
        errors = failed(server, content)
        assert places(errors) == [("empty_file", None, None)]
        says(errors[0], "at least one JSON object")


def test_duplicate_ids(server: Server) -> None:
    """Every repetition is named, the first of each is not."""
    lines = [request(n, "x") for n in (1, 2, 1, 3, 2, 1)]
    errors = failed(server, b"".join(lines))
    assert places(errors) == [("duplicate_custom_id", n, "custom_id") for n in (3, 5, 6)]
    says(errors[0], "'r1'", "unique")


def test_mixed_models(server: Server) -> None:
    """The first line's model is the file's; a name that nobody knows is told apart."""
    errors = failed(server, GOOD + request(2, "x", model="batch-test-model") + request(3, "x", model="gpt-9"))
    assert set(places(errors)) == {
        ("mismatched_model", 2, "body.model"),
        ("mismatched_test_url", 2, "url"),
        ("mismatched_model", 3, "body.model"),
        ("model_not_found", 3, "body.model"),
    }
    unknown = failed(server, request(1, "x", model="gpt-9"))
    assert places(unknown) == [("model_not_found", 1, "body.model")]
    says(unknown[0], "'gpt-9'", "Use one of: m")


def test_urls(server: Server) -> None:
    """One that does not exist, one of another endpoint; the test model's the other way round."""
    errors = failed(server, line(url="/v1/images") + line(url="/v1/embeddings", custom_id="r3") + GOOD)
    assert places(errors) == [("url_not_found", 1, "url"), ("invalid_url", 2, "url")]
    says(errors[0], "'/v1/images'", "Write '/v1/chat/completions'")
    says(errors[1], "'/v1/embeddings'", "does not match", "Write '/v1/chat/completions'")
    errors = failed(server, line(url="/v1/chat/ds-test"), "/v1/chat/ds-test")
    assert places(errors) == [("mismatched_test_url", 1, "url")]


BAD_FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"custom_id": None}, "missing_required_parameter", "custom_id"),
    ({"method": None}, "missing_required_parameter", "method"),
    ({"url": None}, "missing_required_parameter", "url"),
    ({"body": None}, "missing_required_parameter", "body"),
    ({"body": {"messages": []}}, "missing_required_parameter", "body.model"),
    ({"body": {"model": "m"}}, "missing_required_parameter", "body.messages"),
    ({"custom_id": 7}, "invalid_type", "custom_id"),
    ({"body": []}, "invalid_type", "body"),
    ({"body": {"model": 1, "messages": []}}, "invalid_type", "body.model"),
    ({"body": {"model": "m", "messages": "hi"}}, "invalid_type", "body.messages"),
    ({"custom_id": "x" * 257}, "custom_id_too_long", "custom_id"),
    ({"method": "GET"}, "invalid_method", "method"),
]


def test_bad_fields(server: Server) -> None:
    """Each with its code, its line and its name, in one file; the good lines between are not named."""
    lines = [GOOD]
    for n, (changes, _, _) in enumerate(BAD_FIELDS):
        lines += [line(**{"custom_id": f"bad {n}", **changes}), request(100 + n, "good")]
    errors = failed(server, b"".join(lines))
    expected = [(code, 2 * n, param) for n, (_, code, param) in enumerate(BAD_FIELDS, 1)]
    assert places(errors) == expected
    for error in errors:
        says(error, error["param"])


def test_a_stream_is_delivered_whole(server: Server, upstream: Upstream) -> None:
    """`stream: true` in a body is accepted; the result is the whole response, metered and billed."""
    streaming = {"stream": True, "stream_options": {"include_usage": True}}
    lines = [request(1, "streams aloud @in=30 @out=5", **streaming), request(2, "not @in=30 @out=5")]
    batch = server.wait(server.submit_lines(lines))
    assert batch["request_counts"] == {"total": 2, "completed": 2, "failed": 0}
    content = server.get_bytes(f"/v1/files/{batch['output_file_id']}/content").splitlines()
    bodies = {row["custom_id"]: row["response"]["body"] for row in map(json.loads, content)}
    assert {body["object"] for body in bodies.values()} == {"chat.completion"}
    assert bodies["r1"]["choices"][0]["message"]["content"] == "echo: streams aloud @in=30 @out=5"
    assert (batch["usage"]["input_tokens"], batch["usage"]["output_tokens"]) == (60, 10)
    assert len(server.get(f"/v1/events?task_id={batch['id']}")["data"]) == 2
