"""What an attempt means: done, final failure, try again, or pushed back (SPEC §4). Pure."""

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import msgspec

from executor.upstream import Answer, NoAnswer
from metering.clock import Clock
from metering.event import Usage
from metering.usage import usage_of

Kind = Literal["success", "failure", "retry", "pushback"]


class Verdict(msgspec.Struct, frozen=True, gc=False, array_like=True):
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
    def code(self) -> str:
        """The HTTP status, or what was wrong instead of an answer."""
        return str(self.status_code) if self.status_code is not None else self.error_code or ""

    @property
    def doubtful(self) -> bool:
        """Whether it may be the upstream's fault and not the request's: a probe must tell."""
        if self.status_code in (401, 403):
            return True
        return self.kind == "retry" and self.error_code != "invalid_response"


class Judged(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="judged"):
    """An attempt's meaning, found where it was made."""

    verdict: Verdict
    first_token_seconds: float | None = None
    """From the start of the attempt, if the answer was streamed."""


class Lost(msgspec.Struct, frozen=True, gc=False, array_like=True, tag="lost"):
    """Whoever made an attempt is gone: nobody will ever know what came of it, and no upstream is to blame."""

    fault: str | None = None
    """The error inside of our own code that lost it, if it was that."""


UNKNOWN = Verdict("retry", None)
"""Of an attempt that has not ended."""

_ABSENT = msgspec.Raw(b"null")


class _Message(msgspec.Struct, gc=False):
    reasoning_content: Any = None
    reasoning: Any = None


class _Choice(msgspec.Struct, gc=False):
    finish_reason: Any = None
    message: _Message | None = None


class _Usual(msgspec.Struct, gc=False):
    """The few members of an answer that are read, in the shape that nearly every answer has."""

    usage: Any = None
    choices: list[_Choice] | None = None
    status: Any = None


class _Body(msgspec.Struct, gc=False):
    """The same of any JSON object; everything else is passed on as it is."""

    usage: Any = None
    choices: msgspec.Raw = _ABSENT
    status: Any = None
    error: Any = None
    code: Any = None


_decode_usual = msgspec.json.Decoder(_Usual).decode
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
        body = _read(answer.body)
    except _FAULTS as error:
        return Verdict("retry", answer.status, "invalid_response", _no_object(answer, error))
    finish_reason, thinking = _choices(body.choices or ())
    if finish_reason is None and isinstance(body.status, str):
        finish_reason = body.status
    usage, counted = usage_of(body.usage, endpoint)
    if counted:
        thinking = usage is not None and usage.reasoning_tokens > 0
    # by position, which takes a seventh of the time that names do
    return Verdict(
        "success", answer.status, None, "", one_line(answer.body), answer.request_id, usage, thinking,
        finish_reason and finish_reason[:64],
    )  # fmt: skip


def _no_object(answer: Answer, error: Exception) -> str:
    """What is wrong with a body that should be a JSON object, and with what it begins, as far as it is text."""
    if answer.content_encoding not in (None, "", "identity"):
        encoding = answer.content_encoding
        what = (
            f"it is compressed ({encoding}), though it was asked for plain: switch that off at the upstream"
        )
    elif not answer.body.strip():
        what = "it is empty"
    else:
        what = f"{error}; it begins with {answer.body[:100].decode(errors='replace')!r}"
    return f"The upstream answered {answer.status} with a body that is not a JSON object: {what}."[:500]


def _read(body: bytes) -> _Usual:
    """The members that are read; choices of another shape are none."""
    try:
        return _decode_usual(body)
    except msgspec.ValidationError:
        found = _decode_body(body)
    try:
        choices = _decode_choices(found.choices)
    except _FAULTS:
        choices = None
    return _Usual(found.usage, choices, found.status)


def _choices(choices: Iterable[_Choice]) -> tuple[str | None, bool]:
    """The first finish reason, and whether any choice shows its reasoning."""
    reason, reasoned = None, False
    for choice in choices:
        if reason is None and isinstance(choice.finish_reason, str):
            reason = choice.finish_reason
        message = choice.message
        if message is not None and (message.reasoning_content or message.reasoning):
            reasoned = True
    return reason, reasoned


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
