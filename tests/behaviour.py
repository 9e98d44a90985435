"""What the scripted upstream does with a request, written into the prompt as `@name` or `@name=value`.

"Say hello @status=500 @times=2" answers 500 twice and then as usual. The words:

@status=N        that status with an OpenAI-shaped error; @retry_after=S adds the header, @says the prompt
@times=N         misbehave for the first N asks of this prompt only
@latency=S       wait before the answer, in seconds (kept after @times too)
@hang            never answer                     @reset    close without an answer (RST)
@cut             half of the announced body       @html     2xx with a page
@broken          2xx with half a JSON object      @list     2xx with JSON that is no object
@empty           2xx with no body                 @endless  a body that never ends
@huge=N          a valid answer of N bytes        @quiet    headers at once, then nothing
@whole           ignore that a stream was asked for
@pace=S          seconds between the events of a stream
@fails=N         a stream that breaks off with an error of the code N
@in=N @out=N @cached=N @reasoning=N   token counts; @thinking adds reasoning_content without a count
@usage=KIND      none, null, negative, absurd, fraction, text, parts (a part above its whole)
"""

import re
from dataclasses import dataclass, fields
from typing import Any

KINDS = (
    "hang",
    "reset",
    "cut",
    "html",
    "broken",
    "list",
    "empty",
    "endless",
    "huge",
    "quiet",
    "whole",
    "fails",
)
WORD = re.compile(r"@([a-z_]+)(?:=(\S+))?")


@dataclass(frozen=True)
class Behaviour:
    """How one request is answered. The default is a good answer at once."""

    kind: str = "ok"
    status: int = 200
    retry_after: str | None = None
    times: int | None = None
    latency: float = 0.0
    pace: float = 0.0
    size: int = 0
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    thinking: bool = False
    says: bool = False
    """The prompt is the error's message and code."""
    usage: str = "ok"
    answer: str | None = None

    @property
    def good(self) -> bool:
        """Whether the answer is a success."""
        return self.kind in ("ok", "huge", "whole") and 200 <= self.status < 300


OK = Behaviour()
NUMBERS = {
    "in": "input_tokens",
    "out": "output_tokens",
    "cached": "cached_tokens",
    "reasoning": "reasoning_tokens",
    "status": "status",
    "times": "times",
}


def behaviour_of(prompt: str) -> Behaviour:
    """Reads the words in a prompt."""
    if "@" not in prompt:
        return OK
    said: dict[str, Any] = {}
    for name, value in WORD.findall(prompt):
        said.update(_word(name, value))
    return Behaviour(**said)


def _word(name: str, value: str) -> dict[str, Any]:
    if name in KINDS:
        return {"kind": name, "size": int(value or 0)}
    if name in NUMBERS:
        return {NUMBERS[name]: int(value)}
    if name in ("thinking", "says"):
        return {name: True}
    if name in ("latency", "pace"):
        return {name: float(value)}
    if name in {field.name for field in fields(Behaviour)}:
        return {name: value}
    return {}


def tokens_of(text: str) -> int:
    """The scripted upstream's tokenizer: words, at least one."""
    return max(1, len(text.split()))


def answer_to(prompt: str) -> str:
    """What it says to a prompt."""
    return f"echo: {prompt}"


def expected_usage(prompt: str) -> tuple[int, int]:
    """Input and output tokens of the good answer to a prompt."""
    how = behaviour_of(prompt)
    given = (how.input_tokens, how.output_tokens)
    counted = (tokens_of(prompt), tokens_of(how.answer or answer_to(prompt)))
    return (
        counted[0] if given[0] is None else given[0],
        counted[1] if given[1] is None else given[1],
    )


def usage_of(prompt: str, how: Behaviour, endpoint: str) -> dict[str, Any] | None:
    """The `usage` member in the shape of the endpoint; None leaves it out."""
    words = tokens_of(prompt)
    taken = words if how.input_tokens is None else how.input_tokens
    given = tokens_of(how.answer or answer_to(prompt)) if how.output_tokens is None else how.output_tokens
    odd = {
        "negative": (-taken, given),
        "absurd": (10**15, given),
        "fraction": (taken + 0.5, given),
        "text": (str(taken), given),
    }
    if how.usage == "none":
        return None
    first, second = odd.get(how.usage, (taken, given))
    return _shape(first, second, how, endpoint)


def _shape(first: Any, second: Any, how: Behaviour, endpoint: str) -> dict[str, Any]:
    total = first + second if isinstance(first, int) else second
    if endpoint.endswith("/embeddings"):
        return {"prompt_tokens": first, "total_tokens": first}
    names = ("input", "output") if endpoint.endswith("/responses") else ("prompt", "completion")
    usage = {f"{names[0]}_tokens": first, f"{names[1]}_tokens": second, "total_tokens": total}
    cached = 10**6 if how.usage == "parts" else how.cached_tokens
    if cached is not None:
        usage[f"{names[0]}_tokens_details"] = {"cached_tokens": cached}
    if how.reasoning_tokens is not None:
        usage[f"{names[1]}_tokens_details"] = {"reasoning_tokens": how.reasoning_tokens}
    return usage


def body_of(prompt: str, model: str, endpoint: str, how: Behaviour, identity: str) -> dict[str, Any]:
    """A good answer of the endpoint to the prompt."""
    text = how.answer or answer_to(prompt)
    if how.kind == "huge":
        text = "x" * how.size
    body: dict[str, Any] = {"id": identity, "created": 1700000000, "model": model}
    body.update(_content(text, endpoint, how))
    usage = usage_of(prompt, how, endpoint)
    if usage is not None:
        body["usage"] = None if how.usage == "null" else usage
    return body


def _content(text: str, endpoint: str, how: Behaviour) -> dict[str, Any]:
    if endpoint.endswith("/embeddings"):
        return {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]}
    if endpoint.endswith("/responses"):
        said = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}
        return {"object": "response", "status": "completed", "output": [said]}
    if endpoint.endswith("/chat/completions"):
        message = {"role": "assistant", "content": text}
        if how.thinking:
            message["reasoning_content"] = "Let me think."
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"object": "chat.completion", "choices": [choice]}
    return {"object": "text_completion", "choices": [{"index": 0, "text": text, "finish_reason": "stop"}]}
