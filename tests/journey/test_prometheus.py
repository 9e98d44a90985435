import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.ports import reserved_port
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: nightrate
    authorization: {{credentials_file: {key}}}
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def ask(url: str, query: str) -> list[tuple[dict[str, str], float]]:
    """What Prometheus answers to an instant query."""
    with urllib.request.urlopen(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query})}") as reply:
        result = json.load(reply)["data"]["result"]
    return [(row["metric"], float(row["value"][1])) for row in result]


@contextmanager
def prometheus(folder: Path, service: Server) -> Iterator[str]:
    """A real Prometheus that scrapes the service; gives its address."""
    address = f"127.0.0.1:{reserved_port()}"
    (folder / "key").write_text(ADMIN_KEY)
    (folder / "prometheus.yml").write_text(CONFIG.format(key=folder / "key", port=service.port))
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(30)


def eventually(url: str, query: str, wanted: float) -> dict[str, str]:
    """Waits until a query has this one value; gives its labels."""
    deadline = time.monotonic() + 60
    found: object = None
    while time.monotonic() < deadline:
        try:
            found = ask(url, query)
        except OSError as error:
            found = error
        if isinstance(found, list) and len(found) == 1 and found[0][1] == pytest.approx(wanted, rel=1e-12):
            return found[0][0]
        time.sleep(0.2)
    raise AssertionError(f"{query} is {found}, not {wanted}")


def test_a_real_prometheus_shows_the_bill(tmp_path: Path) -> None:
    """Prometheus scrapes the service with its key, and shows the ledger's amounts; also after a restart."""
    with (
        Upstream() as upstream,
        Server(tmp_path / "service", upstream.url) as server,
        prometheus(tmp_path, server) as url,
    ):
        eventually(url, "up", 1)
        eventually(url, 'nightrate_billed_requests_total{model="m"} or vector(0)', 0)
        batch = server.wait(server.submit([f"{n} @in=100 @out=10" for n in range(30)]))
        amount = float(batch["nightrate"]["amount"])
        labels = eventually(url, "nightrate_billed_amount_total", amount)
        assert (labels["workspace"], labels["model"], labels["currency"]) == ("default", "m", "USD")
        eventually(url, 'nightrate_requests_total{outcome="succeeded",model="m"}', 30)
        assert server.stop() == 0
        eventually(url, "up", 0)
        server.start()
        eventually(url, "up", 1)
        eventually(url, "nightrate_billed_amount_total", amount)
        eventually(url, "max_over_time(nightrate_billed_amount_total[1m])", amount)
