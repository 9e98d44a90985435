"""What a model of the demo answers to a request, and how long that takes: the same each time. Pure."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from nightrate.demo.faults import Fault, fault_of
from nightrate.demo.models import DemoModel

_PHRASES = (
    "The request was read as a whole.",
    "Label: billing question, priority normal.",
    "The customer asks for a copy of the invoice.",
    "Sentiment: neutral to friendly.",
    "Two dates and one amount are named.",
    "No personal data was found in the text.",
    "The summary leaves out greetings and signatures.",
    "Category: delivery, sub-category: delay.",
    "The answer follows the style guide.",
    "Nothing contradicts the earlier document.",
)
_USUAL_TOKENS = 60
_WORDS_PER_TOKEN = 0.75
_CACHED_UNIT = 64
_SLOW_PART = 0.01
"""So many answers take three times as long."""
_SLOW_SECONDS = (15, 35)
_REFUSALS: dict[Fault, tuple[int, str, str]] = {
    "filtered": (400, "content_filter", "The input was refused by the content filter."),
    "too_long": (400, "context_length_exceeded", "The input is longer than the model's context."),
    "busy_once": (429, "rate_limit_exceeded", "Too many requests; try again."),
    "breaks_once": (500, "internal_error", "The model failed inside."),
    "breaks": (500, "internal_error", "The model failed inside."),
}


@dataclass(frozen=True, slots=True)
class Reply:
    """How a request is answered."""

    status: int
    body: dict[str, Any]
    first_token_seconds: float
    seconds: float
    """Until the last byte; infinite for an answer that never comes."""
    garbled: bool = False


def reply_to(model: DemoModel, body: Mapping[str, Any], asked_before: bool) -> Reply:
    """The reply to a decoded body; some faults show only when a request is sent for the first time."""
    fault = fault_of(body.get("seed"))
    if fault in _REFUSALS and not (asked_before and fault.endswith("_once")):
        status, code, message = _REFUSALS[fault]
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        return Reply(status, {"error": error}, 0, 0.02)
    random = Random(zlib.crc32(repr(sorted(body.items())).encode()))  # noqa: S311  (no secret depends on it)
    if model.endpoint == "/v1/embeddings":
        return _embedding(model, random)
    return _completion(model, body, random, fault)


def _embedding(model: DemoModel, random: Random) -> Reply:
    tokens = _spread(random, model.input_tokens)
    vector = [round(random.gauss(0, 0.1), 4) for _ in range(8)]
    data = [{"object": "embedding", "index": 0, "embedding": vector}]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    seconds = model.first_token_ms * _slowness(random) / 1000
    return Reply(200, {"object": "list", "model": model.name, "data": data, "usage": usage}, seconds, seconds)


def _completion(model: DemoModel, body: Mapping[str, Any], random: Random, fault: Fault) -> Reply:
    wanted = body.get("max_tokens")
    most = wanted if isinstance(wanted, int) and wanted > 0 else 2 * _USUAL_TOKENS
    said = max(1, min(most, round(most * random.uniform(0.25, 1.1))))
    thought = round(said * random.uniform(0.4, 1.2)) if model.reasons and random.random() < 0.8 else 0
    usage = _usage(model, random, said + thought, thought)
    reason = "content_filter" if fault == "stopped" else "length" if said == most else "stop"
    message: dict[str, Any] = {"role": "assistant", "content": _text(random, said)}
    if thought:
        message["reasoning_content"] = _text(random, min(thought, 20))
    answer = {
        "id": f"chatcmpl-{random.getrandbits(64):016x}",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": model.name,
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": None if fault == "uncounted" else usage,
    }
    slowness = _slowness(random)
    first = model.first_token_ms * slowness / 1000
    whole = first + (said + thought) * model.token_ms * slowness / 1000
    if fault == "slow":
        whole += random.uniform(*_SLOW_SECONDS)
    return Reply(200, answer, first, float("inf") if fault == "hangs" else whole, fault == "garbled")


def _usage(model: DemoModel, random: Random, made: int, thought: int) -> dict[str, Any]:
    given = _spread(random, model.input_tokens)
    cached = round(given * random.uniform(0.2, 0.8)) // _CACHED_UNIT * _CACHED_UNIT
    usage: dict[str, Any] = {"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made}
    usage["prompt_tokens_details"] = {"cached_tokens": cached if random.random() < 0.7 else 0}
    if model.reasons:
        usage["completion_tokens_details"] = {"reasoning_tokens": thought}
    return usage


def _spread(random: Random, usual: int) -> int:
    """Most are near what is usual, a few are far above it."""
    return max(8, round(usual * random.lognormvariate(-0.15, 0.6)))


def _slowness(random: Random) -> float:
    return random.lognormvariate(0, 0.18) * (3 if random.random() < _SLOW_PART else 1)


def _text(random: Random, tokens: int) -> str:
    words: list[str] = []
    while len(words) < tokens * _WORDS_PER_TOKEN:
        words += random.choice(_PHRASES).split()
    return " ".join(words[: max(1, round(tokens * _WORDS_PER_TOKEN))])


def events_of(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """An answer as it is streamed: the first of its words, the rest, its end with the usage."""
    (choice,) = answer["choices"]
    base = {**answer, "object": "chat.completion.chunk", "usage": None}

    def chunk(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        return {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}

    message = choice["message"]
    if thought := message.get("reasoning_content"):
        yield chunk({"role": "assistant", "content": "", "reasoning_content": thought})
    first, _, rest = message["content"].partition(" ")
    yield chunk({"role": "assistant", "content": first})
    yield chunk({"content": f" {rest}"} if rest else {}, choice["finish_reason"])
    yield {**base, "choices": [], "usage": answer["usage"]}
