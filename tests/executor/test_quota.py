import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.options import ModelOptions
from executor.quota import Quota, quota_of
from tests.executor.engine_rig import Rig
from tests.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


def starts_of(quota: Quota, seconds: float, *, tokens: int = 0, latency: float = 0.0) -> list[float]:
    """When requests start if there is always another one; each takes the same time and tokens."""
    now, starts, under_way = 100.0, list[float](), list[float]()
    while now < 100 + seconds:
        opens = quota.opens_at(now)
        if under_way and under_way[0] <= max(now, opens):
            now = max(now, under_way.pop(0))
            quota.spent(now, tokens)
            quota.ended(now)
        elif opens > now:
            now = opens
        else:
            quota.started(now)
            starts.append(now)
            under_way.append(now + latency)
    return starts


def most_in_a_minute(starts: list[float]) -> int:
    first, most = 0, 0
    for last, start in enumerate(starts):
        while starts[first] <= start - 60 + 1e-6:
            first += 1
        most = max(most, last - first + 1)
    return most


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 6_000))
def test_no_minute_sees_more_requests_than_its_number(per_minute: int) -> None:
    """However a minute is cut out, it holds no more starts than allowed, and all but a few of them."""
    most = most_in_a_minute(starts_of(Quota(per_minute, None), 150))
    assert per_minute * 0.99 - 1 <= most <= per_minute


@settings(deadline=None, max_examples=30)
@given(st.integers(1_000, 200_000), st.integers(50, 5_000), st.floats(0, 20))
def test_tokens_are_kept_over_the_minutes(per_minute: int, tokens: int, latency: float) -> None:
    """Tokens are debited when they are known; what was overdrawn at first is waited for."""
    starts = starts_of(Quota(None, per_minute), 600, tokens=tokens, latency=latency)
    used = len(starts) * tokens
    overdrawn = per_minute / 60 * (1 + latency) * max(1, tokens / 1000) + 2 * tokens
    assert used <= per_minute * 10 + overdrawn + 1
    assert used >= per_minute * 9.5 - 2 * max(tokens, 1000) - per_minute / 60 * latency


def test_long_requests_are_not_taken_for_short_ones_before_the_first_answer() -> None:
    """Bodies of 200 kB that are answered after half a minute: what went out by then is what that time allows."""
    quota, now, sent = Quota(None, 1_000_000), 0.0, 0
    while (now := quota.opens_at(now)) < 30:
        quota.started(now, 200_000)
        sent += 1
    assert 8 <= sent <= 12  # 50,000 tokens each


def test_an_attempt_without_an_answer_costs_no_tokens() -> None:
    """What was reserved for a request is put back if it was pushed back or failed."""
    quota = Quota(None, 600)
    quota.started(0)
    assert quota.opens_at(0) > 60
    quota.ended(0)
    assert quota.opens_at(0) == 0


def test_nothing_limited_is_no_quota() -> None:
    """Models without such settings pay nothing for the possibility."""
    assert quota_of(None, None) is None
    assert quota_of(1, None) is not None


def test_replicas_share_the_requests_per_minute(tmp_path: Path, upstream: Upstream) -> None:
    """Two upstreams together get one model's number; the task says `rate_limit` and still ends."""
    with Upstream() as second:
        urls = (upstream.url, second.url)
        model = ModelOptions(name="m", upstreams=urls, max_concurrency=16, requests_per_minute=300)
        with Rig(tmp_path, [model]) as rig:
            begun = time.monotonic()
            task_id = rig.submit([f"{n}" for n in range(11)])
            live = rig.until(lambda: rig.engine.live(task_id), lambda live: live and live.waiting, 5)
            assert live.waiting.reason == "rate_limit"
            assert rig.wait(task_id).completed == 11
            assert time.monotonic() - begun >= 2
        assert upstream.total + second.total == 11


def test_replicas_with_little_to_do_take_turns(tmp_path: Path, upstream: Upstream) -> None:
    """Each request is answered before the next may go: the first replica doesn't get them all."""
    with Upstream() as second:
        urls = (upstream.url, second.url)
        model = ModelOptions(name="m", upstreams=urls, max_concurrency=16, requests_per_minute=1200)
        with Rig(tmp_path, [model]) as rig:
            assert rig.wait(rig.submit([f"{n}" for n in range(40)])).completed == 40
        assert min(upstream.total, second.total) >= 15


def test_a_debt_of_tokens_is_waited_for(tmp_path: Path, upstream: Upstream) -> None:
    """After answers that took more than there was, the next request waits until it has come in."""
    model = ModelOptions(name="m", upstreams=(upstream.url,), max_concurrency=16, tokens_per_minute=60_000)
    with Rig(tmp_path, [model]) as rig:
        task = rig.wait(rig.submit([f"{n} @in=1500 @out=500" for n in range(4)]))
        assert task.completed == 4
    starts = sorted(seen.at for seen in upstream.snapshot())
    assert 3 < starts[-1] - starts[0] < 7
