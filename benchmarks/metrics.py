"""How long a scrape of /metrics takes with 50 workspaces and 20 models, beside prometheus_client's own writing.

    python -m benchmarks.metrics [--workspaces 50 --models 20]

A real service whose workspaces have all called all models, in the ledger and live. The reference, in the same
run: `generate_latest` of prometheus_client over the very samples that the scrape gave. Prints figures and
ratios, judges nothing.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests
import uvicorn
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.surroundings import ADMIN_KEY, free_port, running, until_ready
from metering.event import Event
from metering.metric_ledger import Collected
from metering.store import Transaction
from nightrate.app import build
from nightrate.settings import load

MODEL = """
[[models]]
name = "model-{number}"
upstreams = ["http://127.0.0.1:9/v1"]
"""
PRICE = """
[[prices]]
model = "model-{number}"
currency = "CNY"
valid_from = 2026-01-01T00:00:00Z
tiers = [{{ input = "0.8", output = "2" }}]
"""
WORKSPACES = """
INSERT INTO workspaces (id, name, created_at) SELECT 'ws_' || i, 'Workspace ' || i, now() FROM range($workspaces) t(i)
"""
CHARGES = """
INSERT INTO charges SELECT 'chg_' || i || model || sku, 'usage', NULL, 'batch_' || i, 'ws_' || i, 'key_1',
    model, sku, 'all', 'standard', 10, 12345 + i, 0.8, 0.4, 0.0098765, 0.00493825, 0.00493825,
    'CNY', now(), now(), '2026-11', price_id, NULL, NULL
FROM range($workspaces) t(i), price_versions, (VALUES ('input_tokens'), ('output_tokens')) s(sku)
"""


def event(workspace: int, model: int) -> Event:
    """A call that succeeded."""
    now = datetime.now(UTC)
    return Event(
        f"batch_{workspace}", 1, "c", f"ws_{workspace}", "key_1", f"model-{model}", "/v1/chat/completions", "succeeded",
        200, None, "stop", False, 1, 0, 900, 100, 300, 50, False, now, now, now, 1234.5, 78.9, 1234.5, None,
    )  # fmt: skip


def settings_file(folder: Path, port: int, models: int) -> Path:
    """Settings and prices of so many models."""
    (folder / "prices.toml").write_text("".join(PRICE.format(number=number) for number in range(models)))
    written = folder / "nightrate.toml"
    listed = "".join(MODEL.format(number=number) for number in range(models))
    written.write_text(f'[server]\nport = {port}\n[billing]\nprices = "prices.toml"\n{listed}')
    return written


def serve(settings_file: Path, workspaces: int, models: int) -> None:
    """The real service in which every workspace has called every model; runs until it is told to stop."""
    settings = load(settings_file, os.environ)
    app, services = build(settings, os.environ)

    def fill(tx: Transaction) -> None:
        for statement in (WORKSPACES, CHARGES):
            tx._connection.execute(statement, {"workspaces": workspaces})

    services.store.write(fill)
    pairs = [(workspace, model) for workspace in range(workspaces) for model in range(models)]
    services.metrics.outcomes([event(*pair) for pair in pairs])
    uvicorn.run(app, port=settings.server.port, log_level="warning")


def milliseconds(ask: Callable[[], object], times: int) -> tuple[float, float]:
    """Median and p95."""
    ask()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        ask()
        taken.append((time.perf_counter() - begun) * 1000)
    return sorted(taken)[times // 2], sorted(taken)[-(-95 * times // 100) - 1]


def measure(url: str, times: int) -> None:
    """All figures of one run."""
    session = requests.Session()
    session.trust_env = False
    session.headers["authorization"] = f"Bearer {ADMIN_KEY}"

    def scrape(accept: str = "text/plain") -> Any:
        reply = session.get(f"{url}/metrics", headers={"accept": accept}, timeout=30)
        reply.raise_for_status()
        return reply.text

    time.sleep(1)  # the ledger's part is read off the scrape, also after the start
    text = scrape()
    registry = CollectorRegistry(auto_describe=False)
    families = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
    registry.register(Collected(families))
    samples = sum(len(family.samples) for family in families)
    asked = {
        "GET /healthz, the floor": lambda: session.get(f"{url}/healthz", timeout=30),
        "GET /metrics": scrape,
        "GET /metrics, OpenMetrics": lambda: scrape("application/openmetrics-text"),
        "generate_latest of the same": lambda: generate_latest(registry),
    }
    found = {name: milliseconds(ask, times) for name, ask in asked.items()}
    reference = found["generate_latest of the same"][0]
    print(f"\n{samples:,} samples, {len(text):,} bytes")
    for name, (median, p95) in found.items():
        print(
            f"  {name:<32}{median:>8.1f} ms, p95 {p95:>6.1f} ms   the reference / it = {reference / median:.1f}"
        )


def main() -> None:
    """Fills, serves in another process, asks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspaces", type=int, default=50)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.workspaces, asked.models)
        return
    with tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        settings = settings_file(folder, port, asked.models)
        sizes = ["--workspaces", str(asked.workspaces), "--models", str(asked.models)]
        command = [sys.executable, "-m", "benchmarks.metrics", "--serve", str(settings), *sizes]
        with running(command, folder / "server.log") as process:
            until_ready(f"http://127.0.0.1:{port}/readyz", process, folder / "server.log")
            measure(f"http://127.0.0.1:{port}", asked.times)


if __name__ == "__main__":
    main()
