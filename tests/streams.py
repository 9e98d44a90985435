"""The streamed form of an unstreamed answer, as an OpenAI-compatible server sends it."""

import json
from collections.abc import Iterator
from typing import Any


def server_sent(body: dict[str, Any], asked: dict[str, Any]) -> list[bytes]:
    """The events of an answer, `[DONE]` included; usage only if it was asked for."""
    with_usage = bool((asked.get("stream_options") or {}).get("include_usage"))
    return [event(chunk) for chunk in chunks_of(body, with_usage=with_usage)] + [b"data: [DONE]\n\n"]


def event(chunk: Any) -> bytes:
    """One event."""
    return b"data: " + json.dumps(chunk, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def chunks_of(body: dict[str, Any], *, with_usage: bool = True) -> Iterator[dict[str, Any]]:
    """Role first, then the words of every choice in turn, its end, and the usage at last."""
    base = {name: value for name, value in body.items() if name not in ("choices", "usage")}
    if base.get("object") == "chat.completion":
        base["object"] = "chat.completion.chunk"
    streams = [list(_choice(choice)) for choice in body["choices"]]
    for step in range(max(map(len, streams), default=0)):
        for stream in streams:
            if step < len(stream):
                yield {**base, "choices": [stream[step]], "usage": None}
    if with_usage and "usage" in body:
        yield {**base, "choices": [], "usage": body["usage"]}


def _choice(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    index = choice["index"]
    log = choice.get("logprobs")
    pieces = list(_message(choice["message"])) if "message" in choice else list(_text(choice["text"]))
    for number, piece in enumerate(pieces):
        part = {"index": index, **piece, "finish_reason": None}
        if "logprobs" in choice:
            part["logprobs"] = _share(log, number, len(pieces))
        yield part
    more = {k: v for k, v in choice.items() if k not in ("message", "text", "logprobs", "index")}
    last = {"delta": {}} if "message" in choice else {"text": ""}
    yield {"index": index, **last, **more}


def _message(message: dict[str, Any]) -> Iterator[dict[str, Any]]:
    said = {"role": message["role"], "content": message["content"] and ""}
    texts = ("reasoning_content", "reasoning", "content", "refusal")
    rest = {k: v for k, v in message.items() if k not in (*texts, "role", "tool_calls", "function_call")}
    yield {"delta": said | rest}
    for name in texts:
        if name in message and message[name] is None:
            yield {"delta": {name: None}}
        for piece in _words(message.get(name) or ""):
            yield {"delta": {name: piece}}
    for number, call in enumerate(message.get("tool_calls", ())):
        yield from ({"delta": {"tool_calls": [{"index": number, **part}]}} for part in _call(call))
    if "function_call" in message:
        yield from ({"delta": {"function_call": part}} for part in _function(message["function_call"]))


def _call(call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    first, *rest = _function(call["function"])
    yield {"id": call["id"], "type": call["type"], "function": first}
    yield from ({"function": part} for part in rest)


def _function(function: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"name": function["name"], "arguments": ""}
    yield from ({"arguments": piece} for piece in _words(function["arguments"]))


def _text(text: str) -> Iterator[dict[str, Any]]:
    yield from ({"text": piece} for piece in _words(text) or [""])


def _words(text: str) -> list[str]:
    """Pieces of three characters, like tokens."""
    return [text[at : at + 3] for at in range(0, len(text), 3)]


def _share(logprobs: dict[str, Any] | None, number: int, of: int) -> dict[str, Any] | None:
    """The part of each list that belongs to one of so many pieces."""
    if logprobs is None:
        return None
    return {
        name: values and values[len(values) * number // of : len(values) * (number + 1) // of]
        for name, values in logprobs.items()
    }
