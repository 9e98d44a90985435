import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from metering.lake.publishing import gauges
from metering.live_figures import STATUSES, upstream_label
from metering.metrics import Metrics
from tests.metering.billed import FAILED, NOON, UNMETERED, ended, event, rows
from tests.metering.counted import Night, promtool

CONFIG = Path(__file__).parents[2] / "config" / "prometheus"
UPSTREAM = "http://user:secret@host:9000/v1"
MODELS = (("qwen-plus", (UPSTREAM, "http://other:9000/v1")), ("batch-test-model", ()))
Sample = tuple[str, tuple[tuple[str, str], ...]]


class Standing:
    """An engine that stands still."""

    def in_flight(self) -> dict[str, int]:
        return {"qwen-plus": 3}

    def pending(self) -> dict[str, int]:
        return {"qwen-plus": 40}

    def oldest_pending_seconds(self) -> float:
        return 12.5

    def concurrency_limits(self) -> dict[tuple[str, str], int]:
        return {("qwen-plus", UPSTREAM): 64}

    def upstreams_up(self) -> dict[tuple[str, str], int]:
        return {("qwen-plus", UPSTREAM): 0}

    def recorder_queue(self) -> int:
        return 7

    def tasks_by_status(self) -> dict[str, int]:
        return {"in_progress": 2}


@pytest.fixture
def night(tmp_path: Path) -> Iterator[Night]:
    made = Night(tmp_path)
    yield made
    made.store.close()


def metrics_of(night: Night, **options: int) -> Metrics:
    return Metrics(MODELS, night.store, "1.2.3", **options)


def samples(metrics: Metrics, openmetrics: bool = False) -> dict[Sample, float]:
    body, _ = metrics.render(openmetrics)
    parse: Callable[..., object] = parse_openmetrics if openmetrics else parse_text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse(body.decode())  # type: ignore[attr-defined]
        for sample in family.samples
        if not sample.name.startswith("process_")
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return samples(metrics).get((name, tuple(sorted(labels.items()))))


def busy(night: Night) -> Metrics:
    """Everything that can be counted has been."""
    night.store.write(
        lambda tx: tx.insert(
            "workspaces",
            [{"id": "default", "name": 'The "first"\n\\', "created_at": NOON, "disabled": False}],
        )
    )
    metrics = metrics_of(night)
    metrics.attempt("qwen-plus", UPSTREAM, "200")
    metrics.attempt("qwen-plus", UPSTREAM, "timeout")
    metrics.validation_error("invalid_json_line", 3)
    metrics.commit(0.004, 20)
    calls = [{"first_token_ms": 80.0, "cached_input_tokens": 4, "reasoning_tokens": 2}, FAILED, UNMETERED]
    for one in night.task(NOON - timedelta(hours=1), calls):
        metrics.outcomes([one])
    metrics.task_ended("default", "qwen-plus", "completed")
    metrics.refresh()
    metrics.watch(Standing())
    metrics.watch_lake(lambda: gauges(up=True, complete_at=0))
    return metrics


def test_promtool_finds_nothing(night: Night) -> None:
    """At the very start and when everything has been counted."""
    quiet = metrics_of(night)
    assert promtool("check", "metrics", stdin=quiet.render(False)[0]) == ""
    metrics = busy(night)
    assert promtool("check", "metrics", stdin=metrics.render(False)[0]) == ""
    metrics.stop()


def test_both_formats_are_read_by_prometheus_clients_parsers(night: Night) -> None:
    """And say the same, whatever characters a name has."""
    metrics = busy(night)
    text, openmetrics = samples(metrics), samples(metrics, openmetrics=True)
    metrics.stop()
    assert text == openmetrics
    assert ("nightrate_workspace_info", (("name", 'The "first"\n\\'), ("workspace", "default"))) in text
    assert metrics.render(False)[1] == "text/plain; version=0.0.4; charset=utf-8"
    assert metrics.render(True)[1].startswith("application/openmetrics-text; version=1.0.0")
    assert metrics.render(True)[0].count(b"# EOF\n") == 1


def test_every_configured_model_and_upstream_has_series_from_the_start(night: Night) -> None:
    """At 0, so that the first failure is a rise; without anybody's password."""
    metrics = metrics_of(night)
    for model, _ in MODELS:
        for outcome in ("succeeded", "failed"):
            assert (
                value(metrics, "nightrate_requests_total", workspace="default", model=model, outcome=outcome)
                == 0
            )
        for kind in ("input", "cached_input", "output", "reasoning"):
            assert value(metrics, "nightrate_tokens_total", workspace="default", model=model, type=kind) == 0
        assert value(metrics, "nightrate_request_duration_seconds_count", model=model) == 0
    for upstream in ("http://host:9000/v1", "http://other:9000/v1"):
        assert (
            value(metrics, "nightrate_attempts_total", model="qwen-plus", upstream=upstream, code="200") == 0
        )
    assert (
        value(metrics, "nightrate_attempts_total", model="batch-test-model", upstream="built-in", code="200")
        == 0
    )
    assert b"secret" not in metrics.render(False)[0]
    assert upstream_label("http://host/v1") == "http://host/v1"


def test_outcomes_are_counted_as_they_come(night: Night) -> None:
    """Durations and tokens of succeeded calls, histograms in seconds."""
    metrics = metrics_of(night)
    task = ended()
    metrics.outcomes(
        [event(task, 1, duration_ms=2000.0, first_token_ms=90.0, input_tokens=7, cached_input_tokens=3)]
    )
    metrics.outcomes([event(task, 2, duration_ms=100.0)])
    metrics.outcomes([event(task, 3, **FAILED, duration_ms=9000.0)])
    metrics.outcomes([event(task, 4, **UNMETERED, duration_ms=1_000_000_000.0)])
    pair = {"workspace": "default", "model": "qwen-plus"}
    assert value(metrics, "nightrate_requests_total", **pair, outcome="succeeded") == 3
    assert value(metrics, "nightrate_requests_total", **pair, outcome="failed") == 1
    assert value(metrics, "nightrate_tokens_total", **pair, type="input") == 17
    assert value(metrics, "nightrate_tokens_total", **pair, type="cached_input") == 3
    name = "nightrate_request_duration_seconds"
    assert value(metrics, f"{name}_bucket", model="qwen-plus", le="0.1") == 1
    assert value(metrics, f"{name}_bucket", model="qwen-plus", le="2.5") == 2
    assert (
        value(metrics, f"{name}_bucket", model="qwen-plus", le="+Inf")
        == value(metrics, f"{name}_count", model="qwen-plus")
        == 3
    )
    assert value(metrics, f"{name}_sum", model="qwen-plus") == pytest.approx(1_000_002.1)
    assert value(metrics, "nightrate_time_to_first_token_seconds_count", model="qwen-plus") == 1


def test_no_outcome_is_lost_between_threads(night: Night) -> None:
    """Eight threads count, a ninth scrapes."""
    metrics = metrics_of(night)
    one = event(ended(), 1)

    def count() -> None:
        for _ in range(2000):
            metrics.outcomes([one])
            metrics.attempt("qwen-plus", UPSTREAM, "200")

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        metrics.render(openmetrics=True)
    assert (
        value(
            metrics, "nightrate_requests_total", workspace="default", model="qwen-plus", outcome="succeeded"
        )
        == 16_000
    )
    assert (
        value(
            metrics, "nightrate_attempts_total", model="qwen-plus", upstream="http://host:9000/v1", code="200"
        )
        == 16_000
    )


def test_gauges_tell_what_is_true_now(night: Night) -> None:
    """Every status and every upstream has its series, though nobody spoke of it."""
    metrics = metrics_of(night)
    metrics.watch(Standing())
    assert value(metrics, "nightrate_tasks", status="in_progress") == 2
    assert all(
        value(metrics, "nightrate_tasks", status=status) == 0
        for status in STATUSES
        if status != "in_progress"
    )
    assert value(metrics, "nightrate_requests_in_flight", model="qwen-plus") == 3
    assert value(metrics, "nightrate_requests_in_flight", model="batch-test-model") == 0
    assert value(metrics, "nightrate_requests_pending", model="qwen-plus") == 40
    assert value(metrics, "nightrate_oldest_pending_request_seconds") == 12.5
    assert (
        value(metrics, "nightrate_concurrency_limit", model="qwen-plus", upstream="http://host:9000/v1") == 64
    )
    assert value(metrics, "nightrate_upstream_up", model="qwen-plus", upstream="http://host:9000/v1") == 0
    assert value(metrics, "nightrate_upstream_up", model="qwen-plus", upstream="http://other:9000/v1") == 1
    assert value(metrics, "nightrate_recorder_queue_events") == 7
    assert (value(metrics, "nightrate_database_bytes") or 0) > 0
    metrics.stop()


def test_the_ledgers_part_follows_the_end_of_a_task(night: Night) -> None:
    """Without a scrape having asked for it, and it equals the ledger."""
    metrics = metrics_of(night)
    metrics.watch(Standing())
    night.task(NOON, [{}, {}, FAILED, UNMETERED])
    metrics.task_ended("default", "qwen-plus", "completed")
    pair = {"workspace": "default", "model": "qwen-plus"}
    deadline = time.monotonic() + 60
    while value(metrics, "nightrate_billed_requests_total", **pair) != 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    metrics.stop()
    charges = rows(night.store, "charges")
    amount = sum((row["amount"] for row in charges), Decimal(0))
    assert value(metrics, "nightrate_billed_requests_total", **pair) == 2
    assert value(metrics, "nightrate_billed_tokens_total", **pair, sku="input_tokens") == 20
    assert value(metrics, "nightrate_billed_tokens_total", **pair, sku="output_tokens") == 10
    assert value(metrics, "nightrate_billed_amount_total", **pair, currency="CNY") == pytest.approx(
        float(amount)
    )
    assert value(metrics, "nightrate_list_amount_total", **pair, currency="CNY") == pytest.approx(
        float(amount * 2)
    )
    assert value(metrics, "nightrate_credited_amount_total", **pair, currency="CNY") == 0
    assert value(metrics, "nightrate_unmetered_requests_total", **pair) == 1
    assert value(metrics, "nightrate_tasks_ended_total", **pair, status="completed") == 1


def test_a_reversal_is_credited_and_lowers_nothing(night: Night) -> None:
    """Billed minus credited is the ledger; a replacement is billed."""
    night.task(NOON, [{}])
    (original,) = [row for row in rows(night.store, "charges") if row["sku"] == "output_tokens"]
    signed = ("requests", "quantity", "list_amount", "discount_amount", "amount")
    reversal = {
        **original,
        "charge_id": "r",
        "kind": "correction",
        "corrects": original["charge_id"],
        **{name: -original[name] for name in signed},
    }
    replacement = {**original, "charge_id": "p", "kind": "correction", "corrects": original["charge_id"]}
    before = metrics_of(night)
    night.store.write(lambda tx: tx.insert("charges", [reversal, replacement]))
    after = metrics_of(night)
    labels = {"workspace": "default", "model": "qwen-plus", "currency": "CNY"}
    billed = [value(metrics, "nightrate_billed_amount_total", **labels) or 0 for metrics in (before, after)]
    credited = value(after, "nightrate_credited_amount_total", **labels)
    assert credited == pytest.approx(float(original["amount"]))
    assert billed[1] - billed[0] == pytest.approx(credited)


def test_the_ledgers_part_is_the_same_after_a_restart(night: Night) -> None:
    """What is live begins anew, and what was billed does not."""
    first = busy(night)
    first.stop()
    again = metrics_of(night)

    def billed(metrics: Metrics) -> dict[Sample, float]:
        names = (
            "nightrate_billed",
            "nightrate_list",
            "nightrate_unmetered",
            "nightrate_credited",
            "nightrate_workspace",
        )
        return {key: number for key, number in samples(metrics).items() if key[0].startswith(names)}

    assert billed(again) == billed(first)
    assert (
        value(again, "nightrate_requests_total", workspace="default", model="qwen-plus", outcome="succeeded")
        == 0
    )


def test_labels_are_capped_and_no_counter_ever_falls(night: Night) -> None:
    """What is over the cap is summed under `_other`, and stays there whoever comes first next time."""
    for n in (1, 2, 3):
        night.task(NOON - timedelta(hours=4 - n), workspace_id=f"ws_{n}")
    first = metrics_of(night, max_label_values=3)  # the default workspace is one of the three
    for n in (4, 3, 2, 1):
        first.outcomes([event(ended(workspace_id=f"ws_{n}"), 1)])
    first.refresh()
    seen = samples(first)
    night.task(NOON, workspace_id="ws_0")
    again = metrics_of(night, max_label_values=100)
    for key, number in samples(again).items():
        if key[0].startswith("nightrate_billed"):
            assert number >= seen.get(key, 0)
    labels = {"model": "qwen-plus"}
    assert value(first, "nightrate_billed_requests_total", workspace="_other", **labels) == 1
    assert value(first, "nightrate_requests_total", workspace="_other", outcome="succeeded", **labels) == 2
    assert value(again, "nightrate_billed_requests_total", workspace="_other", **labels) == 1
    assert value(again, "nightrate_billed_requests_total", workspace="ws_0", **labels) == 1
    assert value(again, "nightrate_billed_requests_total", workspace="ws_3", **labels) is None


def test_a_scrape_reads_nothing_from_the_database(tmp_path: Path) -> None:
    """It costs the same whatever the number of events: it works on a closed store."""
    night = Night(tmp_path)
    metrics = metrics_of(night)
    before = samples(metrics)
    night.store.close()
    after = samples(metrics)
    assert before.keys() == after.keys()


def test_every_metric_is_documented(night: Night) -> None:
    """With its name as Prometheus shows it, its type and its labels, in docs/metrics.md; and no other is."""
    metrics = busy(night)
    shown = {
        line.split()[2]
        for line in metrics.render(False)[0].decode().splitlines()
        if line.startswith("# TYPE nightrate_")
    }
    metrics.stop()
    text = (CONFIG.parents[1] / "docs" / "metrics.md").read_text("utf-8")
    documented = {
        line.split("`")[1].partition("{")[0] for line in text.splitlines() if line.startswith("| `nightrate_")
    }
    assert documented == shown


def test_the_shipped_prometheus_files_are_right(tmp_path: Path) -> None:
    """The scrape config, the rules, and what the rules say of a good and of a bad night."""
    folder = tmp_path / "prometheus"
    shutil.copytree(CONFIG, folder)
    (folder / "nightrate.token").write_text("a-token")
    assert "SUCCESS" in promtool("check", "config", str(folder / "prometheus.yml"))
    assert "SUCCESS" in promtool("check", "rules", str(folder / "rules.yml"))
    assert "SUCCESS" in promtool("test", "rules", str(folder / "rules_test.yml"))


def test_rules_speak_of_metrics_that_exist(night: Night) -> None:
    """A renamed metric would make an alert silent."""
    metrics = busy(night)
    known = {name for name, _ in samples(metrics)}
    metrics.stop()
    words = (
        (CONFIG / "rules.yml")
        .read_text("utf-8")
        .replace("(", " ")
        .replace("{", " ")
        .replace("[", " ")
        .split()
    )
    used = {word for word in words if word.startswith("nightrate_")}
    assert used
    assert used <= known
