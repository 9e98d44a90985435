"""Validation of input files (SPEC §3.3)."""

import json
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from executor.models import ModelCatalog
from executor.options import TEST_ENDPOINT, TEST_MODEL, LimitOptions, ModelOptions
from executor.validation import (
    InputChanged,
    Report,
    ValidationStopped,
    peek_model,
    read_requests,
    validate,
)

CHAT = "/v1/chat/completions"
CATALOG = ModelCatalog(
    [
        ModelOptions(name="qwen-plus", upstreams=("http://a/v1",)),
        ModelOptions(name="qwen-max", upstreams=("http://a/v1",)),
        ModelOptions(
            name="embedder",
            upstreams=("http://a/v1",),
            endpoints=("/v1/embeddings", "/v1/responses", "/v1/completions"),
        ),
    ]
)
LIMITS = LimitOptions()


def request_line(custom_id="a", model="qwen-plus", url=CHAT, **changes) -> dict:
    body = {"model": model, "messages": [{"role": "user", "content": "What is 2+2?"}]}
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body} | changes


def check(tmp_path: Path, data, *, endpoint=CHAT, allowed=None, limits=LIMITS) -> Report:
    path = tmp_path / "input.jsonl"
    if isinstance(data, list):
        lines = [x if isinstance(x, bytes) else json.dumps(x, ensure_ascii=False).encode() for x in data]
        data = b"\n".join(lines) + b"\n"
    path.write_bytes(data)
    return validate(path, endpoint, CATALOG, allowed, limits)


def found(report: Report) -> list[tuple]:
    return [(error.line, error.code, error.param) for error in report.errors]


def test_a_good_file_has_no_errors(tmp_path):
    """Blank lines are skipped, a BOM and CRLF are accepted, any text of the world is."""
    lines = [request_line("a"), b"", b"  \t", request_line("ü🦉"), request_line("c", method="POST")]
    text = b"\r\n".join(
        x if isinstance(x, bytes) else json.dumps(x, ensure_ascii=False).encode() for x in lines
    )
    report = check(tmp_path, b"\xef\xbb\xbf" + text)
    assert report == Report(total=3, model="qwen-plus", errors=(), error_count=0, by_code={})


BODY = request_line()["body"]
CASES = {
    "not json": (b"{oops", "invalid_json_line", None),
    "half a line": (json.dumps(request_line()).encode()[:50], "invalid_json_line", None),
    "two objects": (b"{} {}", "invalid_json_line", None),
    "an array": (b"[1]", "invalid_json_line", None),
    "a number": (b"17", "invalid_json_line", None),
    "not utf-8": (b'{"custom_id": "\xff"}', "invalid_json_line", None),
    "latin-1 in the prompt": (
        json.dumps(request_line()).replace("What", "Wh\xe4t").encode("latin-1"),
        "invalid_json_line",
        None,
    ),
    "deep": (b'{"body": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "invalid_json_line", None),
    "nan": (json.dumps(request_line(body=BODY | {"t": float("nan")})).encode(), "invalid_json_line", None),
    "empty object": (b"{}", "missing_required_parameter", "custom_id"),
    "no method": (
        {k: v for k, v in request_line().items() if k != "method"},
        "missing_required_parameter",
        "method",
    ),
    "no url": ({k: v for k, v in request_line().items() if k != "url"}, "missing_required_parameter", "url"),
    "no body": (
        {k: v for k, v in request_line().items() if k != "body"},
        "missing_required_parameter",
        "body",
    ),
    "no model": (request_line(body={"messages": []}), "missing_required_parameter", "body.model"),
    "no messages": (request_line(body={"model": "qwen-plus"}), "missing_required_parameter", "body.messages"),
    "id is a number": (request_line(custom_id=7), "invalid_type", "custom_id"),
    "id is null": (request_line(custom_id=None), "invalid_type", "custom_id"),
    "method is null": (request_line(method=None), "invalid_type", "method"),
    "url is an array": (request_line(url=[]), "invalid_type", "url"),
    "body is a string": (request_line(body="x"), "invalid_type", "body"),
    "model is a number": (request_line(body=BODY | {"model": 1}), "invalid_type", "body.model"),
    "messages is a string": (request_line(body=BODY | {"messages": "hi"}), "invalid_type", "body.messages"),
    "long id": (request_line(custom_id="x" * 257), "custom_id_too_long", "custom_id"),
    "get": (request_line(method="GET"), "invalid_method", "method"),
    "post": (request_line(method="post"), "invalid_method", "method"),
    "other url": (request_line(url="/v1/embeddings"), "invalid_url", "url"),
    "unknown url": (request_line(url="/v1/chat/completion"), "url_not_found", "url"),
    "unknown model": (request_line(model="gpt-9"), "model_not_found", "body.model"),
    "model of another endpoint": (request_line(model="embedder"), "model_not_found", "body.model"),
    "test model at the wrong url": (request_line(model=TEST_MODEL), "mismatched_test_url", "url"),
}


@pytest.mark.parametrize("name", CASES)
def test_each_fault_has_its_code(tmp_path, name):
    """Every code of the table, alone on the first line of its file, with its field and a text that mends."""
    line, code, param = CASES[name]
    report = check(tmp_path, [line])
    assert found(report) == [(1, code, param)]
    assert report.by_code == {code: 1}
    assert len(report.errors[0].message) > 20


def test_all_missing_parameters_are_named_in_one_error(tmp_path):
    """A code stands once a line; its message names every field that it is about."""
    (error,) = check(tmp_path, [b'{"body": {}}']).errors
    for name in ("custom_id", "method", "url", "body.model", "body.messages"):
        assert f"'{name}'" in error.message


def test_a_line_may_have_several_errors(tmp_path):
    """Everything that is wrong with a line is said at once."""
    lines = [request_line("a"), request_line("a", model="gpt-9", method="GET", url="/v2")]
    assert found(check(tmp_path, lines)) == [
        (2, "duplicate_custom_id", "custom_id"),
        (2, "invalid_method", "method"),
        (2, "url_not_found", "url"),
        (2, "mismatched_model", "body.model"),
        (2, "model_not_found", "body.model"),
    ]


def test_physical_lines_are_named(tmp_path):
    """Blank lines count where lines are numbered, and good lines are never named."""
    lines = [b"", request_line("a"), b"", b"x", request_line("b"), request_line("a")]
    report = check(tmp_path, lines)
    assert found(report) == [(4, "invalid_json_line", None), (6, "duplicate_custom_id", "custom_id")]
    assert report.total == 4


def test_long_ids_are_compared_whole(tmp_path):
    """Two ids that are too long are duplicates only if they are equal to the end."""
    lines = [request_line("x" * 300 + "1"), request_line("x" * 300 + "2"), request_line("x" * 300 + "1")]
    codes = [(line, code) for line, code, _ in found(check(tmp_path, lines))]
    assert codes == [*((n, "custom_id_too_long") for n in (1, 2, 3)), (3, "duplicate_custom_id")]


def test_the_first_model_is_what_the_others_must_match(tmp_path):
    """The first line that has a model decides, even if that line has another fault."""
    lines = [
        b"x",
        request_line("a", method="GET", model="qwen-max"),
        request_line("b"),
        request_line("c", "qwen-max"),
    ]
    report = check(tmp_path, lines)
    assert report.model == "qwen-max"
    assert found(report)[2:] == [(3, "mismatched_model", "body.model")]


def test_a_model_that_is_not_allowed_is_not_found(tmp_path):
    """A workspace's allowed models bind it; the test model is everybody's."""
    assert found(check(tmp_path, [request_line()], allowed=["qwen-max"])) == [
        (1, "model_not_found", "body.model")
    ]
    line = request_line(model=TEST_MODEL, url=TEST_ENDPOINT)
    assert check(tmp_path, [line], endpoint=TEST_ENDPOINT, allowed=[]).valid


@pytest.mark.parametrize("model", ["qwen-plus", "gpt-9"])
def test_other_models_at_the_test_url(tmp_path, model):
    """The reverse of a misplaced test model has the same code, and no model_not_found beside it."""
    report = check(tmp_path, [request_line(model=model, url=TEST_ENDPOINT)], endpoint=TEST_ENDPOINT)
    assert found(report) == [(1, "mismatched_test_url", "url")]


@pytest.mark.parametrize(
    ("endpoint", "field", "good", "bad"),
    [
        ("/v1/embeddings", "input", ["a", "b"], 7),
        ("/v1/responses", "input", "a", {}),
        ("/v1/completions", "prompt", [1, 2], None),
    ],
)
def test_each_endpoint_wants_its_content(tmp_path, endpoint, field, good, bad):
    """Embeddings and responses want `input`, completions want `prompt`."""
    line = request_line(url=endpoint, body={"model": "embedder", field: good})
    assert check(tmp_path, [line], endpoint=endpoint).valid
    line = request_line(url=endpoint, body={"model": "embedder", field: bad})
    assert found(check(tmp_path, [line], endpoint=endpoint)) == [(1, "invalid_type", f"body.{field}")]
    line = request_line(url=endpoint, body={"model": "embedder", "messages": []})
    expected = [(1, "missing_required_parameter", f"body.{field}")]
    assert found(check(tmp_path, [line], endpoint=endpoint)) == expected


def test_the_first_thousand_bad_lines_are_listed(tmp_path):
    """Then one `too_many_errors` stands for the rest; all are counted."""
    report = check(tmp_path, [b"x"] * 1500)
    assert [error.line for error in report.errors] == [*range(1, 1001), None]
    assert report.errors[-1].code == "too_many_errors"
    assert report.error_count == 1500
    assert "too_many_errors" not in [e.code for e in check(tmp_path, [b"x"] * 1000).errors]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\xef\xbb\xbf", b" \r\n"])
def test_a_file_without_a_request_is_empty(tmp_path, data):
    """Nothing but blanks is `empty_file`, of no line."""
    assert found(check(tmp_path, data)) == [(None, "empty_file", None)]


def test_a_line_at_the_limit_is_accepted_and_one_above_is_not(tmp_path):
    """The newline, or a CR before it, is no part of the line; the lines behind it keep their numbers."""
    line = json.dumps(request_line("a")).encode()
    limits = LimitOptions(line_bytes=len(line))
    for end in (b"", b"\n", b"\r\n"):
        assert check(tmp_path, line + end, limits=limits).valid
    for end in (b"", b"\n", b"\r\n"):
        assert found(check(tmp_path, line + b" " + end, limits=limits)) == [(1, "line_too_large", None)]
    assert found(check(tmp_path, line + b" \nx\n", limits=limits))[1] == (2, "invalid_json_line", None)


def test_sixty_megabytes_on_one_line_cost_no_sixty_megabytes(tmp_path):
    """A huge line is skipped in pieces; what follows it is checked."""
    path = tmp_path / "input.jsonl"
    with path.open("wb") as file:
        file.write(b'{"custom_id": "')
        for _ in range(60):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n' + json.dumps(request_line("a")).encode())
    tracemalloc.start()
    report = validate(path, CHAT, CATALOG, None, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found(report) == [(1, "line_too_large", None)]
    assert report.total == 2
    assert peak < 20_000_000


def test_utf_16_is_named(tmp_path):
    """Each line is bad, and the message says which encoding it is; the rest behind the last newline is no line."""
    for encoding in ("utf-16", "utf-16-be"):
        text = json.dumps(request_line("a")) + "\n" + json.dumps(request_line("b")) + "\n"
        report = check(tmp_path, b"\xfe\xff" * (encoding == "utf-16-be") + text.encode(encoding))
        assert {error.code for error in report.errors} == {"invalid_json_line"}
        assert {error.line for error in report.errors} == {1, 2}
        assert "UTF-16" in report.errors[0].message


def test_too_many_requests(tmp_path):
    """One more than the limit is one error of no line; bad lines are named all the same."""
    limits = LimitOptions(requests_per_file=3)
    lines = [request_line(str(n)) for n in range(3)]
    assert check(tmp_path, lines, limits=limits).valid
    report = check(tmp_path, [*lines, request_line("3"), b"x", request_line("1")], limits=limits)
    assert found(report) == [
        (None, "too_many_requests_in_file", None),
        (5, "invalid_json_line", None),
        (6, "duplicate_custom_id", "custom_id"),
    ]


def test_the_test_model_has_its_own_limits(tmp_path):
    """100 requests and 1 MB, by default."""

    def line(n: int) -> dict:
        return request_line(str(n), TEST_MODEL, TEST_ENDPOINT)

    assert check(tmp_path, [line(n) for n in range(100)], endpoint=TEST_ENDPOINT).valid
    report = check(tmp_path, [line(n) for n in range(101)], endpoint=TEST_ENDPOINT)
    assert found(report) == [(None, "too_many_requests_in_file", None)]
    report = check(tmp_path, [line(1), b" " * 1_000_000], endpoint=TEST_ENDPOINT)
    assert found(report) == [(None, "file_too_large", None)]


def test_a_file_above_the_limit(tmp_path):
    """A limit that was lowered after the upload holds too."""
    report = check(tmp_path, [request_line()], limits=LimitOptions(file_bytes=10))
    assert found(report) == [(None, "file_too_large", None)]


def test_validation_can_be_stopped_and_tells_how_far_it_is(tmp_path):
    """Progress goes up to the size of the file; a set event ends it."""
    path = tmp_path / "input.jsonl"
    path.write_text(json.dumps(request_line()))
    seen = []
    validate(path, CHAT, CATALOG, None, LIMITS, on_progress=lambda done, of: seen.append((done, of)))
    assert seen == [(path.stat().st_size, path.stat().st_size)]
    stop = threading.Event()
    stop.set()
    with pytest.raises(ValidationStopped):
        validate(path, CHAT, CATALOG, None, LIMITS, stop=stop)


def test_the_model_of_the_first_request_is_peeked(tmp_path):
    """Blank lines before it don't matter; a first line without a model has none."""
    path = tmp_path / "input.jsonl"
    path.write_bytes(b"\xef\xbb\xbf\n\n" + json.dumps(request_line()).encode())
    assert peek_model(path, LIMITS) == "qwen-plus"
    for data in (b"", b"x", b"{}", b"[]", b'{"body": {"model": 3}}', b"\xff\xfe"):
        path.write_bytes(data)
        assert peek_model(path, LIMITS) is None


def test_requests_are_read_with_their_lines_and_raw_bodies(tmp_path):
    """What is skipped is not read; a body is the bytes that stand in the file."""
    path = tmp_path / "input.jsonl"
    body = '{ "model" : "qwen-plus",  "messages": [] , "n": 1.0}'
    line = '{"url": "%s", "body": %s, "custom_id": "%s", "method": "POST"}'
    path.write_text("\n\r\n".join(line % (CHAT, body, n) for n in range(3)))
    requests = list(read_requests(path, {3}, LIMITS))
    assert [(r.line_no, r.custom_id, r.url) for r in requests] == [(1, "0", CHAT), (5, "2", CHAT)]
    assert requests[0].body == body.encode()
    path.write_text("{}\n")
    with pytest.raises(InputChanged, match="line 1"):
        list(read_requests(path, set(), LIMITS))


def test_what_is_accepted_can_be_read_from_a_deeper_stack(tmp_path):
    """Nesting at the edge of what validation takes is no trouble for the dispatcher."""

    def nested(depth: int) -> bytes:
        return json.dumps(request_line()).encode()[:-2] + b', "x": ' + b"[" * depth + b"]" * depth + b"}}"

    def deeper(frames: int) -> list:
        path = tmp_path / "input.jsonl"
        return list(read_requests(path, (), LIMITS)) if frames == 0 else deeper(frames - 1)

    deepest = max(depth for depth in range(100, 1000, 10) if check(tmp_path, [nested(depth)]).valid)
    assert deepest > 300
    check(tmp_path, [nested(deepest)])
    assert len(deeper(60)) == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(extra=JSON, ids=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=256), min_size=1, unique=True), ascii_only=st.booleans())  # fmt: skip
def test_any_body_that_is_json_is_accepted_and_read_back(tmp_path_factory, extra, ids, ascii_only):
    """Whatever a body holds beside its model and messages, it is accepted and comes back as it was."""
    path = tmp_path_factory.mktemp("v") / "input.jsonl"
    lines = [request_line(name, body=BODY | {"extra": extra}) for name in ids]
    path.write_bytes(b"".join(json.dumps(x, ensure_ascii=ascii_only).encode() + b"\n" for x in lines))
    assert validate(path, CHAT, CATALOG, None, LIMITS).errors == ()
    read = list(read_requests(path, (), LIMITS))
    assert [r.custom_id for r in read] == ids
    assert [json.loads(r.body) for r in read] == [x["body"] for x in lines]


@settings(max_examples=300, deadline=None)
@given(line=st.binary(max_size=60) | JSON.map(lambda x: json.dumps(x).encode()), before=st.integers(0, 3))
def test_no_line_is_taken_that_is_no_request(tmp_path_factory, line, before):
    """Garbage is named with its line, the good lines around it are not, and nothing raises."""
    line = line.replace(b"\n", b"")
    assume(before > 0 or line[:2] not in (b"\xfe\xff", b"\xff\xfe"))  # then no line of the file is UTF-8
    path = tmp_path_factory.mktemp("v") / "input.jsonl"
    good = [json.dumps(request_line(str(n))).encode() for n in range(before + 1)]
    path.write_bytes(b"\n".join([*good[:before], line, good[before]]))
    report = validate(path, CHAT, CATALOG, None, LIMITS)
    blank = not line.strip(b" \t\r") or (before == 0 and line == b"\xef\xbb\xbf")
    assert {error.line for error in report.errors} == (set() if blank else {before + 1})
    assert report.total == before + 1 + (not blank)
