"""What one line of a file, or one event, says of a request. Reads usage by its own rules. Pure."""

from typing import Any, NamedTuple

import msgspec

_HIGHEST_COUNT = 10**9
_EMBEDDINGS = "/v1/embeddings"


class Call(NamedTuple):
    """A request with its final answer, as the audit compares it."""

    line_no: int
    """Physical line of the input file."""
    custom_id: str
    outcome: str
    """`succeeded` or `failed`."""
    status_code: int | None
    """Of succeeded calls only."""
    metered: bool
    thinking: bool
    """Of metered calls only."""
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None


class LineFault(NamedTuple):
    """A line that is not what the service writes."""

    column: str
    expected: str | None
    found: str | None


_NOTHING = msgspec.Raw(b"null")


class _Message(msgspec.Struct):
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    message: _Message | None = None


class _Body(msgspec.Struct):
    usage: Any = None
    choices: msgspec.Raw = _NOTHING


class _Response(msgspec.Struct):
    status_code: Any = None
    body: msgspec.Raw = _NOTHING


class _Error(msgspec.Struct):
    code: Any = None


class _Line(msgspec.Struct):
    id: str
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


_line = msgspec.json.Decoder(_Line).decode
_body = msgspec.json.Decoder(_Body).decode
_choices = msgspec.json.Decoder(list[_Choice] | None).decode
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class LineReader:
    """Reads the lines of one task's files."""

    def __init__(self, task_id: str, endpoint: str, status: str) -> None:
        self._prefix = f"batch_req_{task_id.removeprefix('batch_')}_"
        self._endpoint = endpoint
        self._closing_code = f"batch_{status}"

    def result(self, raw: bytes) -> Call | LineFault:
        """The call of a line of the result file."""
        line = self._decoded(raw)
        if isinstance(line, LineFault):
            return line
        number = self._number(line.id)
        response = line.response
        if number is None:
            return self._foreign(line.id)
        if response is None or bytes(response.body) == b"null":
            return LineFault("response", "an answer", None)
        try:
            body = _body(response.body)
        except _UNREADABLE as error:
            return LineFault("response.body", "a JSON object", _short(str(error)))
        status = response.status_code if isinstance(response.status_code, int) else None
        counts = _counts(body.usage, self._endpoint)
        if counts is None:
            return Call(number, line.custom_id, "succeeded", status, False, False, *(None,) * 4)
        given, cached, made, reasoning = counts
        thinking = _shows_reasoning(body.choices) if reasoning is None else reasoning > 0
        return Call(
            number,
            line.custom_id,
            "succeeded",
            status,
            True,
            thinking,
            given,
            cached,
            made,
            reasoning or 0,
        )

    def error(self, raw: bytes) -> Call | LineFault | None:
        """The call of a line of the error file; None for a request that was never executed."""
        line = self._decoded(raw)
        if isinstance(line, LineFault):
            return line
        number = self._number(line.id)
        if number is None:
            return self._foreign(line.id)
        code = line.error.code if line.error is not None else None
        if line.response is None and code == self._closing_code:
            return None
        return Call(number, line.custom_id, "failed", None, False, False, *(None,) * 4)

    def _decoded(self, raw: bytes) -> _Line | LineFault:
        if not raw.endswith(b"\n"):
            return LineFault("line", "a whole line", f"{len(raw)} bytes without an end of line")
        try:
            return _line(raw)
        except _UNREADABLE as error:
            return LineFault("line", "a JSON object with id, custom_id and response", _short(str(error)))

    def _number(self, identity: str) -> int | None:
        digits = identity.removeprefix(self._prefix)
        if not identity.startswith(self._prefix) or not (digits.isascii() and digits.isdigit()):
            return None
        return int(digits[:18])

    def _foreign(self, identity: str) -> LineFault:
        return LineFault("id", f"{self._prefix}…", _short(identity))


def _counts(usage: Any, endpoint: str) -> tuple[int, int, int, int | None] | None:
    """Input, cached, output, reasoning (None if not named) of an answer; None if they can't be believed."""
    if not isinstance(usage, dict):
        return None
    given_name, made_name = "prompt_tokens", "completion_tokens"
    if "input_tokens" in usage:
        given_name, made_name = "input_tokens", "output_tokens"
    given, made = usage.get(given_name), usage.get(made_name)
    if endpoint == _EMBEDDINGS and made_name not in usage:
        made = 0
    cached, cached_is_good = _detail(usage.get(f"{given_name}_details"), "cached_tokens", given)
    reasoning, reasoning_is_good = _detail(usage.get(f"{made_name}_details"), "reasoning_tokens", made)
    if not (_is_count(given) and _is_count(made) and cached_is_good and reasoning_is_good):
        return None
    return given, cached or 0, made, reasoning  # type: ignore[return-value]


def _detail(details: Any, name: str, whole: Any) -> tuple[int | None, bool]:
    """A part's count, None if it is not named, and whether it can be believed."""
    if details is None:
        return None, True
    if not isinstance(details, dict):
        return None, False
    part = details.get(name)
    if part is None:
        return None, True
    return part, _is_count(part) and _is_count(whole) and part <= whole


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _HIGHEST_COUNT


def _shows_reasoning(raw: msgspec.Raw) -> bool:
    """Whether any choice has a text of its reasoning; choices that nobody can read show none."""
    try:
        messages = [choice.message for choice in _choices(raw) or []]
    except _UNREADABLE:
        return False
    return any(bool(one and (one.reasoning_content or one.reasoning)) for one in messages)


def _short(text: str) -> str:
    return text if len(text) <= 120 else text[:119] + "…"
