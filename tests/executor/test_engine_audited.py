"""What the engine delivers and bills is what the audit works out, whatever the upstream answers."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from executor.options import ExecutorOptions, ModelOptions
from metering.access import ADMIN
from metering.audit import Audit, AuditRequest
from metering.clock import utc_now
from metering.options import BillingOptions
from metering.prices import PriceBook
from tests.executor.engine_rig import Rig
from tests.upstream import Upstream

ANSWERS = [
    "hello",
    "@in=5 @out=0",
    "@in=100 @out=20 @cached=30 @reasoning=7",
    "@thinking",
    *(f"@usage={kind}" for kind in ("none", "null", "negative", "absurd", "fraction", "text", "parts")),
    "@status=400",
    "@status=500",
    "@broken",
    "@list",
    "@huge=300000",
]


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    options = ExecutorOptions(
        max_attempts=1, commit_interval_ms=20, backoff_first_seconds=0.02, cancel_grace_seconds=0.2
    )
    with Upstream() as upstream:
        model = ModelOptions(name="m", upstreams=(upstream.url,), max_concurrency=8, stream=request.param)
        with Rig(tmp_path, [model], options=options) as made:
            yield made


def test_all_that_is_delivered_is_verified(rig: Rig) -> None:
    """Usage of every kind and failures; a cancelled task and one that expired."""
    tasks = [
        rig.submit(ANSWERS),
        rig.submit(["hello", "@hang"], window=timedelta(seconds=3)),
    ]
    cancelled = rig.submit(["hello", "@hang", "@latency=9"])
    rig.until(lambda: rig.task(cancelled), lambda task: task.completed == 1)
    rig.cancel(cancelled)
    statuses = [rig.wait(task_id).status for task_id in (*tasks, cancelled)]
    assert statuses == ["completed", "expired", "cancelled"]
    prices = PriceBook.load(rig.data_dir / "prices.toml")
    prices.remember(rig.store)
    audit = Audit(rig.store, BillingOptions(), 400, prices.has, utc_now)
    report = audit.report(ADMIN, AuditRequest()).as_json()
    assert report["differences"] == []
    assert report["totals"]["verified"] == 3
    assert report["charges"] >= 4
