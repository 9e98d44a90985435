"""Upstreams on paper: a limiter is driven in simulated time, with a request for every free place."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass

from executor.limiter import AdaptiveLimit

Latency = Callable[[int, random.Random], float]
"""Seconds that a request takes which comes as the n-th at once."""


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    answers: int
    """Good ones, in its second half."""
    limits: list[float]
    """Limit after each outcome."""


def drive(
    limit: AdaptiveLimit,
    seconds: float,
    latency: Latency,
    *,
    refused: Callable[[int, float], bool] = lambda in_flight, now: False,
    start: float = 0.0,
    seed: int = 1,
    fixed: bool = False,
) -> Result:
    """Runs a saturated upstream; with `refused(in_flight, now)` it answers 429 after 5 ms."""
    chance, now, answers, limits = random.Random(seed), start, 0, list[float]()
    under_way: list[tuple[float, int, float, bool]] = []
    sent = 0
    while now < start + seconds:
        while limit.free:
            limit.started()
            sent += 1
            no = refused(limit.in_flight, now)
            takes = 0.005 if no else latency(limit.in_flight, chance)
            heapq.heappush(under_way, (now + takes, sent, now, no))
        now, _, begun, no = heapq.heappop(under_way)
        if not fixed:
            limit.pushed_back(now) if no else limit.answered(now, now - begun)
        limit.ended()
        limits.append(limit.limit)
        answers += not no and now > start + seconds / 2
    limit.in_flight = 0
    return Result(answers, limits)


def fixed(limit: int, seconds: float, latency: Latency, seed: int = 1) -> int:
    """Answers of the second half with a limit that stays."""
    return drive(AdaptiveLimit(limit), seconds, latency, seed=seed, fixed=True).answers
