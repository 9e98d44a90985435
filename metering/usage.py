"""What an answer says it consumed, in every shape of the endpoints we serve (SPEC §5.2). Pure.

A count that can't be believed makes the whole answer unmetered: visible, and never a silent zero.
"""

from collections.abc import Mapping
from typing import Any

from metering.event import MAX_TOKENS, Usage


class _Unusable(Exception):
    """A count is missing, no integer, negative, absurd, or a part above its whole."""


def usage_of(raw: Any, endpoint: str) -> tuple[Usage | None, bool]:
    """The usage of an answer's `usage` member, and whether it names its reasoning tokens.

    None if it is missing or can't be believed. Chat and completions speak of `prompt_tokens` and
    `completion_tokens`, responses of `input_tokens` and `output_tokens`; embeddings have no output.
    """
    if not isinstance(raw, dict):
        return None, False
    responses_shape = "input_tokens" in raw
    whole = ("input_tokens", "output_tokens") if responses_shape else ("prompt_tokens", "completion_tokens")
    try:
        given = _count(raw, whole[0])
        made = _count(raw, whole[1], default=0 if endpoint == "/v1/embeddings" else None)
        cached = _part(raw, f"{whole[0]}_details", "cached_tokens", given)
        reasoning = _part(raw, f"{whole[1]}_details", "reasoning_tokens", made)
    except _Unusable:
        return None, False
    return Usage(given, made, cached or 0, reasoning or 0), reasoning is not None


def _count(raw: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = raw.get(name, default)
    if type(value) is not int or not 0 <= value <= MAX_TOKENS:  # a bool is no count
        raise _Unusable(name)
    return value


def _part(raw: Mapping[str, Any], details: str, name: str, whole: int) -> int | None:
    part = raw.get(details)
    if part is None:
        return None
    if not isinstance(part, dict):
        raise _Unusable(details)
    if part.get(name) is None:
        return None
    count = _count(part, name)
    if count > whole:
        raise _Unusable(name)
    return count
