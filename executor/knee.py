"""Finds the knee of an upstream: how many requests in flight it still turns into more answers. Pure.

Latency alone doesn't tell: answers differ in length, and a long one is no sign of load. So latency is
compared with itself: for a round or two the limit is a little different, and by Little's law
(rate = requests in flight / mean latency) that shows what the change is worth. A lower limit is kept only
if the rate certainly did not suffer; in doubt the higher one is. See docs/decisions/0008.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Literal

STEPS = ((0.04, 0.9), (0.08, 0.8), (1.0, 0.7))
"""The limit of a trial in parts of the present one: the less certain latencies are, the larger the step."""
LONGEST_STEP, SHORTEST_STEP, QUICK_STEP = 0.5, 0.85, 0.8
"""After a success a step down doubles, down to half the limit; after a failure it is halved. Up it is +25 %."""
WORTH_OF_LESS, WORTH_OF_MORE = 1 / 3, 0.1
"""Of the change in rate that an upstream without a knee would show, what it takes to call a limit worse
that is lower, and better that is higher."""
LOSS = 0.03
"""The rate may be this much below the best one known, in all trials together."""
SHIFT = 1.5
"""A change of latency by this factor is a reason to look again soon."""
PLAUSIBLE = 1.5
"""Changing the limit by a factor changes the rate by at most this power of it; more is other requests' doing."""
DROP = 0.85
"""While the limit still grows: a rate so far below the best one on the way shows that the knee is behind."""
SPREAD = 1.5
"""A trial of an upstream whose answers differ in length lasts longer: so many times their spread."""
REST, SOON, LONGEST_REST = (8, 5.0), (2, 1.0), 100
"""Spans of latency, and seconds, between trials; a trial that changes nothing doubles the spans."""
PATIENCE = 8
"""A trial lasts at most so many rounds."""
REMEMBERED = 16
"""Windows that a trial is compared with, or as many more as four rounds take."""
FEWEST = 16
"""Fewer answers than this prove nothing."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Latencies of some answers."""

    answers: int = 0
    seconds: float = 0.0
    squares: float = 0.0

    def __add__(self, other: "Sample") -> "Sample":
        return Sample(
            self.answers + other.answers, self.seconds + other.seconds, self.squares + other.squares
        )

    def __sub__(self, other: "Sample") -> "Sample":
        return Sample(
            self.answers - other.answers, self.seconds - other.seconds, self.squares - other.squares
        )

    @property
    def mean(self) -> float:
        """Seconds."""
        return max(self.seconds / self.answers, 1e-9)

    @property
    def span(self) -> float:
        """Seconds after which requests of all lengths have had their turn: the mean, weighted by itself."""
        return self.squares / max(self.seconds, 1e-9)

    @property
    def doubt(self) -> float:
        """Variance of the mean, in parts of its square."""
        spread = max(0.0, self.squares / self.answers / self.mean**2 - 1)
        return spread / self.answers


@dataclass(slots=True)
class Trial:
    """Another limit than before, for a while."""

    level: int
    """The limit that is returned to."""
    base: Sample
    seen: Sample
    step: float
    """The lower limit of both in parts of the other."""
    measures_at: float
    """When answers to requests that were sent under the limit before no longer come in numbers."""
    followed: bool
    """Whether it follows a trial that changed something."""
    unrest: float
    """Variance of the means of windows before the trial, in parts of their square: other things than
    chance make latencies differ too."""
    windows: int = 0
    """How many it has lasted."""
    first: Sample | None = None
    """Its first window: later ones that are very different have other reasons than the limit."""

    def ratio(self, level: int) -> tuple[float, float]:
        """The rate at `level` in parts of the rate before, and its standard error."""
        ratio = level / self.level * self.base.mean / self.seen.mean
        seen = max(self.seen.doubt, self.unrest / max(1, self.windows))
        return ratio, ratio * math.sqrt(self.base.doubt + seen)


class KneeSearch:
    """Where the limit should be as far as latency tells; `level` is all that it decides."""

    def __init__(self, maximum: int) -> None:
        self.level = maximum
        self._maximum = maximum
        self._trial: Trial | None = None
        self._climbing: int | None = None
        self._reference: Sample | None = None
        self._since: float | None = None
        self._known: deque[Sample] = deque()
        self._unrest = 0.0
        self._best_rate = 0.0
        self._best_on_way = 0.0, maximum
        self._up_next = False
        self._rounds, self._seconds = REST
        self._rest_from(None, 0)

    def saw(self, now: float, sample: Sample) -> None:
        """A window without pushback is over, in which the upstream had `level` requests to work on."""
        trial = self._trial
        if self._unsettled > 0 or (trial is not None and now < trial.measures_at):
            self._unsettled -= sample.answers
        elif trial is None:
            self._watch(now, sample)
        else:
            self._judge(now, trial, sample)

    def interrupted(self) -> None:
        """Pushback, or too little to do: what was measured proves nothing."""
        self._best_on_way = 0.0, self._maximum
        if self._trial is not None:
            self.level = self._trial.level
        self._rest_from(None, self.level)

    def climbed(self, limit: int, sample: Sample) -> None:
        """A window without pushback is over whose `limit` was on its way up to `level`."""
        if self._trial is not None:
            self.level = self._trial.level
        sent_under = self._climbing
        self._rest_from(None, self.level)
        self._climbing = limit
        if sent_under is None or sample.answers < FEWEST:
            return
        rate = sent_under / sample.mean
        if rate > self._best_on_way[0]:
            self._best_on_way = rate, sent_under
        elif rate * (1 + 3 * math.sqrt(sample.doubt)) < DROP * self._best_on_way[0]:
            self.level = self._best_on_way[1]
            self._up_next = True

    # -- between trials ----------------------------------------------------------------------------

    def _rest_from(self, now: float | None, unsettled: int) -> None:
        self._trial = None
        self._since, self._unsettled = now, unsettled
        self._climbing = None
        self._known.clear()
        self._reference = None

    def _watch(self, now: float, sample: Sample) -> None:
        self._since = now if self._since is None else self._since
        self._known.append(sample)
        if self._reference is None:
            self._reference = sample
        elif _shifted(self._reference, sample):
            self._up_next = sample.mean < self._reference.mean
            self._reference, self._best_rate = sample, 0.0
            self._rounds, self._seconds = SOON
            self._known.clear()
        base = reduce(Sample.__add__, self._known, Sample())
        while len(self._known) > REMEMBERED and base.answers - self._known[0].answers >= 4 * self.level:
            base -= self._known.popleft()
        due = self._since + max(self._seconds, self._rounds * base.span)
        if base.answers >= max(FEWEST, self.level) and now >= due:
            self._best_rate = max(self._best_rate, self.level / base.mean)
            up = self._up_next and self.level < self._maximum
            self._unrest = _unrest(self._known, base.mean)
            self._begin(now, base, _first_step(base, self.level), up=up, followed=False)

    def _begin(self, now: float, base: Sample, step: float, *, up: bool, followed: bool) -> None:
        level = self.level
        self.level = min(self._maximum, math.ceil(level / step)) if up else max(1, int(level * step))
        if self.level == level:
            self._up_next = not up
            self._rest_from(None, 0)
            return
        self._trial = Trial(level, base, Sample(), step, now + base.span, followed, self._unrest)
        self._unsettled = max(level, self.level)

    # -- trials ------------------------------------------------------------------------------------

    def _judge(self, now: float, trial: Trial, sample: Sample) -> None:
        trial.first = trial.first or sample
        trial.seen += sample
        trial.windows += 1
        if trial.seen.answers < FEWEST or now < trial.measures_at + SPREAD * (
            trial.base.span - trial.base.mean
        ):
            return
        over = trial.seen.answers >= max(PATIENCE * self.level, 4 * FEWEST)
        if _shifted(trial.first, sample) or self._implausible(trial):
            self.interrupted()
            return
        result = self._raised(trial, over) if self.level > trial.level else self._lowered(trial, over)
        if result == "better":
            self._keep(now, trial)
        elif result == "worse":
            self._return(now, trial)

    def _implausible(self, trial: Trial) -> bool:
        ratio, error = trial.ratio(self.level)
        # the change that was made, not the one that was meant: of 4 the next lower is 3, a quarter less
        bound = PLAUSIBLE * abs(math.log(self.level / trial.level))
        return abs(math.log(ratio)) - 2 * error / ratio > bound

    def _lowered(self, trial: Trial, over: bool) -> Literal["better", "worse"] | None:
        ratio, error = trial.ratio(self.level)
        wanted = 1 - WORTH_OF_LESS * (1 - self.level / trial.level)
        lossless = self.level / trial.seen.mean * (1 + error) >= self._best_rate * (1 - LOSS)
        if ratio - 2 * error >= wanted and lossless:
            return "better"
        return "worse" if over or ratio + error < wanted or not lossless else None

    def _raised(self, trial: Trial, over: bool) -> Literal["better", "worse"] | None:
        ratio, error = trial.ratio(self.level)
        wanted = 1 + WORTH_OF_MORE * (self.level / trial.level - 1)
        if ratio + 2 * error < wanted:
            return "worse"
        return "better" if over or ratio - error >= wanted else None

    def _keep(self, now: float, trial: Trial) -> None:
        """The change was good: the next goes the same way at once."""
        up = self.level > trial.level
        self._best_rate = max(self._best_rate, self.level / trial.seen.mean)
        step = QUICK_STEP if up else max(LONGEST_STEP, trial.step**2)
        self._begin(now, trial.seen, step, up=up, followed=True)

    def _return(self, now: float, trial: Trial) -> None:
        """The change was not good: half of it may be, if it was large; else the other way is next."""
        up, self.level = self.level > trial.level, trial.level
        half = math.sqrt(trial.step)
        if trial.followed and half <= SHORTEST_STEP:
            self._begin(now, trial.base, half, up=up, followed=True)
            return
        self._up_next = not up
        self._rounds, self._seconds = min(LONGEST_REST, 2 * self._rounds), REST[1]
        if trial.followed:  # whether a descent went too far is asked soon
            self._rounds, self._seconds = REST if up else SOON
        self._rest_from(now, max(self.level, 1))


def _unrest(windows: Iterable[Sample], mean: float) -> float:
    """How much the means of windows differ, as a variance in parts of the square of all their mean."""
    apart = [(window.mean / mean - 1) ** 2 for window in windows if window.answers]
    return sum(apart) / max(1, len(apart))


def _first_step(base: Sample, level: int) -> float:
    """How far the first trial goes, so that its answers can tell."""
    error = math.sqrt(base.doubt * (1 + base.answers / (PATIENCE * level)))
    return next((step for limit, step in STEPS if error < limit), STEPS[-1][1])


def _shifted(before: Sample, now: Sample) -> bool:
    """Whether latency is certainly another than it was."""
    if min(before.answers, now.answers) < FEWEST:
        return False
    ratio = now.mean / before.mean
    certain = abs(math.log(ratio)) > 4 * math.sqrt(before.doubt + now.doubt)
    return certain and not 1 / SHIFT < ratio < SHIFT
