import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from executor.engine import Live
from executor.options import ExecutorOptions, ModelOptions
from tests.behaviour import Behaviour
from tests.executor.engine_rig import Rig
from tests.outages import FAULTS, begin, end
from tests.upstream import Upstream

FAST = ExecutorOptions(
    commit_interval_ms=20,
    backoff_first_seconds=0.02,
    probe_interval_seconds=0.1,
    max_attempts=3,
    cancel_grace_seconds=0.2,
    shutdown_grace_seconds=0.2,
)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(latency=0.02) as upstream:
        yield upstream


def model(upstream: Upstream, *others: Upstream, timeout: float = 0.5) -> ModelOptions:
    urls = (upstream.url, *(other.url for other in others))
    return ModelOptions(name="m", upstreams=urls, max_concurrency=16, timeout_seconds=timeout)


def waiting(rig: Rig, task_id: str) -> tuple[str, str | None] | None:
    live: Live | None = rig.engine.live(task_id)
    return live.waiting and (live.waiting.reason, live.waiting.upstream) if live else None


@pytest.mark.parametrize("fault", FAULTS)
def test_an_outage_fails_no_request_and_uses_up_no_attempt(
    tmp_path: Path, upstream: Upstream, fault: str
) -> None:
    """While an upstream is gone its tasks wait and say so; work resumes when it is back.

    With one attempt allowed, each that is used up would fail its request, those among them that were under
    way when it began, while shorter ones still succeeded, and that which was sent in spite of it when it ended.
    The time limit is long enough that a busy machine alone exceeds it for none.
    """
    options = FAST.model_copy(
        update={"max_attempts": 1, "outage_trial_seconds": 0.2, "probe_timeout_seconds": 0.3}
    )
    with Rig(tmp_path, [model(upstream, timeout=2)], options=options) as rig:
        task_id = rig.submit([f"{n} @latency={0.02 + n % 7 * 0.04:.2f}" for n in range(300)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 50)
        begin(upstream, fault)
        rig.until(lambda: waiting(rig, task_id), lambda w: w == ("outage", upstream.url))
        time.sleep(1)
        assert waiting(rig, task_id) == ("outage", upstream.url)
        assert rig.engine.view.upstreams_up() == {("m", upstream.url): 0, ("batch-test-model", "built-in"): 1}
        end(upstream)
        task = rig.wait(task_id)
        assert (task.completed, task.failed) == (300, 0)
        assert rig.engine.view.upstreams_up()["m", upstream.url] == 1


def test_poison_is_no_outage(tmp_path: Path, upstream: Upstream) -> None:
    """Requests that always fail end with their errors while the upstream's probes are healthy."""
    poison = ["@status=500", "@hang", "@reset", "@broken"]
    with Rig(tmp_path, [model(upstream)], options=FAST) as rig:
        task = rig.wait(rig.submit(["good", *poison]))
        assert (task.completed, task.failed) == (1, 4)
        alone = rig.wait(rig.submit(["@status=500 alone"]))
        assert (alone.completed, alone.failed) == (0, 1)
        assert rig.rows("SELECT DISTINCT attempts FROM request_events WHERE outcome = 'failed'") == [(3,)]
    assert upstream.probes > 0


def test_another_replica_goes_on(tmp_path: Path, upstream: Upstream) -> None:
    """With one of two replicas gone, the other does the work, and nothing fails."""
    with Upstream(latency=0.02) as second, Rig(tmp_path, [model(upstream, second)], options=FAST) as rig:
        task_id = rig.submit([f"{n}" for n in range(500)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 50)
        second.stop()
        task = rig.wait(task_id)
        assert (task.completed, task.failed) == (500, 0)
    assert upstream.total > 0


def test_a_replica_that_only_fails_is_left_alone(tmp_path: Path, upstream: Upstream) -> None:
    """It answers probes and fails at once, so it always has the fewest under way: it must not draw all requests."""
    with Upstream() as sick, Rig(tmp_path, [model(upstream, sick)], options=FAST) as rig:
        sick.rule = lambda _: Behaviour(status=500)
        task = rig.wait(rig.submit([f"{n}" for n in range(600)]))
        assert (task.completed, task.failed) == (600, 0)
        assert sick.total < 100
        poison = rig.wait(rig.submit([f"{n} @status=500" for n in range(10)]))
        assert (poison.completed, poison.failed) == (0, 10)
        sick.rule = None
        rig.wait(rig.submit([f"again {n}" for n in range(600)]))
        assert sick.total > 200


def test_a_replica_without_the_model_is_left_alone(tmp_path: Path, upstream: Upstream) -> None:
    """A 404 is final, and comes at once: a replica that has another model must not draw the task into failure."""
    with Upstream() as other, Rig(tmp_path, [model(other, upstream)], options=FAST) as rig:
        other.rule = lambda _: Behaviour(status=404)
        task = rig.wait(rig.submit([f"{n}" for n in range(600)]))
        assert task.completed + task.failed == 600
        assert 0 < task.failed < 100


@pytest.mark.parametrize("status", [429, 503])
def test_a_replica_that_only_pushes_back_holds_up_no_request(
    tmp_path: Path, upstream: Upstream, status: int
) -> None:
    """It never has anything under way, so it's the least loaded: a request must not be sent to it for ever."""
    with Upstream() as full, Rig(tmp_path, [model(full, upstream)], options=FAST) as rig:
        full.rule = lambda _: Behaviour(status=status)
        for requests in (1, 40):
            assert rig.wait(rig.submit([f"{n}" for n in range(requests)])).completed == requests


def test_an_upstream_that_pushes_all_back_is_asked_as_often_as_it_says(
    tmp_path: Path, upstream: Upstream
) -> None:
    """No request but those that were under way is sent before `Retry-After`, and every task says `rate_limit`."""
    upstream.rule = lambda _: Behaviour(status=429, retry_after="60")
    with Rig(tmp_path, [model(upstream)], options=FAST) as rig:
        first = rig.submit([f"{n}" for n in range(300)])
        rig.until(lambda: waiting(rig, first), lambda w: w == ("rate_limit", None))
        second = rig.submit(["never sent"])
        rig.until(lambda: waiting(rig, second), lambda w: w == ("rate_limit", None))
        time.sleep(1)
        assert 0 < upstream.total <= 16 + 5
        assert upstream.asked["never sent"] == 0
        for task_id in (first, second):
            rig.cancel(task_id)
            rig.wait(task_id)


def test_work_goes_on_by_itself_after_pushback_to_all(tmp_path: Path, upstream: Upstream) -> None:
    """What was never sent is sent when `Retry-After` is over, though no answer comes that would begin it."""
    upstream.rule = lambda _: Behaviour(status=429, retry_after="1")
    with Rig(tmp_path, [model(upstream)], options=FAST) as rig:
        task_id = rig.submit([f"{n}" for n in range(300)])
        rig.until(lambda: waiting(rig, task_id), lambda w: w == ("rate_limit", None))
        upstream.rule = None
        assert rig.wait(task_id).completed == 300


def test_a_wrong_key_for_one_request_is_its_own_failure(tmp_path: Path, upstream: Upstream) -> None:
    """403 to a request while the probe is healthy is final at once."""
    with Rig(tmp_path, [model(upstream)], options=FAST) as rig:
        task = rig.wait(rig.submit(["good", "@status=403"]))
        assert (task.completed, task.failed) == (1, 1)
        assert rig.rows("SELECT attempts, status_code FROM request_events WHERE outcome = 'failed'") == [
            (1, 403)
        ]


def test_pushback_to_all_is_a_rate_limit_with_the_upstream_up(tmp_path: Path, upstream: Upstream) -> None:
    """429 to everything says `rate_limit`, and uses up no attempt however long it lasts."""
    upstream.rule = lambda _: Behaviour(status=429)
    with Rig(tmp_path, [model(upstream)], options=FAST) as rig:
        task_id = rig.submit(["a", "b"])
        threading.Timer(1.5, lambda: setattr(upstream, "rule", None)).start()
        rig.until(lambda: waiting(rig, task_id), lambda w: w is not None and w[0] == "rate_limit")
        assert rig.engine.view.upstreams_up()["m", upstream.url] == 1
        assert rig.wait(task_id).completed == 2
        assert rig.rows("SELECT min(rate_limited_attempts) >= 3 FROM request_events") == [(True,)]


def test_an_outage_is_told_while_requests_hang_in_it(tmp_path: Path, upstream: Upstream) -> None:
    """What is still under way at a dead upstream doesn't hide why nothing moves."""
    with Rig(tmp_path, [model(upstream).model_copy(update={"timeout_seconds": 60})], options=FAST) as rig:
        task_id = rig.submit([*(f"{n} @hang" for n in range(4)), *(f"{n} @latency=0.2" for n in range(40))])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed > 0)
        upstream.models_status, upstream.rule = 500, lambda _: Behaviour(status=500)
        rig.until(lambda: waiting(rig, task_id), lambda w: w == ("outage", upstream.url))
        time.sleep(0.5)
        assert waiting(rig, task_id) == ("outage", upstream.url)
        rig.until(lambda: upstream.in_flight, lambda hanging: hanging == 4)
        rig.cancel(task_id)


def test_pushback_to_all_is_told_while_more_is_tried(tmp_path: Path, upstream: Upstream) -> None:
    """A large task goes on to ask, and is pushed back each time: that is no progress."""
    upstream.rule = lambda _: Behaviour(status=429, latency=0.1)
    with Rig(tmp_path, [model(upstream)], options=FAST) as rig:
        task_id = rig.submit([f"{n}" for n in range(300)])
        rig.until(lambda: waiting(rig, task_id), lambda w: w is not None and w[0] == "rate_limit")
        told = []
        for _ in range(100):
            told.append(waiting(rig, task_id))
            time.sleep(0.01)
        assert set(told) == {("rate_limit", None)}
        upstream.rule = None
        rig.until(lambda: waiting(rig, task_id), lambda w: w is None)
        rig.wait(task_id)


def test_pushback_to_all_is_told_after_pushback_to_some(tmp_path: Path, upstream: Upstream) -> None:
    """A request that was pushed back while others were answered, and still waits, doesn't hide it."""
    upstream.rule = lambda seen: Behaviour(status=429, retry_after="60") if seen.prompt == "0" else None
    with Rig(tmp_path, [model(upstream)], options=FAST) as rig:
        task_id = rig.submit([f"{n}" for n in range(5000)])
        rig.until(lambda: rig.task(task_id), lambda task: task.completed >= 200)
        upstream.rule = lambda _: Behaviour(status=429, latency=0.1)
        rig.until(lambda: waiting(rig, task_id), lambda w: w is not None)
        time.sleep(2)
        told = []
        for _ in range(100):
            told.append(waiting(rig, task_id))
            time.sleep(0.01)
        assert set(told) == {("rate_limit", None)}
        rig.cancel(task_id)
        rig.wait(task_id)


@pytest.mark.parametrize(("broken", "poison"), [(500, "@status=500"), (403, "@status=403")])
def test_a_broken_models_route_is_no_outage_while_requests_succeed(
    tmp_path: Path, upstream: Upstream, broken: int, poison: str
) -> None:
    """A poisonous request among good ones ends with its error, and the good ones don't wait for it."""
    upstream.models_status = broken
    with Rig(tmp_path, [model(upstream)], options=FAST.model_copy(update={"max_attempts": 2})) as rig:
        task_id = rig.submit([poison, *(f"{n} @latency={0.01 + n % 5 * 0.02:.2f}" for n in range(600))])
        rig.until(lambda: rig.task(task_id), lambda task: task.failed == 1)
        task = rig.wait(task_id)
        assert (task.completed, task.failed) == (600, 1)


def test_a_broken_models_route_does_not_stop_everything(tmp_path: Path, upstream: Upstream) -> None:
    """An upstream that answers requests but never a probe is found alive by a trial request."""
    options = FAST.model_copy(update={"outage_trial_seconds": 0.5})
    upstream.models_status = 500
    with Rig(tmp_path, [model(upstream)], options=options) as rig:
        task = rig.wait(rig.submit(["@status=500 @times=1", *(f"{n}" for n in range(40))]))
        assert task.completed == 41


def test_what_waits_for_one_model_leaves_room_for_others(tmp_path: Path, upstream: Upstream) -> None:
    """A rate-limited model's requests wait with their bodies; another model's requests go out meanwhile."""
    options = FAST.model_copy(update={"in_flight_bytes": 100_000, "backoff_first_seconds": 1})
    with Upstream() as other:
        upstream.rule = lambda _: Behaviour(status=429, retry_after="60")
        models = [model(upstream), model(other).model_copy(update={"name": "other"})]
        with Rig(tmp_path, models, options=options) as rig:
            limited = rig.submit([f"{n} {'x' * 5000}" for n in range(100)])
            rig.until(lambda: waiting(rig, limited), lambda w: w is not None and w[0] == "rate_limit")
            assert upstream.total < 100
            assert rig.wait(rig.submit([f"{n}" for n in range(100)], model="other")).completed == 100
            rig.cancel(limited)
