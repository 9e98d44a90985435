"""How long requests take and how many are under way: what tells whether a task will make its deadline. Pure."""

_REMEMBERED = 64

_TIME_TO_USE = 0.8
"""A task that needs more than this part of the time it has left may come too late: an estimate errs."""


class Cost:
    """Seconds that a request is under way until its final answer, all its attempts together, lately."""

    __slots__ = ("_unfinished", "finished", "seconds")

    def __init__(self) -> None:
        self.finished = 0
        """Requests that have their final answer."""
        self.seconds = 0.0
        """The mean, in which the latest ones count most; 0 before the first."""
        self._unfinished = 0.0

    def attempt(self, seconds: float, *, finished: bool) -> None:
        """An attempt took so long; `finished` if its request needs no other."""
        if not finished:
            self._unfinished += seconds
            return
        self.finished += 1
        weighs = self.finished if self.finished < _REMEMBERED else _REMEMBERED
        self.seconds += (seconds + self._unfinished - self.seconds) / weighs
        self._unfinished = 0.0


class Usage:
    """How many requests are under way on average while there are any to do."""

    def __init__(self) -> None:
        self._looks = 0
        self.average = 0.0
        """Requests; the latest looks count most."""

    def look(self, in_flight: float) -> None:
        """So many were under way, on average since the last look."""
        self._looks += 1
        self.average += (in_flight - self.average) / min(self._looks, _REMEMBERED)


def would_miss(requests: int, seconds_per_request: float, places: float, seconds_left: float) -> bool:
    """Whether so many requests, of which `places` at once are under way, need more time than there is.

    A deadline that has passed can't be missed any more: false.
    """
    if seconds_left <= 0 or places <= 0:
        return False
    return requests * seconds_per_request / places > seconds_left * _TIME_TO_USE
