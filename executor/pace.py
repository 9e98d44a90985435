"""How long requests take and how many are under way: what tells whether a task will make its deadline. Pure."""

_REMEMBERED_REQUESTS = 64
_REMEMBERED_SECONDS = 60.0

_TIME_TO_USE = 0.8
"""A task that needs more than this part of the time it has left may come too late: an estimate errs."""


class Cost:
    """Seconds that a request is under way until its final answer, all its attempts together, lately."""

    __slots__ = ("_unfinished", "finished", "seconds")

    def __init__(self) -> None:
        self.finished = 0
        """Requests that have their final answer."""
        self.seconds: float | None = None
        """The mean, in which the latest ones count most; none before the first."""
        self._unfinished = 0.0

    def attempt(self, seconds: float, *, finished: bool) -> None:
        """An attempt took so long; `finished` if its request needs no other."""
        self._unfinished += seconds
        if not finished:
            return
        self.finished += 1
        before = 0.0 if self.seconds is None else self.seconds
        self.seconds = before + (self._unfinished - before) / min(self.finished, _REMEMBERED_REQUESTS)
        self._unfinished = 0.0


class Usage:
    """How many requests of a model are under way, now and on average lately; idle time doesn't count."""

    __slots__ = ("_request_seconds", "_seconds", "_since", "in_flight")

    def __init__(self) -> None:
        self.in_flight = 0
        self._since = 0.0
        self._seconds = 0.0
        self._request_seconds = 0.0

    def changed(self, by: int, now: float) -> None:
        """So many more, or fewer, are under way from the monotonic moment `now` on."""
        elapsed = now - self._since
        if self.in_flight and elapsed > 0:
            kept = _REMEMBERED_SECONDS / (_REMEMBERED_SECONDS + elapsed)
            self._seconds = self._seconds * kept + elapsed
            self._request_seconds = self._request_seconds * kept + elapsed * self.in_flight
        self._since = now
        self.in_flight += by

    @property
    def average(self) -> float:
        """Requests under way."""
        return self._request_seconds / self._seconds if self._seconds > 0 else float(self.in_flight)


def would_miss(requests: int, seconds_per_request: float, places: float, seconds_left: float) -> bool:
    """Whether so many requests, of which `places` at once are under way, need more time than there is.

    A deadline that has passed can't be missed any more: false.
    """
    if seconds_left <= 0 or places <= 0:
        return False
    return requests * seconds_per_request / places > seconds_left * _TIME_TO_USE
