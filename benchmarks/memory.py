"""How much memory a large file takes above idle, from upload to result (SPEC §13: 200 MB).

    python -m benchmarks.memory

A file of 500 MB in 50,000 lines; one of lines just below 6 MB with 5,000 requests allowed in flight; and the
first again while 500 small tasks wait behind it. The most that the service's process ever holds is the
kernel's own figure (VmHWM), set back before each run. Prints megabytes, judges nothing.
"""

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.loops import Load
from benchmarks.surroundings import Server, our_server, slow_upstream

MEGA = 1_000_000


@dataclass(frozen=True)
class Trial:
    """One file, and how many small tasks wait behind it."""

    name: str
    load: Load
    waiting: int = 0


def held(server: Server, field: str) -> float:
    """Megabytes that the service's process holds now (VmRSS) or held at most (VmHWM)."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / MEGA


def measure(trial: Trial, folder: Path, latency_seconds: float) -> None:
    """Warms the service with a small task, then runs the large one."""
    small, large = folder / "small.jsonl", folder / "large.jsonl"
    Load(20, 1, 1000).write(small)
    trial.load.write(large)
    size = large.stat().st_size
    with (
        slow_upstream(folder, latency_seconds) as url,
        our_server(folder / "ours", url, trial.load.concurrency) as server,
    ):
        server.run(server.submit(small))
        time.sleep(1)
        idle = held(server, "VmRSS")
        Path(f"/proc/{server.pid}/clear_refs").write_text("5")  # sets the peak back
        task_id = server.submit(large)
        for _ in range(trial.waiting):
            server.submit(small)
        run = server.run(task_id)
        most = held(server, "VmHWM")
    if run.batch["status"] != "completed":
        raise SystemExit(f"the task did not go through: {run.batch['status']}")
    print(
        f"{trial.name}: {size / MEGA:,.0f} MB, {trial.load.requests:,} lines, {trial.load.concurrency:,} allowed in "
        f"flight: {most - idle:,.0f} MB above idle ({idle:,.0f} MB), {most / (size / MEGA):.2f} of the file in all"
    )


def main() -> None:
    """Measures each trial with a service of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency", type=float, default=0.2, help="seconds that the upstream takes")
    options = parser.parse_args()
    many = Load(50_000, 512, 9800)
    for trial in (
        Trial("many lines", many),
        Trial("long lines", Load(80, 5000, 5_900_000)),
        Trial("many lines, tasks waiting", many, waiting=500),
    ):
        with tempfile.TemporaryDirectory() as folder:
            measure(trial, Path(folder), options.latency)


if __name__ == "__main__":
    main()
