"""What an answer is taken for, as it comes from the wire."""

import gzip

import pytest

from executor.answers import judge
from metering.clock import utc_now
from tests.executor.peer import asked

ANSWER = b'{"choices": [{"message": {"content": "Good."}, "finish_reason": "stop"}]}'


@pytest.mark.parametrize(
    ("headers", "body", "said"),
    [
        (b"content-encoding: gzip\r\n", gzip.compress(ANSWER), "it is compressed (gzip), though it was asked for plain"),
        (b"content-type: text/html\r\n", b"<h1>Welcome</h1>", "it begins with '<h1>Welcome</h1>'"),
        (b"content-type: text/event-stream\r\n", b"data: {}\n\n", r"it begins with 'data: {}\n\n'"),
        (b"content-encoding: identity\r\n", ANSWER.decode().encode("utf-16"), "it begins with '\ufffd\ufffd{"),
        (b"", b" ", "it is empty"),
        (b"", ANSWER + b"!" * 5000, "trailing characters"),
    ],
    ids=["compressed", "a page", "an unasked stream", "UTF-16", "nothing", "something behind it"],
)  # fmt: skip
def test_a_body_that_is_no_json_object_is_told_apart(headers: bytes, body: bytes, said: str) -> None:
    """The message says what came instead, and with what it begins, so that nobody has to record the traffic."""
    head = b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n" % (headers, len(body))
    [answer], _ = asked((head, body))
    verdict = judge(answer, "/v1/chat/completions", utc_now)
    assert (verdict.kind, verdict.error_code) == ("retry", "invalid_response")
    assert said in verdict.message
    assert len(verdict.message) <= 500
