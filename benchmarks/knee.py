"""Does the adaptive limit find the knee of an upstream, and does it leave a healthy one alone?

`python -m benchmarks.knee` asks scripted upstreams over HTTP, with the client and the limit that the
executor uses, first with fixed numbers of requests in flight and then with the adaptive one, which knows
only `max_concurrency`. Each figure is answers per second by this process's clock.
"""

import argparse
import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from benchmarks.surroundings import own_client
from executor.limiter import AdaptiveLimit
from executor.upstream import Answer, NoAnswer
from tests.behaviour import Behaviour
from tests.upstream import Upstream

KNEE, BASE_SECONDS, POWER, MOST = 16, 0.2, 1.5, 64
FIXED = (4, 8, 12, 16, 20, 24, 32, 64)
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hello"}]}'

Latency = Callable[[int], float]
"""Seconds that a request takes if so many are under way."""


class Limit(Protocol):
    """What the loop needs of a limit."""

    limit: int

    @property
    def free(self) -> int:
        """How many more may start."""
        ...

    def started(self) -> None:
        """A request went out."""
        ...

    def ended(self) -> None:
        """A request came back."""
        ...

    def answered(self, now: float, latency_s: float) -> None:
        """A request succeeded."""
        ...


class FixedLimit(AdaptiveLimit):
    """A limit that learns nothing."""

    def answered(self, now: float, latency_s: float) -> None:
        """Nothing follows from it."""


@dataclass(frozen=True)
class Run:
    """What a run came to."""

    per_second: float
    late_per_second: float
    """In its second half."""
    limit: float
    """On average in its second half."""


async def _saturate(url: str, limit: Limit, seconds: float) -> Run:
    """Keeps as many requests under way as the limit allows."""
    upstream = own_client(url)
    begun, answers, late, limits, changed = time.monotonic(), 0, 0, list[int](), asyncio.Event()

    def answered(started: float, answer: Answer | NoAnswer) -> None:
        nonlocal answers, late
        now = time.monotonic()
        if not isinstance(answer, Answer) or answer.status != 200:
            raise SystemExit(f"the scripted upstream answered {answer}")
        limit.answered(now, now - started)
        limit.ended()
        answers += 1
        if now > begun + seconds / 2:
            late += 1
            limits.append(limit.limit)
        changed.set()

    while time.monotonic() < begun + seconds:
        for _ in range(limit.free):
            limit.started()
            upstream.ask("/v1/chat/completions", BODY, partial(answered, time.monotonic()))
        changed.clear()
        await changed.wait()
    passed = time.monotonic() - begun
    upstream.close()
    return Run(answers / passed, late / (passed - seconds / 2), sum(limits) / max(1, len(limits)))


def _measure(latency: Latency, limit: Limit, seconds: float) -> Run:
    with Upstream(record=False) as upstream:
        upstream.rule = lambda seen: Behaviour(latency=latency(upstream.in_flight))
        return asyncio.run(_saturate(upstream.url, limit, seconds))


def _knee(in_flight: int) -> float:
    return BASE_SECONDS * max(1.0, in_flight / KNEE) ** POWER


def _different(in_flight: int) -> float:
    return random.lognormvariate(-1.5, 1)


def find(seconds: float, widths: Sequence[int]) -> None:
    """The knee: fixed settings, then the adaptive limit from `max_concurrency` and from a small start."""
    print(f"latency {BASE_SECONDS * 1000:.0f} ms up to {KNEE} in flight, then rising with its power {POWER}")
    rates = {width: _measure(_knee, FixedLimit(width), seconds / 6).late_per_second for width in widths}
    for width, rate in rates.items():
        print(f"  fixed {width:4}            {rate:7.1f}/s")
    best = max(rates.values())
    for name, limit in ((f"from {MOST}", AdaptiveLimit(MOST)), ("from 4", AdaptiveLimit(MOST, 4))):
        run = _measure(_knee, limit, seconds)
        print(
            f"  adaptive {name:9}     {run.late_per_second:7.1f}/s with {run.limit:5.1f} in flight: "
            f"{run.late_per_second / best:.3f} of the best fixed (in all {run.per_second / best:.3f})"
        )


def leave_alone(name: str, latency: Latency, width: int, seconds: float) -> None:
    """A healthy upstream: the adaptive limit against the same fixed one, from the first request on."""
    fixed = _measure(latency, FixedLimit(width), seconds)
    adaptive = _measure(latency, AdaptiveLimit(width), seconds)
    print(
        f"{name}: fixed {fixed.per_second:.1f}/s, adaptive {adaptive.per_second:.1f}/s with "
        f"{adaptive.limit:.1f} in flight: {adaptive.per_second / fixed.per_second:.3f}"
    )


def main() -> None:
    """Runs all, and prints as it goes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="of each adaptive run")
    seconds = parser.parse_args().seconds
    find(seconds, FIXED)
    leave_alone("healthy, 64 at 50 ms", lambda _: 0.05, 64, seconds / 3)
    leave_alone("answers of different length, 64 in flight", _different, 64, seconds / 2)


if __name__ == "__main__":
    main()
