"""Requests and tokens per minute that a model's upstreams allow together. Pure.

Requests are paced: they go out evenly, so that no minute, wherever it begins, sees more than its number.
What a request costs in tokens is known only when it is answered. Until then it is taken for as many as
answers took lately, and before the first answer by its length; the difference is settled afterwards, and while more was used than has come in
meanwhile, nothing starts.
"""

FIRST_GUESS, BYTES_PER_TOKEN = 1000.0, 4
"""Tokens of a request before the first answer, or as many as its body's length makes likely if that is more."""
_MEMORY = 32


class Bucket:
    """What a minute allows, coming in evenly. It may be overdrawn, and is open while it isn't empty."""

    def __init__(self, per_minute: float, most: float, least: float) -> None:
        self._most = most
        self._least = least
        """So much must be in it to be open."""
        # what it holds at the beginning of a minute and what comes in meanwhile are a minute's number
        self._per_second = (per_minute - most + least) / 60
        self._held = most
        self._at: float | None = None

    def take(self, now: float, amount: float) -> None:
        """Takes something out; a negative amount is put back."""
        self._fill(now)
        self._held = min(self._most, self._held - amount)

    def opens_at(self, now: float) -> float:
        """The monotonic moment at which something may be taken; `now` if that is now. Changes nothing."""
        return now + max(0.0, self._least - self._holds(now) - 1e-9) / self._per_second

    def _holds(self, now: float) -> float:
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        return min(self._most, self._held + passed * self._per_second)

    def _fill(self, now: float) -> None:
        self._held = self._holds(now)
        self._at = now if self._at is None else max(now, self._at)


class Quota:
    """What one model's upstreams may be asked for in a minute. Moments are of one monotonic clock."""

    def __init__(self, requests_per_minute: int | None, tokens_per_minute: int | None) -> None:
        self._requests = self._tokens = None
        if requests_per_minute is not None:
            self._requests = Bucket(requests_per_minute, max(1.0, requests_per_minute / 600), 1.0)
        if tokens_per_minute is not None:
            self._tokens = Bucket(tokens_per_minute, max(1.0, tokens_per_minute / 60), 1.0)
        self._guess = FIRST_GUESS
        self._answers = 0
        self._under_way = 0
        self._reserved = 0.0

    def opens_at(self, now: float) -> float:
        """The moment at which the next request may start; `now` if that is now."""
        buckets = (self._requests, self._tokens)
        return max((bucket.opens_at(now) for bucket in buckets if bucket is not None), default=now)

    def started(self, now: float, size: int = 0) -> None:
        """A request with a body of so many bytes goes out."""
        if self._requests is not None:
            self._requests.take(now, 1)
        if self._tokens is not None:
            guess = self._guess if self._answers else max(self._guess, size / BYTES_PER_TOKEN)
            self._under_way += 1
            self._reserved += guess
            self._tokens.take(now, guess)

    def spent(self, now: float, tokens: int) -> None:
        """An answer says how many tokens it took, of input and output."""
        if self._tokens is not None:
            self._answers = min(self._answers + 1, _MEMORY)
            self._guess += (tokens - self._guess) / self._answers
            self._tokens.take(now, tokens)

    def ended(self, now: float) -> None:
        """A request is no longer under way; after `spent`, if it was answered."""
        if self._tokens is not None:
            share = self._reserved / self._under_way
            self._under_way -= 1
            self._reserved -= share
            self._tokens.take(now, -share)


def quota_of(requests_per_minute: int | None, tokens_per_minute: int | None) -> Quota | None:
    """None if nothing is limited."""
    if requests_per_minute is None and tokens_per_minute is None:
        return None
    return Quota(requests_per_minute, tokens_per_minute)
