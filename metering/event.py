"""The event: the record of one call, and the one value that crosses from executor to metering."""

from datetime import datetime
from typing import Literal

import msgspec

Outcome = Literal["succeeded", "failed"]

MAX_TOKENS = 1_000_000_000
"""A count above it is not believed (SPEC §5.2)."""


class Usage(msgspec.Struct, frozen=True, gc=False):
    """What an answer says it consumed. Parts are contained in their wholes: cached in input, reasoning in output."""

    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0


class Event(msgspec.Struct, frozen=True, gc=False):
    """One row of `request_events`; its key is (`task_id`, `line_no`), nothing that an upstream sent."""

    task_id: str
    line_no: int
    """Physical line of the input file, from 1."""
    custom_id: str
    workspace_id: str
    api_key_id: str | None
    model: str
    endpoint: str
    outcome: Outcome
    status_code: int | None
    """HTTP status of the deciding attempt; none if it brought no answer."""
    error_code: str | None
    finish_reason: str | None
    unmetered: bool
    """Succeeded, but without usable usage: charged zero (SPEC §4, Success)."""
    attempts: int
    rate_limited_attempts: int
    """Attempts that were answered 429."""
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    thinking: bool
    started_at: datetime
    """Start of the first attempt."""
    first_token_at: datetime | None
    finished_at: datetime
    duration_ms: float
    """Of the deciding attempt, by a monotonic clock."""
    first_token_ms: float | None
    total_ms: float
    """From the start of the first attempt."""
    upstream: str | None
    """The upstream's URL without user info; none for the built-in test model."""
