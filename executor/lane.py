"""One upstream of one model as dispatch sees it: its room, and whether it is up."""

from dataclasses import dataclass
from datetime import datetime

import msgspec

from executor.answers import UNKNOWN, Verdict
from executor.limiter import AdaptiveLimit
from executor.quota import Quota
from executor.request import Request
from executor.run import TaskRun
from executor.upstream import Call, Upstream

REFUSED = (401, 403)
"""What an upstream answers to a key that it does not accept."""
NOT_FOUND = 404
"""What a replica answers that has another model, to every request."""
TOO_MANY_FAILURES = 5
"""In a row, for a replica to be left alone."""
TOO_MANY_PUSHBACKS = 5
"""In a row, for an upstream to be asked for one request at a time."""
_ALONE_SECONDS = 1.0
"""Of requests that go one at a time the next goes after this, if the last one has no answer yet."""


@dataclass(slots=True, eq=False)
class Lane:
    """An upstream, how many requests it may have, and what is known of its health."""

    model: str
    upstream: Upstream
    limit: AdaptiveLimit
    quota: Quota | None = None
    """What all upstreams of the model may be asked for in a minute; none if that is not limited."""
    down_since: datetime | None = None
    """The beginning of an outage; none while it is up."""
    up_since: float = float("-inf")
    """Monotonic moment at which its last outage was over."""
    last_success: float = float("-inf")
    """Monotonic moment of the last successful answer."""
    last_success_begun: float = float("-inf")
    """Monotonic moment at which the latest request was sent of those that succeeded."""
    last_started: float = float("-inf")
    """Monotonic moment at which a request was last sent."""
    last_trial: float = float("-inf")
    """Monotonic moment at which a request was last sent in spite of an outage, or of its failures."""
    failures: int = 0
    """Requests in a row that failed since the last that succeeded, without pushback and by no fault of their own."""
    pushbacks: int = 0
    """Requests in a row that were pushed back since the last that succeeded."""
    pushed_back_since: float = float("-inf")
    """Monotonic moment of the first of them."""
    asked_again_at: float = float("-inf")
    """Monotonic moment at which the next request may go to an upstream that only pushes back."""

    @property
    def label(self) -> str:
        """The upstream's name in metrics."""
        return self.upstream.label or "built-in"

    @property
    def up(self) -> bool:
        """Whether requests go to it."""
        return self.down_since is None

    @property
    def sick(self) -> bool:
        """Whether it only fails, though it may answer probes: it gets no share while another replica does better."""
        return self.failures >= TOO_MANY_FAILURES

    @property
    def refuses(self) -> bool:
        """Whether it only pushes back: then it's asked for one request at a time, as often as it says."""
        return self.pushbacks >= TOO_MANY_PUSHBACKS

    def opens_at(self, now: float) -> float:
        """When it may be asked as far as requests or tokens per minute and pushback go; `now` if that is now."""
        opens = now if self.quota is None else self.quota.opens_at(now)
        return max(opens, self.asked_again_at) if self.refuses else opens

    def open_at(self, now: float, trial_seconds: float) -> bool:
        """Whether a request may start: there is room, or it is down and the time for a trial has come."""
        if (self.quota is not None or self.pushbacks) and self.opens_at(now) > now:
            return False
        if self.down_since is None:
            return self.limit.free > 0
        return self.rested_at(now, trial_seconds)

    def rested_at(self, now: float, seconds: float) -> bool:
        """Whether nothing is under way, nor was anything tried for so long."""
        return self.limit.in_flight == 0 and now - self.last_trial >= seconds

    def started(self, now: float, size: int) -> None:
        """A request with a body of so many bytes goes out."""
        self.limit.started()
        self.last_started = now
        if self.quota is not None:
            self.quota.started(now, size)
        if self.down_since is not None or self.failures >= TOO_MANY_FAILURES:
            self.last_trial = now
        if self.refuses:
            self.asked_again_at = now + _ALONE_SECONDS

    def ended(self, now: float) -> None:
        """A request came back, or was given up."""
        self.limit.ended()
        if self.quota is not None:
            self.quota.ended(now)

    def succeeded(self, begun: float, ended: float) -> None:
        """A request succeeded: that proves more than a probe."""
        self.last_success, self.failures, self.pushbacks = ended, 0, 0
        if begun > self.last_success_begun:
            self.last_success_begun = begun
        if self.down_since is not None:
            self.recovered(ended)

    def recovered(self, now: float) -> None:
        """An outage is over."""
        self.down_since, self.up_since, self.pushbacks = None, now, 0

    def learn(self, attempt: "Attempt") -> None:
        """How many requests it should have, from how it answered one that is still counted as under way."""
        verdict, ended = attempt.verdict, attempt.ended
        self.failures += verdict.kind == "retry" or verdict.status_code in (*REFUSED, NOT_FOUND)
        if verdict.kind == "success":
            self.limit.answered(ended, ended - attempt.begun)
            if self.quota is not None and verdict.usage is not None:
                self.quota.spent(ended, verdict.usage.input_tokens + verdict.usage.output_tokens)
        elif verdict.kind == "pushback":
            self.limit.pushed_back(ended)
            if not self.pushbacks:
                self.pushed_back_since = ended
            self.pushbacks += 1
        elif verdict.error_code == "timeout":
            self.limit.timed_out(ended)


class Attempt(msgspec.Struct, eq=False):
    """One HTTP call for a request: under way, then ended with a verdict."""

    lane: Lane
    run: TaskRun
    request: Request
    begun: float
    """Monotonic seconds, as is `ended`."""
    call: Call | None = None
    """What may be cancelled while it is under way."""
    ended: float = 0.0
    verdict: Verdict = UNKNOWN
    first_token_seconds: float | None = None
    """From the start to the first token, if the answer was streamed."""

    @property
    def duration_ms(self) -> float:
        """From the start to the last byte of the answer."""
        return (self.ended - self.begun) * 1000

    @property
    def refused(self) -> bool:
        """Whether the upstream did not accept our key."""
        return self.verdict.status_code in REFUSED

    @property
    def cleared(self) -> bool:
        """Whether a request that was sent after it ended has succeeded: then its failure was not the upstream's.

        One that was sent before proves nothing: it may have been answered just before an outage.
        """
        return self.lane.last_success_begun >= self.ended
