"""How many requests may be under way at one upstream at once, learned from how it answers. Pure.

Two things bound it, and the lower one counts: what the upstream pushes back (windowed AIMD, here) and
where more load stops to give more answers (`executor.knee`). See docs/decisions/0008.
"""

from executor.knee import KneeSearch, Sample

DECREASE, QUICK = 0.9, 1.25
BAD_SHARE = 0.05
"""A window with a smaller share of errors than this is a good one."""
SHORTEST_SECONDS, LONGEST_SECONDS = 0.1, 5.0
"""A window is one round (as many answers as may be under way), but no shorter and no longer than this."""
CLEAN_WINDOWS = 10
"""After so many windows without a decrease, growth is quick again."""


class AdaptiveLimit:
    """Counts the requests under way, and adapts how many may be, between 1 and `maximum`.

    Moments are seconds of one monotonic clock. Outcomes are told before `ended`.
    """

    __slots__ = (
        "_allowed", "_answers", "_begun", "_clean", "_earliest", "_errors", "_full", "_knee", "_latest",
        "_maximum", "_quick", "_seconds", "_squares", "in_flight", "limit",
    )  # fmt: skip

    def __init__(self, maximum: int, initial: int | None = None) -> None:
        self.limit = self._allowed = min(initial or maximum, maximum)
        self.in_flight = 0
        self._maximum = maximum
        self._knee = KneeSearch(maximum)
        self._quick = True
        self._clean = 0
        self._begun = False
        self._earliest = self._latest = float("-inf")
        self._empty()

    @property
    def free(self) -> int:
        """How many more may start now."""
        return max(0, self.limit - self.in_flight)

    def started(self) -> None:
        """A request went out."""
        self.in_flight += 1

    def ended(self) -> None:
        """A request came back, or gave up."""
        self.in_flight -= 1

    def answered(self, now: float, latency_s: float) -> None:
        """A request succeeded."""
        self._answers += 1
        self._seconds += latency_s
        self._squares += latency_s * latency_s
        if self.in_flight >= self.limit:
            self._full = True
        if now >= self._earliest and (now >= self._latest or self._answers + self._errors >= self.limit):
            self._close(now)

    def pushed_back(self, now: float) -> None:
        """The upstream said that this is too much (429, 503)."""
        self._errors += 1
        if now >= self._earliest and (now >= self._latest or self._answers + self._errors >= self.limit):
            self._close(now)

    def timed_out(self, now: float) -> None:
        """A request had no answer in time."""
        self.pushed_back(now)

    # -- once a window -----------------------------------------------------------------------------

    def _empty(self) -> None:
        self._answers = self._errors = 0
        self._seconds = self._squares = 0.0
        self._full = False

    def _close(self, now: float) -> None:
        """Judges the window and begins the next; the first event of all only begins one."""
        self._earliest, self._latest = now + SHORTEST_SECONDS, now + LONGEST_SECONDS
        if not self._begun:
            self._begun = True
            return
        few = self._errors < BAD_SHARE * (self._answers + self._errors)
        if not few and (self._errors > 1 or not self._answers):
            self._lower()
        elif few:
            self._good(now)
        self.limit = min(self._allowed, self._knee.level)
        self._empty()

    def _lower(self) -> None:
        self._knee.interrupted()
        self._allowed = max(1, int(min(self.limit, self._knee.level) * DECREASE))
        self._quick, self._clean = False, 0

    def _good(self, now: float) -> None:
        if not self._full:  # a limit that wasn't reached proves nothing
            self._knee.interrupted()
            return
        sample = Sample(self._answers, self._seconds, self._squares)
        if self._allowed >= self._knee.level:
            self._knee.saw(now, sample)
        else:
            self._knee.climbed(self._allowed, sample)
        self._grow()

    def _grow(self) -> None:
        self._clean += 1
        self._quick = self._quick or self._clean >= CLEAN_WINDOWS
        steady = self._allowed + max(1, self._maximum // 100)
        quick = int(self._allowed * QUICK) + 1
        self._allowed = min(self._maximum, max(steady, quick) if self._quick else steady)
