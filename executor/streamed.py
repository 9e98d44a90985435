"""A streamed answer: bytes in, and the whole answer, its failure, or why there is none out (SPEC §4). Pure."""

from typing import Any

import msgspec

from executor.assembled import Assembly, BadChunk
from executor.sse import EventParser

__all__ = ["STREAMED_ENDPOINTS", "Streamed", "is_event_stream"]

STREAMED_ENDPOINTS = ("/v1/chat/completions", "/v1/completions")
"""Embeddings have no stream, and responses one of another shape, which is not asked for."""

_NOTHING = (b"", b"null")
"""Data of an event that only keeps the connection alive; llama.cpp begins the answer to several prompts with null."""
_FAULTS = (msgspec.MsgspecError, UnicodeError, RecursionError, BadChunk)
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_STATUS_OF_NAME = {
    "badrequesterror": 400,
    "invalid_request_error": 400,
    "context_length_exceeded": 400,
    "content_filter": 400,
    "content_policy_violation": 400,
    "data_inspection_failed": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "ratelimiterror": 429,
    "insufficient_quota": 429,
    "overloaded_error": 503,
}


def is_event_stream(content_type: str) -> bool:
    """Whether an answer streams; an upstream may ignore that it was asked to."""
    return content_type.split(";")[0].strip().lower() == "text/event-stream"


class Streamed:
    """One streamed answer of a chat or completions endpoint while it arrives.

    It is complete once `[DONE]` came, or at its end if every choice has finished and the usage is there.
    """

    def __init__(self, endpoint: str, limit: int) -> None:
        self.over = False
        """Nothing that still comes could change the answer."""
        self.status: int | None = None
        """The HTTP status that an error inside the stream stands for; none without one."""
        self.fault: tuple[str, str] | None = None
        """Code and message, if there is no usable answer."""
        self.body = b""
        """The whole answer, once closed without a fault."""
        self._chat = endpoint == "/v1/chat/completions"
        self._limit = limit
        self._parser = EventParser()
        self._assembly = Assembly()

    @property
    def has_token(self) -> bool:
        """Whether the first token is there."""
        return self._assembly.has_token

    def feed(self, received: bytes) -> None:
        """Takes bytes as they come."""
        self._take(self._parser.feed(received))
        if not self.over and self._parser.pending + self._assembly.held > self._limit:
            self._too_large()

    def close(self) -> None:
        """The stream has ended: sets `body` or `fault`."""
        if not self.over:
            self._take(self._parser.close())
        if not self.over and not self._assembly.finished:
            self._fail("connection_error", "The stream ended before the answer was complete.")
        elif self.fault is None and self.status is None:
            self._finish()

    def _finish(self) -> None:
        if self._assembly.empty:
            self._fail("connection_error", "The stream held no choice.")
            return
        try:
            self.body = msgspec.json.encode(self._assembly.whole(self._chat))
        except RecursionError:
            self._fail("connection_error", "The stream holds a chunk that is nested too deeply.")
        if len(self.body) > self._limit:
            self._too_large()

    def _take(self, events: list[bytes]) -> None:
        for data in events:
            if self.over:
                return
            if data.strip() == b"[DONE]":
                self.over = True
            elif data.strip() not in _NOTHING:
                self._chunk(data)

    def _chunk(self, data: bytes) -> None:
        try:
            chunk = _decode(data)
            if chunk.get("error") or chunk.get("object") == "error":
                self.status, self.body, self.over = _status_of(chunk), data, True
            else:
                self._assembly.add(chunk, len(data))
        except _FAULTS as error:
            self._fail("connection_error", f"The stream holds a broken chunk: {error}."[:500])

    def _too_large(self) -> None:
        self._fail("response_too_large", f"The answer is larger than {self._limit} bytes.")

    def _fail(self, code: str, message: str) -> None:
        self.fault, self.over = (code, message), True


def _status_of(chunk: dict[str, Any]) -> int:
    """What the error would have been sent with, had it been known before the stream began; else 500."""
    error = chunk.get("error")
    said = [chunk.get("code"), chunk.get("type")]
    if isinstance(error, dict):
        said = [error.get(name) for name in ("code", "status", "status_code", "http_status", "type")] + said
    for value in said:
        number = int(value) if isinstance(value, str) and value.isdecimal() and len(value) == 3 else value
        if type(number) is int and 400 <= number < 600:
            return number
        if isinstance(value, str) and value.lower() in _STATUS_OF_NAME:
            return _STATUS_OF_NAME[value.lower()]
    return 500
