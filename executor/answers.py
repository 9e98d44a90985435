"""What an attempt means: done, final failure, try again, or pushed back (SPEC §4). Pure."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec

from executor.upstream import Answer, NoAnswer
from metering.clock import Clock
from metering.event import Usage
from metering.usage import usage_of

Kind = Literal["success", "failure", "retry", "pushback"]


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """The meaning of one attempt. Only `success` and `failure` are final by themselves."""

    kind: Kind
    status_code: int | None
    error_code: str | None = None
    message: str = ""
    body: bytes | None = None
    """What the result or error line holds as `response.body`: a JSON value on one line."""
    request_id: str | None = None
    usage: Usage | None = None
    thinking: bool = False
    finish_reason: str | None = None
    retry_after_seconds: float | None = None

    @property
    def doubtful(self) -> bool:
        """Whether it may be the upstream's fault and not the request's: a probe must tell."""
        if self.status_code in (401, 403):
            return True
        return self.kind == "retry" and self.error_code != "invalid_response"


UNKNOWN = Verdict("retry", None)
"""Of an attempt that has not ended."""

_ABSENT = msgspec.Raw(b"null")


class _Body(msgspec.Struct, gc=False):
    """The few members of an answer that are read; everything else is passed on as it is."""

    usage: Any = None
    choices: msgspec.Raw = _ABSENT
    status: Any = None
    error: Any = None
    code: Any = None


class _Message(msgspec.Struct):
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct):
    finish_reason: Any = None
    message: _Message | None = None


_decode_body = msgspec.json.Decoder(_Body).decode
_decode_choices = msgspec.json.Decoder(list[_Choice] | None).decode
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def judge(answer: Answer | NoAnswer, endpoint: str, clock: Clock) -> Verdict:
    """What this attempt means for its request; the clock is asked for a `Retry-After` that is a date."""
    if isinstance(answer, NoAnswer):
        kind: Kind = "failure" if answer.code == "response_too_large" else "retry"
        return Verdict(kind, None, answer.code, answer.message)
    if 200 <= answer.status < 300:
        return _success(answer, endpoint)
    if answer.status in (429, 503):
        return _failure("pushback", answer, _seconds(answer.retry_after, clock()))
    return _failure("retry" if answer.status == 408 or answer.status >= 500 else "failure", answer)


def _success(answer: Answer, endpoint: str) -> Verdict:
    try:
        answer.body.decode()
        body = _decode_body(answer.body)
    except _FAULTS as error:
        message = f"The upstream answered {answer.status} with a body that is not a JSON object: {error}."
        return Verdict("retry", answer.status, "invalid_response", message[:500])
    finish_reason, reasoned = _choices(body.choices)
    if finish_reason is None and isinstance(body.status, str):
        finish_reason = body.status
    usage, counted = usage_of(body.usage, endpoint)
    thinking = bool(usage and usage.reasoning_tokens) if counted else reasoned
    return Verdict(
        "success",
        answer.status,
        body=one_line(answer.body),
        request_id=answer.request_id,
        usage=usage,
        thinking=thinking,
        finish_reason=finish_reason and finish_reason[:64],
    )


def _choices(raw: msgspec.Raw) -> tuple[str | None, bool]:
    """The first choice's finish reason, and whether any choice shows its reasoning."""
    try:
        choices = _decode_choices(raw) or []
    except _FAULTS:
        return None, False
    reasons = [c.finish_reason for c in choices if isinstance(c.finish_reason, str)]
    reasoned = any(c.message and (c.message.reasoning_content or c.message.reasoning) for c in choices)
    return (reasons[0] if reasons else None), reasoned


def _failure(kind: Kind, answer: Answer, retry_after_seconds: float | None = None) -> Verdict:
    try:
        answer.body.decode()
        parsed = _decode_body(answer.body)
        body, code = one_line(answer.body), _error_code(parsed)
    except _FAULTS:
        body, code = msgspec.json.encode({"raw": answer.body[:4096].decode(errors="replace")}), None
    return Verdict(
        kind,
        answer.status,
        error_code=code,
        message=f"The upstream answered {answer.status}.",
        body=body,
        request_id=answer.request_id,
        retry_after_seconds=retry_after_seconds,
    )


def _error_code(body: _Body) -> str | None:
    error = body.error if isinstance(body.error, dict) else {}
    for value in (error.get("code"), error.get("type"), body.code):
        if isinstance(value, str) and value:
            return value[:100]
    return None


def one_line(body: bytes) -> bytes:
    """A JSON text without raw newlines; in valid JSON they stand only between tokens."""
    if b"\n" in body or b"\r" in body:
        return body.translate(_NEWLINES_TO_SPACES).strip()
    return body


_NEWLINES_TO_SPACES = bytes.maketrans(b"\r\n", b"  ")


def _seconds(header: str | None, now: datetime) -> float | None:
    """`Retry-After` in seconds from now; none if it is missing or makes no sense."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header.strip()[:9])
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
