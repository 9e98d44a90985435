"""What servers in use make of a streamed answer beside what the API says."""

import json
from typing import Any

import pytest

from tests.executor.test_streamed import DONE, END, chat, read, whole
from tests.streams import event


def call_piece(arguments: str, **more: Any) -> dict[str, Any]:
    name = more.pop("name", None)
    return {**more, "function": {"arguments": arguments} | ({"name": name} if name else {})}


@pytest.mark.parametrize(
    "pieces",
    [
        # Ollama, Dynamo, gateways to Gemini: whole calls, all with the same index
        [call_piece("[1]", index=0, id="a", name="f"), call_piece("[2]", index=0, id="b", name="f")],
        # the same in pieces, as SGLang once did, with the id in each
        [
            call_piece("", index=0, id="a", name="f"),
            call_piece("[1]", index=0, id="a"),
            call_piece("", index=0, id="b", name="f"),
            call_piece("[2]", index=0, id="b"),
        ],
        # and as vLLM once did, with an empty id in the pieces that follow
        [
            call_piece("[", index=0, id="a", name="f"),
            call_piece("1]", index=0, id=""),
            call_piece("", index=0, id=""),
            call_piece("[", index=0, id="b", name="f"),
            call_piece("2]", index=0, id=""),
        ],
        # an index each, and the name again in every piece
        [
            call_piece("[", index=0, id="a", name="f"),
            call_piece("[", index=1, id="b", name="f"),
            call_piece("1]", index=0, id="a", name="f"),
            call_piece("2]", index=1, name="f"),
        ],
        # no index at all
        [call_piece("[1]", id="a", name="f"), call_piece("[2]", id="b", name="f")],
    ],
)
def test_parallel_tool_calls_stay_apart(pieces: list[dict[str, Any]]) -> None:
    """However a server numbers the calls of an answer, each keeps its own id and arguments."""
    one_by_one = whole(*(chat(tool_calls=[piece]) for piece in pieces), END + DONE)
    at_once = whole(chat(tool_calls=pieces), END + DONE)
    for answer in (one_by_one, at_once):
        calls = answer["choices"][0]["message"]["tool_calls"]
        assert [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in calls] == [
            ("a", "f", "[1]"),
            ("b", "f", "[2]"),
        ]


def test_a_call_without_a_name_of_its_own_is_the_one_before() -> None:
    """Another id in each piece makes no new calls; neither an index nor an id, but another name does."""
    renamed = whole(
        chat(tool_calls=[call_piece("[", index=0, id="a", name="f")]),
        chat(tool_calls=[call_piece("1]", index=0, id="a2")]),
        END + DONE,
    )
    named = [call_piece("", index=0, id="a", name="f"), call_piece("[", index=0, id="b", name="f")]
    again = whole(
        *(chat(tool_calls=[p]) for p in [*named, call_piece("1]", index=0, id="c", name="f")]), END + DONE
    )
    for answer in (renamed, again):
        (call,) = answer["choices"][0]["message"]["tool_calls"]
        assert call["function"] == {"name": "f", "arguments": "[1]"}
    nameless = whole(chat(tool_calls=[call_piece("[1]", name="f"), call_piece("[2]", name="g")]), END + DONE)
    calls = nameless["choices"][0]["message"]["tool_calls"]
    assert [c["function"]["arguments"] for c in calls] == ["[1]", "[2]"]


def test_audio_comes_in_pieces() -> None:
    """The base64 of an audio is joined like its transcript; the rest of it is kept."""
    body = whole(
        chat(role="assistant", content=None, audio={"id": "x", "data": "AAAA", "transcript": "Good "}),
        chat(audio={"data": "BBBB", "transcript": "day"}),
        chat(audio={"expires_at": 7}),
        END + DONE,
    )
    assert body["choices"][0]["message"]["audio"] == {
        "id": "x",
        "data": "AAAABBBB",
        "transcript": "Good day",
        "expires_at": 7,
    }


def test_a_content_of_parts_keeps_them_all() -> None:
    """Thinking and text as parts, in pieces, and a text that goes on after a part, are one list of parts."""
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, "}]}
    more = {"type": "thinking", "thinking": [{"type": "text", "text": "well."}], "closed": True}
    reference = {"type": "reference", "reference_ids": [1]}
    thinking = whole(
        chat(content=""), chat(content=[thought]), chat(content=[more]), chat(content="4"), END, DONE
    )
    assert thinking["choices"][0]["message"]["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm, well."}], "closed": True},
        {"type": "text", "text": "4"},
    ]
    cited = whole(
        chat(content="As "),
        chat(content="said"),
        chat(content=[reference, reference]),
        chat(content="."),
        END,
        DONE,
    )
    assert cited["choices"][0]["message"]["content"] == [
        {"type": "text", "text": "As said"},
        reference,
        reference,
        {"type": "text", "text": "."},
    ]


def test_what_was_said_so_far_is_not_said_again() -> None:
    """A chunk may hold, beside its piece, the whole message as it is by then: the pieces count."""
    chunks = []
    for piece, so_far in (("Hel", "Hel"), ("lo", "Hello")):
        choice = {"index": 0, "delta": {"content": piece}, "message": {"content": so_far}}
        chunks.append(event({"choices": [choice]}))
    (choice,) = whole(*chunks, END, DONE)["choices"]
    assert choice["message"] == {"role": "assistant", "content": "Hello"}


def test_an_error_in_a_field_of_that_name_is_one() -> None:
    """`error: {…}` instead of `data: {"error": …}` is not skipped: what came before is no answer."""
    error = {"code": 400, "message": "the request exceeds the available context size"}
    stream = read(chat(content="hi"), b"error: " + json.dumps(error).encode() + b"\n\n", DONE)
    assert (stream.fault, stream.status, json.loads(stream.body)) == (None, 400, {"error": error})


def test_an_event_of_null_is_none() -> None:
    """llama.cpp opens the answer to several prompts with `data: null`; the answer comes after it."""
    parts = [
        event({"choices": [{"index": n, "text": text, "finish_reason": "stop"}]})
        for n, text in enumerate("ab")
    ]
    body = whole(b"data: null\n\n", *parts, DONE, endpoint="/v1/completions")
    assert [choice["text"] for choice in body["choices"]] == ["a", "b"]


def test_an_answer_of_nothing_is_an_empty_text() -> None:
    """A content of null alone is "", as it is unstreamed; beside tool calls or reasoning it is null."""
    (choice,) = whole(chat(role="assistant", content=None), END, DONE)["choices"]
    assert choice["message"] == {"role": "assistant", "content": ""}
    (choice,) = whole(chat(content=None, reasoning_content="hm"), END, DONE)["choices"]
    assert choice["message"]["content"] is None


@pytest.mark.parametrize("role", [None, ""])
def test_a_role_that_no_chunk_names_is_the_assistants(role: str | None) -> None:
    """Lemonade sends null and GLM "" in every chunk; unstreamed the answer is the assistant's."""
    (choice,) = whole(chat(role=role, content="hi"), chat(role=role, content="!"), END, DONE)["choices"]
    assert choice["message"] == {"role": "assistant", "content": "hi!"}
