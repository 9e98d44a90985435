import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.sse import EventParser
from executor.streamed import Streamed, is_event_stream
from tests.streams import chunks_of, event, server_sent

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
DONE = b"data: [DONE]\n\n"

# -- answers of any shape --------------------------------------------------------------------------

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
some_text = text.filter(bool)
number = st.integers(0, 10**9)
unknown = st.one_of(st.booleans(), number, some_text, st.none(), st.lists(number, max_size=2))
entry = st.fixed_dictionaries({"token": text, "logprob": st.floats(-50, 0), "top_logprobs": st.just([])})
function = st.fixed_dictionaries({"name": some_text, "arguments": text})
call = st.fixed_dictionaries({"id": some_text, "type": st.just("function"), "function": function})
ending = {"finish_reason": st.sampled_from(["stop", "length", "tool_calls"])}
more = {"stop_reason": unknown, "content_filter_results": st.just({"hate": {"filtered": False}})}
spoken = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": some_text},
    optional={
        "reasoning_content": some_text,
        "reasoning": some_text,
        "refusal": st.none() | some_text,
        "x": unknown,
    },
)
calling = st.fixed_dictionaries(
    {
        "role": st.just("assistant"),
        "content": st.none(),
        "tool_calls": st.lists(call, min_size=1, max_size=3),
    },
    optional={"function_call": function},
)
chat_log = st.none() | st.fixed_dictionaries({"content": st.lists(entry, max_size=4), "refusal": st.none()})
text_log = st.none() | st.fixed_dictionaries(
    {"tokens": st.lists(text, max_size=4), "token_logprobs": st.lists(st.floats(-50, 0), max_size=4)}
)
chat_choice = st.fixed_dictionaries(
    {"message": spoken | calling, **ending}, optional={"logprobs": chat_log, **more}
)
text_choice = st.fixed_dictionaries({"text": text, **ending}, optional={"logprobs": text_log, **more})
usage = st.fixed_dictionaries({"prompt_tokens": number, "completion_tokens": number, "total_tokens": number})


def answers(kind: str, choice: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    numbered = st.lists(choice, min_size=1, max_size=3).map(
        lambda choices: [{"index": index, **choice} for index, choice in enumerate(choices)]
    )
    known = {"id": some_text, "object": st.just(kind), "created": number, "model": some_text, "usage": usage}
    return st.fixed_dictionaries(
        {**known, "choices": numbered}, optional={"system_fingerprint": some_text, "x": unknown}
    )


whole_answers = st.one_of(
    st.tuples(st.just(CHAT), answers("chat.completion", chat_choice)),
    st.tuples(st.just(COMPLETIONS), answers("text_completion", text_choice)),
)


def read(*parts: bytes, endpoint: str = CHAT, limit: int = 10**6) -> Streamed:
    stream = Streamed(endpoint, limit)
    for part in parts:
        if not stream.over:
            stream.feed(part)
    stream.close()
    return stream


def whole(*parts: bytes, endpoint: str = CHAT) -> Any:
    stream = read(*parts, endpoint=endpoint)
    assert (stream.fault, stream.status) == (None, None)
    return json.loads(stream.body)


def chat(**delta: Any) -> bytes:
    return event({"id": "c", "choices": [{"index": 0, "delta": delta, "finish_reason": None}]})


END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
USAGE = event({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}})


@settings(deadline=None)
@given(whole_answers)
def test_a_streamed_answer_is_the_unstreamed_one(answer: tuple[str, dict[str, Any]]) -> None:
    """Whatever an answer holds, its streamed form put together again is the same answer."""
    endpoint, body = answer
    events = server_sent(body, {"stream_options": {"include_usage": True}})
    assert whole(*events, endpoint=endpoint) == body


@settings(deadline=None)
@given(whole_answers, st.lists(st.integers(0, 10**4), max_size=20), st.sampled_from(["\n", "\r\n", "\r"]))
def test_where_the_bytes_are_cut_changes_nothing(
    answer: tuple[str, dict[str, Any]], cuts: list[int], end_of_line: str
) -> None:
    """However a connection cuts a stream into pieces, and however lines end, the answer is the same."""
    endpoint, body = answer
    sent = b"".join(server_sent(body, {"stream_options": {"include_usage": True}}))
    sent = sent.replace(b"\n", end_of_line.encode())
    marks = sorted({0, len(sent), *(cut % len(sent) for cut in cuts)})
    pieces = [sent[a:b] for a, b in pairwise(marks)]
    assert whole(*pieces, endpoint=endpoint) == body


@settings(deadline=None)
@given(whole_answers, st.data())
def test_a_stream_that_is_cut_off_is_no_answer(
    answer: tuple[str, dict[str, Any]], data: st.DataObject
) -> None:
    """Before its last chunk a stream is no answer; what comes in it is never delivered in part."""
    endpoint, body = answer
    sent = b"".join(event(chunk) for chunk in chunks_of(body)).rstrip()
    stream = read(sent[: data.draw(st.integers(0, len(sent) - 1))], endpoint=endpoint)
    assert stream.fault is not None
    assert stream.fault[0] == "connection_error"
    assert stream.body == b""


@settings(deadline=None)
@given(st.binary(max_size=300), st.integers(1, 9))
def test_any_bytes_are_survived_and_cut_alike(raw: bytes, size: int) -> None:
    """No bytes break the parser of events, and none are read differently in pieces."""
    at_once, in_pieces = EventParser(), EventParser()
    found = at_once.feed(raw) + at_once.close()
    pieces = [raw[at : at + size] for at in range(0, len(raw), size)]
    assert [e for piece in pieces for e in in_pieces.feed(piece)] + in_pieces.close() == found
    assert at_once.pending == in_pieces.pending == 0
    read(raw)


def test_events_are_read_as_the_standard_says() -> None:
    """A byte order mark, comments, other fields, several data lines, one space after the colon or none."""
    parser = EventParser()
    raw = b"\xef\xbb\xbf: hello\nevent: x\nid: 1\ndata: a\ndata:b\ndata:  c\n\n: ping\n\ndata\n\ndata: last"
    assert parser.feed(raw) == [b"a\nb\n c", b""]
    assert parser.pending == len("data: last")
    assert parser.close() == [b"last"]


def test_tool_calls_are_joined_by_their_index() -> None:
    """Arguments come in pieces and calls in turn; a call that names no index goes by its id."""
    name = {"name": "f", "arguments": ""}
    indexed = whole(
        chat(role="assistant", content=""),
        chat(tool_calls=[{"index": 1, "id": "b", "type": "function", "function": name}]),
        chat(tool_calls=[{"index": 0, "id": "a", "type": "function", "function": name}]),
        chat(tool_calls=[{"index": 1, "id": "", "function": {"arguments": '{"x":'}}]),
        chat(tool_calls=[{"index": 1, "function": {"name": None, "arguments": "1}"}}]),
        END + DONE,
    )
    assert indexed["choices"][0]["message"] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
            {"id": "b", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
        ],
    }
    unnumbered = whole(
        chat(tool_calls=[{"id": "a", "function": {"name": "f", "arguments": "1"}}]),
        chat(tool_calls=[{"function": {"arguments": "2"}}]),
        chat(tool_calls=[{"id": "b", "function": {"name": "g", "arguments": "3"}}]),
        END + DONE,
    )
    calls = unnumbered["choices"][0]["message"]["tool_calls"]
    assert [(c["id"], c["function"]["arguments"]) for c in calls] == [("a", "12"), ("b", "3")]


def test_the_last_value_counts_but_nothing_replaces_one() -> None:
    """Of members that don't come in pieces the last counts, but null and "" replace none; padding goes."""
    body = whole(
        event({"id": "", "model": "", "x": 1, "y": {"a": 1}, "obfuscation": "zzz", "choices": []}),
        event({"id": "c", "model": "m", "x": 2, "y": {"b": 2}, "choices": None, "usage": None}),
        chat(content="hi", role="assistant"),
        END,
        event({"id": "", "choices": [{"index": 0, "delta": None, "finish_reason": None}], "usage": {"n": 1}}),
        event({"choices": [], "usage": {"n": 2}}),
        DONE,
    )
    assert body == {
        "id": "c",
        "model": "m",
        "x": 2,
        "y": {"b": 2},
        "usage": {"n": 2},
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}],
    }


@pytest.mark.parametrize(
    ("delta", "token"),
    [
        ({"role": "assistant", "content": ""}, False),
        ({"content": None, "reasoning_content": None}, False),
        ({"content": "a"}, True),
        ({"reasoning_content": "a"}, True),
        ({"reasoning": "a"}, True),
        ({"refusal": "no"}, True),
        ({"tool_calls": [{"index": 0, "function": {"name": "f"}}]}, True),
        ({"function_call": {"name": "f"}}, True),
    ],
)
def test_what_a_first_token_is(delta: dict[str, Any], token: bool) -> None:
    """Content, reasoning, refusal and tool calls are tokens; a role and empty texts are none."""
    stream = Streamed(CHAT, 10**6)
    stream.feed(chat(**delta))
    assert stream.has_token is token


def test_a_stream_is_complete_at_done_or_when_nothing_more_can_come() -> None:
    """`[DONE]` ends a stream; without it every choice must have finished and the usage be there."""
    answer = chat(role="assistant", content="hi")
    assert whole(answer, END, USAGE)["usage"]["completion_tokens"] == 2
    assert whole(answer, END, DONE, b"data: {broken")["choices"]
    assert whole(answer, END, b"data: [DONE]")["choices"]
    for cut in ([], [answer], [answer, END], [answer, USAGE], [DONE], [USAGE, DONE]):
        fault = read(*cut).fault
        assert fault is not None
        assert fault[0] == "connection_error"


@pytest.mark.parametrize(
    "chunk",
    [
        b"{",
        b"[]",
        b'"\xff"',
        b'{"choices":1}',
        b'{"choices":[1]}',
        b'{"choices":[{"delta":{"tool_calls":[1]}}]}',
        b"[" * 100_000,
        b'{"choices":[{"delta":' + b'{"a":' * 600 + b"1" + b"}" * 600 + b"}]}",
    ],
)
def test_a_broken_chunk_is_no_complete_answer(chunk: bytes) -> None:
    """A chunk that can't be read ends the stream without an answer."""
    stream = read(chat(content="hi"), b"data: " + chunk + b"\n\n", END, DONE)
    assert stream.over
    if stream.fault is None:  # deep, but not too deep to be read
        assert b'"a":' in chunk
    else:
        assert stream.fault[0] == "connection_error"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error": {"message": "no", "code": 400}}, 400),
        ({"error": {"message": "no", "code": "429"}}, 429),
        ({"error": {"message": "no", "type": "server_error", "code": None}}, 500),
        ({"error": {"message": "no", "type": "invalid_request_error", "code": "x"}}, 400),
        ({"error": {"message": "no", "type": "BadRequestError"}}, 400),
        ({"error": {"message": "no", "code": "rate_limit_exceeded"}}, 429),
        ({"error": {"message": "no", "status": 503}}, 503),
        ({"error": {"message": "no", "code": 200}}, 500),
        ({"error": "no"}, 500),
        ({"object": "error", "message": "no", "code": 404}, 404),
        ({"error": {"message": "no", "code": "data_inspection_failed"}}, 400),
    ],
)
def test_an_error_in_a_stream_stands_for_its_status(error: dict[str, Any], status: int) -> None:
    """An error inside of a stream counts as an answer with the status that it names, else with 500."""
    stream = read(chat(content="hi"), event(error), DONE)
    assert (stream.fault, stream.status, json.loads(stream.body)) == (None, status, error)


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_an_answer_has_a_limit_and_its_framing_none(cut: int) -> None:
    """The limit is for the answer put together and for one event, not for all that frames the tokens."""
    words = [chat(content="word") for _ in range(200)]
    sent = b"".join([b": ping\n\n" * 100, *words, END, DONE])
    pieces = [sent[at : at + cut] for at in range(0, len(sent), cut)]
    assert read(*pieces, limit=1500).fault is None
    for limit in (700, 850):
        assert (read(*pieces, limit=limit).fault or ("",))[0] == "response_too_large"
    endless = Streamed(CHAT, 1000)
    while not endless.over:
        endless.feed(b"data: " + b"x" * cut)
    assert endless.fault is not None
    assert endless.fault[0] == "response_too_large"
    many = Streamed(CHAT, 10_000)
    for number in range(10**4):
        if not many.over:
            many.feed(event({f"x{number}": 1}))
    assert many.over


def test_what_streams_is_told_by_its_content_type() -> None:
    """Parameters and upper case don't matter."""
    assert is_event_stream("text/event-stream")
    assert is_event_stream("Text/Event-Stream; charset=utf-8")
    assert not is_event_stream("application/json")
