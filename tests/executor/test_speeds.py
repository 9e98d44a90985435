import pytest

from executor.live import Speeds


def test_long_requests_that_end_together_have_a_steady_rate() -> None:
    """16 requests of a minute each, all at once: the rate is 16 a minute at every moment between two rounds."""
    speeds = Speeds()
    for done in range(1, 8):
        speeds.add_at(done * 60.0, "t", 10, 60.0)
        speeds.add_at(done * 60.0 + 0.3, "t", 6, 60.0)
        for after in (0.5, 20, 40, 59.9):
            rate = speeds.per_second_at(done * 60 + after, "t", 0.0, 60.0)
            assert rate == pytest.approx(16 / 60, rel=0.05)


def test_long_requests_that_end_all_the_time_have_a_steady_rate() -> None:
    """64 requests of five minutes each, one ending every few seconds: no round is forgotten."""
    speeds, rates = Speeds(), []
    for number in range(1, 1000):
        speeds.add_at(number * 4.7, "t", 1, 300.0)
        if number > 200:
            rates.append(speeds.per_second_at(number * 4.7, "t", 0.0, 300.0))
    assert min(rates) == pytest.approx(1 / 4.7, rel=0.05)
    assert max(rates) == pytest.approx(1 / 4.7, rel=0.05)


def test_short_requests_are_judged_by_half_a_minute() -> None:
    """A change of pace is seen within half a minute."""
    speeds = Speeds()
    for tick in range(1, 201):
        speeds.add_at(tick * 0.25, "t", 25, 0.05)
    assert speeds.per_second_at(50.0, "t", 0.0, 0.05) == pytest.approx(100, rel=0.06)
    for tick in range(201, 401):
        speeds.add_at(tick * 0.25, "t", 5, 0.05)
    assert speeds.per_second_at(100.0, "t", 0.0, 0.05) == pytest.approx(20, rel=0.06)


def test_a_stall_lowers_the_rate_until_it_is_nought() -> None:
    """A task that stands still loses its rate, at the latest when the time looked at holds nothing."""
    speeds = Speeds()
    for tick in range(1, 40):
        speeds.add_at(float(tick), "t", 10, 0.5)
    rates = [speeds.per_second_at(39.0 + after, "t", 0.0, 0.5) for after in (0, 10, 20, 29, 31)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] == pytest.approx(10, rel=0.05)
    assert rates[-1] == 0


def test_a_new_run_forgets_the_old_one() -> None:
    """After a restart of the task, what was committed before counts no more."""
    speeds = Speeds()
    speeds.add_at(10.0, "t", 1000)
    speeds.add_at(21.0, "t", 10)
    assert speeds.per_second_at(21.0, "t", 20.0) == pytest.approx(10)
    assert speeds.per_second_at(21.0, "other", 20.0) == 0
