"""The real service as a subprocess, as an operator starts it."""

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRICES = """\
[[prices]]
model = "priced"
currency = "USD"
valid_from = 2026-01-01T00:00:00Z
source = "the test"
tiers = [{ input = "1", output = "2" }]
"""


def settings_file(folder: Path, more: str = "", prices: str = PRICES) -> Path:
    """Settings on a free port with a data folder of their own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prices.toml").write_text(prices)
    file = folder / "nightrate.toml"
    file.write_text(f"[server]\nport = 0\n\n[storage]\nmin_free_bytes = 0\n\n{more}")
    return file


@dataclass
class Service:
    """A running service and what it printed when it had started."""

    process: "subprocess.Popen[str]"
    printed: str
    url: str
    errors: Path

    def stop(self, seconds: float = 60) -> int:
        """SIGTERM; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def environment(**more: str) -> dict[str, str]:
    """The test's environment without settings of whoever runs it."""
    return {k: v for k, v in os.environ.items() if not k.startswith("NIGHTRATE_")} | more


def start(config: Path, **env: str) -> Service:
    """Starts the service and waits until it says where it runs."""
    errors = config.parent / "stderr.log"
    with errors.open("a") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "nightrate.serve", str(config)],
            cwd=ROOT,
            env=environment(**env),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    printed, deadline = "", time.monotonic() + 60
    while "print(batch.id" not in printed:
        line = process.stdout.readline()
        assert line, f"the service ended with {process.wait()}: {errors.read_text()}"
        assert time.monotonic() < deadline
        printed += line
    found = re.search(r"runs at (\S+)", printed)
    assert found is not None
    return Service(process, printed, found[1], errors)


def refused(config: Path, **env: str) -> tuple[int, str]:
    """Starts a service that can't; gives its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "nightrate.serve", str(config)],
        cwd=ROOT,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stderr
