"""Sums over the calls of one task, in constant memory, by tier and mode."""

from collections.abc import Callable
from hashlib import blake2b

from metering.audit.calls import Call

Group = tuple[str, str]
"""Tier and mode."""
FREE, UNMETERED, NOTHING = "free", "unmetered", "none"
"""The digest's tiers for what no price applies to."""
_SUMS = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_tokens")


class Tally:
    """What calls add up to. `tier_of` names the tier of a request by its input tokens."""

    def __init__(self, tier_of: Callable[[int], str]) -> None:
        self._tier_of = tier_of
        self.succeeded = self.failed = self.unmetered = 0
        self.groups: dict[Group, tuple[int, int, int]] = {}
        """Requests, input tokens and output tokens."""
        self.tokens = dict.fromkeys(_SUMS, 0)
        """Sums of metered calls by column."""
        self.marks = {"succeeded": 0, "failed": 0}
        """A sum of hashes by outcome: equal for the same calls in any order, and hardly for any others."""

    def add(self, call: Call) -> None:
        """Counts one call."""
        mark = int.from_bytes(blake2b(repr(tuple(call)).encode(), digest_size=16).digest())
        if call.outcome != "succeeded":
            self.failed += 1
            self.marks["failed"] += mark
            return
        self.succeeded += 1
        self.marks["succeeded"] += mark
        if not call.metered:
            self.unmetered += 1
            return
        given, made = call.input_tokens or 0, call.output_tokens or 0
        for name in _SUMS:
            self.tokens[name] += getattr(call, name) or 0
        group = (self._tier_of(given), "thinking" if call.thinking else "standard")
        requests, inputs, outputs = self.groups.get(group, (0, 0, 0))
        self.groups[group] = (requests + 1, inputs + given, outputs + made)

    def digest(self) -> dict[Group, tuple[int, int, int]]:
        """What the task's digest must say: what was not metered has a row too."""
        rows = dict(self.groups)
        if self.unmetered:
            rows[UNMETERED, "standard"] = (self.unmetered, 0, 0)
        return rows or {(NOTHING, "standard"): (0, 0, 0)}
