import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from executor.knee import Sample
from executor.limiter import SHORTEST_SECONDS, AdaptiveLimit
from executor.options import ExecutorOptions, ModelOptions
from tests.behaviour import Behaviour
from tests.executor.engine_rig import Rig
from tests.executor.loads import Latency, drive, fixed
from tests.upstream import Upstream


def always(seconds: float) -> Latency:
    return lambda in_flight, chance: seconds


@pytest.mark.parametrize(("width", "latency", "seconds"), [(64, 0.05, 5), (5000, 2.0, 16), (1, 0.05, 30)])
def test_a_healthy_upstream_has_all_from_the_first_request_on(
    width: int, latency: float, seconds: float
) -> None:
    """As many as are allowed are under way at once, and stay so: 64 at 50 ms, 5,000 at 2 s."""
    limit = AdaptiveLimit(width)
    assert limit.free == width
    assert set(drive(limit, seconds, always(latency)).limits) == {width}


@pytest.mark.parametrize(("width", "latency"), [(64, 0.05), (1000, 2.0)])
def test_looking_for_a_knee_costs_a_healthy_upstream_little(width: int, latency: float) -> None:
    """Over two minutes the limit is 98 % of what is allowed on average, and no trial goes below 90 %."""
    limits = drive(AdaptiveLimit(width), 120, always(latency)).limits
    assert min(limits) >= int(0.9 * width)
    assert sum(limits) / len(limits) >= 0.98 * width


@pytest.mark.parametrize("seed", range(2))
def test_answers_of_different_length_are_not_load(seed: int) -> None:
    """Lengths that differ tenfold, as those of language models do, cost at most 5 % of the rate."""

    def latency(in_flight: int, chance: random.Random) -> float:
        return chance.lognormvariate(0, 1)

    limit = AdaptiveLimit(64)
    assert drive(limit, 300, latency, seed=seed).answers >= 0.95 * fixed(64, 300, latency, seed)


@pytest.mark.parametrize("power", [1.5, 2.0])
@pytest.mark.parametrize("start", [None, 4])
@pytest.mark.parametrize("spread", [0.0, 0.2])
def test_the_knee_is_found(power: float, start: int | None, spread: float) -> None:
    """Where more load makes everything slower, the rate is within 10 % of the best fixed setting."""

    def latency(in_flight: int, chance: random.Random) -> float:
        return 0.1 * max(1.0, in_flight / 24) ** power * chance.uniform(1 - spread, 1 + spread)

    best = max(fixed(width, 120, latency) for width in (8, 16, 20, 24, 28, 32, 48, 96))
    assert drive(AdaptiveLimit(96, start), 120, latency).answers >= 0.9 * best


def test_a_knee_that_moves_is_followed() -> None:
    """An upstream that got slower gets fewer requests, and all again when it is fast again."""

    def slow(in_flight: int, chance: random.Random) -> float:
        return 0.1 * max(1.0, in_flight / 16) ** 2

    limit = AdaptiveLimit(64)
    drive(limit, 60, slow)
    assert 10 <= limit.limit <= 24
    drive(limit, 120, always(0.05), start=60)
    assert limit.limit >= 57


@pytest.mark.parametrize("width", [3, 4, 16, 64])
@pytest.mark.parametrize("seconds", [0.1, 1.0])
def test_a_limit_that_fell_to_one_comes_back(width: int, seconds: float) -> None:
    """An upstream that answered one after another for a while, and then all at once, has all its width again."""

    def one_place(in_flight: int, chance: random.Random) -> float:
        return seconds * in_flight

    limit, spell = AdaptiveLimit(width), 1200 * seconds
    drive(limit, spell, one_place)
    answers = drive(limit, spell, always(seconds), start=spell).answers
    assert answers >= 0.95 * fixed(width, spell, always(seconds))


def test_a_small_healthy_limit_is_tried_less_and_less() -> None:
    """From 4 one step down is a quarter: that it costs as much is believed, and asked again ever more seldom."""
    answers = drive(AdaptiveLimit(4), 1800, always(2.0)).answers
    assert answers >= 0.95 * fixed(4, 1800, always(2.0))


def test_a_limit_of_the_upstream_is_kept_below() -> None:
    """Where an upstream refuses what is above 20, hardly any time is spent above it."""
    limit = AdaptiveLimit(128)
    limits = drive(limit, 60, always(0.05), refused=lambda in_flight, now: in_flight > 20).limits
    late = limits[len(limits) // 2 :]
    assert 16 <= sum(late) / len(late) <= 24


def test_a_few_errors_among_many_answers_lower_nothing() -> None:
    """Less than one pushback in twenty is no sign of too much load."""
    chance = random.Random(3)
    limit = AdaptiveLimit(64)
    drive(limit, 4, always(0.05), refused=lambda in_flight, now: chance.random() < 0.02)
    assert limit.limit == 64


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 200),
    st.integers(1, 200),
    st.lists(
        st.tuples(st.sampled_from(["answer", "429", "timeout"]), st.floats(0, 1), st.floats(0, 50)),
        max_size=400,
    ),
)
def test_it_stays_within_its_bounds(most: int, first: int, outcomes: list[tuple[str, float, float]]) -> None:
    """Whatever comes, the limit is at least 1 and at most `maximum`, and nothing is counted twice."""
    limit, now = AdaptiveLimit(most, first), 0.0
    assert limit.limit == min(most, first)
    for kind, later, latency in outcomes:
        now += later
        for _ in range(limit.free):
            limit.started()
        if kind == "answer":
            limit.answered(now, latency)
        elif kind == "429":
            limit.pushed_back(now)
        else:
            limit.timed_out(now)
        limit.ended()
        assert 1 <= limit.limit <= most
        assert 0 <= limit.in_flight <= most


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 5000), st.integers(1, 3_000), st.floats(0, 1))
def test_a_burst_of_errors_is_one_decrease_a_window(width: int, errors: int, seconds: float) -> None:
    """However many errors come within a time, a window of it takes a tenth and no more."""
    limit, least, at = AdaptiveLimit(width), float(width), 10.0
    limit.answered(at - 1, 0.05)
    windows = int(seconds / SHORTEST_SECONDS) + 1
    for number in range(errors):
        limit.pushed_back(at + seconds * number / errors)
    for _ in range(windows):
        least = max(1, int(least * 0.9))
    assert limit.limit >= least


@settings(deadline=None, max_examples=12)
@given(st.integers(1, 64), st.floats(0.05, 0.3), st.floats(0.5, 3))
def test_it_recovers_when_the_errors_stop(width: int, latency: float, trouble: float) -> None:
    """After pushback to all it is back at what is allowed, but for a trial, within a minute of answers."""
    limit = AdaptiveLimit(width)
    drive(limit, trouble, always(latency), refused=lambda in_flight, now: True)
    limits = drive(limit, 60, always(latency), start=trouble).limits
    assert max(limits) == width
    assert limit.limit >= int(0.9 * width)


def test_pushback_shows_in_the_live_limit(tmp_path: Path) -> None:
    """An upstream that refuses more than 8 at once gets fewer, the gauge says so, and nothing fails."""
    options = ExecutorOptions(commit_interval_ms=20, backoff_first_seconds=0.02, backoff_longest_seconds=1)
    with Upstream(latency=0.1) as upstream:
        upstream.rule = lambda _: Behaviour(status=429) if upstream.in_flight > 8 else None
        model = ModelOptions(name="m", upstreams=(upstream.url,), max_concurrency=64)
        with Rig(tmp_path, [model], options=options) as rig:
            task_id = rig.submit([f"{n}" for n in range(400)])
            limit = ("m", upstream.url)
            rig.until(rig.engine.view.concurrency_limits, lambda limits: limits[limit] <= 32)
            assert rig.wait(task_id, 60).completed == 400


def test_the_span_of_latencies() -> None:
    """The mean weighted by itself: how long the places of the long answers are taken."""
    sample = Sample(5, 4 * 0.5 + 20, 4 * 0.25 + 400)
    assert sample.mean == pytest.approx(4.4)
    assert sample.span == pytest.approx(18.2, abs=0.1)
    assert Sample(3, 0.3, 0.03).doubt == pytest.approx(0, abs=1e-9)
