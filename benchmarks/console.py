"""What the console's pages ask of the service, with 5,000 ended tasks and 50 million events (SPEC §13).

    python -m benchmarks.console [--ended 5000 --calls-per-task 10000] [--folder kept]

Fills a data folder (some minutes, some GB; `--folder` keeps it), opens the services on it as `nightrate serve`
does, and asks what each page asks, p95. The reference, in the same run: counting the events by model, once, as
one would without rollups and ledger. Prints figures and ratios, judges nothing.
"""

import argparse
import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.statistics import MODELS, p95, rollups
from executor.batches import TaskFilter
from metering.access import ADMIN
from metering.calls import CallPart, Calls
from metering.clock import utc_now
from metering.glance import Glance
from metering.ledger import ChargeFilter, SummaryFilter
from metering.store import Store, Transaction
from nightrate.models import configured_models
from nightrate.services import Services, open_services
from nightrate.settings import load

PRICE = """
[[prices]]
model = "model-{number}"
currency = "CNY"
valid_from = 2026-01-01T00:00:00Z
tiers = [{{ input = "0.8", output = "2" }}]
"""
MODEL = """
[[models]]
name = "model-{number}"
upstreams = ["http://127.0.0.1:9/v1"]
"""
WORKSPACES = """
INSERT INTO workspaces (id, name, created_at, budget, currency)
SELECT DISTINCT workspace_id, 'Workspace ' || workspace_id, now(), 100000, 'CNY' FROM task_rollups
"""
ENDED = """
INSERT INTO tasks BY NAME
SELECT task_id AS id, workspace_id, api_key_id, '/v1/chat/completions' AS endpoint, 'file-' || task_id AS input_file_id,
    '24h' AS completion_window, 'Nightly run ' || (row_number() OVER (ORDER BY ended_at)) AS name, status,
    'completed' AS ending, model, currency, total, succeeded AS completed, failed, 1000 AS output_bytes,
    input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, list_amount, amount,
    ended_at - INTERVAL 15 MINUTE AS created_at, ended_at - INTERVAL 10 MINUTE AS in_progress_at,
    ended_at + INTERVAL 1 DAY AS expires_at, ended_at AS completed_at, ended_at
FROM task_rollups
"""
OTHERS = """
INSERT INTO tasks BY NAME
SELECT 'batch_' || md5('other' || i) AS id, 'ws_' || (i % 20) AS workspace_id, '/v1/chat/completions' AS endpoint,
    'file-x' || i AS input_file_id, '24h' AS completion_window, 'Refused ' || i AS name, 'failed' AS status,
    'model-' || (i % 10) AS model, '[{"code": "invalid_method", "message": "Write POST.", "param": "method", "line": 1}]' AS errors,
    now() - INTERVAL (i * 180) SECOND AS created_at, now() AS expires_at, now() AS failed_at
FROM range($others) t(i)
"""
CHARGES = """
INSERT INTO charges SELECT 'chg_' || task_id || sku, 'usage', NULL, task_id, workspace_id, api_key_id, r.model, sku, 'all',
    'standard', CASE sku WHEN 'input_tokens' THEN calls ELSE 0 END, input_tokens, 0.8, 0.4, list_amount, amount, amount,
    r.currency, ended_at, ended_at, strftime(ended_at AT TIME ZONE 'UTC', '%Y-%m'), price_id, NULL, NULL
FROM task_rollups r JOIN price_versions p ON p.model = r.model, (VALUES ('input_tokens'), ('output_tokens')) s(sku)
"""
ERRORS = """
INSERT INTO task_errors SELECT task_id, workspace_id, model, ended_at, answered, code, 5
FROM task_rollups, (VALUES (500, 'server_error'), (400, 'bad_request'), (NULL, 'timeout')) e(answered, code)
"""
EVENTS = """
INSERT INTO request_events
SELECT task_id, line::INTEGER, 'request-' || line, workspace_id, api_key_id, model, '/v1/chat/completions',
    'succeeded', 200, NULL, 'stop', false, 1, 0, 500 + hash(line) % 800, hash(line) % 200, 300, 50, false, moment, NULL,
    moment + INTERVAL 1 SECOND, 900 + hash(line + 1) % 400, NULL, 1000, 'http://10.0.0.5:8000/v1'
FROM (SELECT *, ended_at - INTERVAL ((calls - line) * 600000000 // calls) MICROSECOND AS moment
    FROM (SELECT * FROM task_rollups ORDER BY ended_at LIMIT $tasks OFFSET $first), range(1, $calls + 1) t(line))
"""
SCAN = "SELECT model, count(*), sum(output_tokens), avg(duration_ms) FROM request_events GROUP BY model"


PRICES = "".join(PRICE.format(number=number) for number in range(MODELS))
LISTED = "".join(MODEL.format(number=number) for number in range(MODELS))


def settings_file(folder: Path) -> Path:
    """Settings and prices of the models of the tasks."""
    (folder / "prices.toml").write_text(PRICES)
    written = folder / "nightrate.toml"
    written.write_text(f'[billing]\nprices = "prices.toml"\n{LISTED}')
    return written


def filled(folder: Path, ended: int, calls: int, others: int) -> Services:
    """The services over a folder, which is filled unless that was done."""
    folder.mkdir(exist_ok=True)
    new = not (folder / "data").exists()
    settings = load(settings_file(folder), os.environ)
    services = open_services(settings, os.environ, configured_models(settings), utc_now)
    if new:
        fill(services.store, ended, calls, others)
    return services


def fill(store: Store, ended: int, calls: int, others: int) -> None:
    """Tasks, rollups, charges and errors; then the events, some tasks at a time."""
    rows = [
        {**row, "task_id": f"batch_{hashlib.md5(row['task_id'].encode()).hexdigest()}"}
        for row in rollups(ended, calls)
    ]

    def enter(tx: Transaction) -> None:
        tx.insert("task_rollups", rows)
        tx.execute("ending.set_moment", at=rows[-1]["ended_at"])
        for statement in (WORKSPACES, ENDED, CHARGES, ERRORS):
            execute(tx, statement, {})
        execute(tx, OTHERS, {"others": others})

    store.write(enter)
    for first in range(0, ended, 100):
        values = {"tasks": 100, "first": first, "calls": calls}
        store.write(lambda tx, values=values: execute(tx, EVENTS, values))


def execute(tx: Transaction, statement: str, values: Mapping[str, int]) -> None:
    """A statement of this file."""
    tx._connection.execute(statement, values)


def questions(services: Services) -> Mapping[str, Callable[[], object]]:
    """What each page asks."""
    now = datetime.now(UTC)
    week, month = (now - timedelta(days=7)).isoformat(), now.strftime("%Y-%m")
    two_weeks = {"start": (now - timedelta(days=14)).isoformat()}
    before = {"start": (now - timedelta(days=14)).isoformat(), "end": week}
    batches, statistics, ledger, books = (
        services.batches,
        services.statistics,
        services.ledger,
        services.books,
    )
    glance, calls = Glance(services.store), Calls(services.store)
    some = batches.list(ADMIN, TaskFilter(statuses=("completed",), skip=70, limit=1)).data[0]
    charge = ChargeFilter(period=month, limit=50)
    return {
        "tasks: first page and count": lambda: page(services, TaskFilter()),
        "tasks: last page": lambda: page(services, TaskFilter(skip=batches.count(ADMIN, TaskFilter()) - 20)),
        "tasks: search by name": lambda: page(services, TaskFilter(search="run 40")),
        "tasks: search by id": lambda: page(services, TaskFilter(search=some.id[6:20])),
        "tasks: one workspace and status": lambda: page(
            services, TaskFilter(workspace_id="ws_3", statuses=("completed",))
        ),
        "a task": lambda: batches.get(ADMIN, some.id),
        "a task: latencies": lambda: glance.durations(ADMIN, some.id),
        "a task: errors": lambda: glance.errors(ADMIN, some.id),
        "a task: bill": lambda: ledger.charges(ADMIN, ChargeFilter(task_id=some.id, limit=50)),
        "a task: calls": lambda: calls.page(ADMIN, some.id, CallPart(), limit=50),
        "a task: sums of calls": lambda: calls.sums(ADMIN, some.id, CallPart()),
        "observation: 14 days": lambda: statistics.models(ADMIN, **two_weeks),
        "observation: 7 days": lambda: statistics.models(ADMIN, start=week),
        "observation: 7 days before": lambda: statistics.models(ADMIN, **before),
        "observation: small trends": lambda: glance.calls(ADMIN, now - timedelta(days=14), now, 24),
        "observation: whether it changed": glance.ended,
        "monitor: 14 days by hour": lambda: statistics.trend(ADMIN, "model-3", **two_weeks, interval="hour"),
        "monitor: failures": lambda: statistics.errors(ADMIN, "model-3", **two_weeks),
        "billing: cost per day and model": lambda: ledger.summary(
            ADMIN, SummaryFilter(group_by=("day", "model"), period=month)
        ),
        "billing: statements": lambda: books.statements.of(ADMIN, month),
        "billing: lines": lambda: ledger.charges(ADMIN, charge),
        "billing: sums of lines": lambda: ledger.sums(ADMIN, charge),
        "billing: what was not billed": lambda: books.unbilled.of(ADMIN, month),
        "billing: budgets": lambda: books.budgets.uses(ADMIN),
    }


def page(services: Services, wanted: TaskFilter) -> None:
    """A page of the list of tasks, and on how many it stands."""
    services.batches.list(ADMIN, wanted)
    services.batches.count(ADMIN, wanted)


def measure(services: Services, times: int) -> None:
    """All figures of one run."""
    with services.store.reading(600) as read:
        begun = time.perf_counter()
        counted = read._connection.execute(SCAN).fetchall()
        scan = (time.perf_counter() - begun) * 1000
    events, tasks = sum(row[1] for row in counted), services.batches.count(ADMIN, TaskFilter())
    print(f"\n{tasks:,} tasks, {events:,} events; p95")
    for name, ask in questions(services).items():
        milliseconds = p95(ask, times)
        print(f"  {name:<36}{milliseconds:>8.1f} ms   the scan / it = {scan / milliseconds:,.0f}")
    print(f"  {'counting the events by model':<36}{scan:>8.1f} ms")


def main() -> None:
    """Fills unless that was done, opens, asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ended", type=int, default=5000)
    parser.add_argument("--others", type=int, default=7000, help="tasks that failed validation")
    parser.add_argument("--calls-per-task", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=40)
    parser.add_argument("--folder", type=Path, help="keeps the data there, or finds it there")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = asked.folder or Path(name)
        services = filled(folder, asked.ended, asked.calls_per_task, asked.others)
        measure(services, asked.times)
        services.store.close()


if __name__ == "__main__":
    main()
