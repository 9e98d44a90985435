"""How many requests may be under way at one upstream at once: today, a fixed number."""


class FixedLimit:
    """Counts the requests under way; adaptive limits will take its place behind the same four members."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.in_flight = 0

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
