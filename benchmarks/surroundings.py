"""What is measured and what it is measured against, each as a real process: our server, nginx, a slow upstream."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from executor.upstream import HttpUpstream
from executor.wire.origin import tls_context
from executor.wire.sockets import Sockets

ROOT = Path(__file__).parent.parent
NGINX = Path("/usr/sbin/nginx")
ADMIN_KEY = "benchmark-admin-key-0123456789"
ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1700000000,
    "model": "fast",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Good."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220},
}
NGINX_CONF = """
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log crit;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; client_body_buffer_size 64k;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  default_type application/json;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /v1/chat/completions {{ return 200 '{answer}'; }}
    location = /v1/models {{ return 200 '{{"object":"list","data":[]}}'; }}
  }}
}}
"""
SETTINGS = """
[server]
port = {port}
[storage]
data_dir = "data"
min_free_bytes = 0
[billing]
prices = "prices.toml"
[[models]]
name = "fast"
upstreams = ["{upstream}"]
max_concurrency = {concurrency}
free = true
"""


def free_port() -> int:
    """A port that nobody uses right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], log: Path) -> Iterator[subprocess.Popen[str]]:
    """A process for as long as it is needed."""
    environment = {**os.environ, "NIGHTRATE_ADMIN_KEY": ADMIN_KEY}
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def until_ready(url: str, process: subprocess.Popen[str], log: Path) -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise SystemExit(f"it ended with {process.returncode}:\n{log.read_text()}")
        try:
            if requests.get(url, timeout=1).ok:
                return
        except requests.RequestException:
            pass
        time.sleep(0.1)
    raise SystemExit(f"{url} is not ready after 60 s:\n{log.read_text()}")


@contextmanager
def fast_upstream(folder: Path) -> Iterator[str]:
    """nginx that answers every request at once with the same completion."""
    if not NGINX.exists():
        raise SystemExit(f"{NGINX} is missing; install Debian's nginx-light")
    port, conf, log = free_port(), folder / "nginx.conf", folder / "nginx.log"
    conf.write_text(NGINX_CONF.format(folder=folder, port=port, answer=json.dumps(ANSWER)))
    with running([str(NGINX), "-p", str(folder), "-c", str(conf)], log) as process:
        until_ready(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield f"http://127.0.0.1:{port}/v1"


@contextmanager
def slow_upstream(folder: Path, latency_seconds: float) -> Iterator[str]:
    """An upstream with a fixed latency that costs little of the machine."""
    command = [sys.executable, str(ROOT / "benchmarks" / "delaying.py"), str(latency_seconds)]
    with running(command, folder / "upstream.log") as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()


def own_client(url: str) -> HttpUpstream:
    """Our HTTP client alone, on the loop that runs."""
    return HttpUpstream(
        url,
        None,
        response_bytes=10**6,
        timeout_seconds=60,
        connect_timeout_seconds=10,
        tls=tls_context(),
        sockets=Sockets(50_000),
    )


class Server:
    """Our service in a data folder of its own, and what a client does with it."""

    def __init__(self, url: str, pid: int) -> None:
        self.url, self.pid = url, pid
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["authorization"] = f"Bearer {ADMIN_KEY}"

    def cpu_seconds(self) -> float:
        """Processor time that the service's process has used so far, in user and system mode."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def get(self, path: str, **params: object) -> Any:
        """GET as JSON."""
        answer = self.session.get(self.url + path, params=params, timeout=60)
        if not answer.ok:
            raise SystemExit(f"{path}: {answer.status_code} {answer.text}")
        return answer.json()

    def submit(self, file: Path) -> str:
        """Uploads and makes a task; its id."""
        with file.open("rb") as content:
            form = {"file": (file.name, content, "application/jsonl")}
            sent = self.session.post(
                f"{self.url}/v1/files", data={"purpose": "batch"}, files=form, timeout=600
            )
        wanted = {
            "input_file_id": sent.json()["id"],
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
        }
        made = self.session.post(f"{self.url}/v1/batches", json=wanted, timeout=60)
        if not made.ok:
            raise SystemExit(made.text)
        return str(made.json()["id"])

    def run(self, task_id: str) -> "Run":
        """Waits for a task; what it took from `in_progress` to its end, upload and validation left out.

        It asks seldom until the task is nearly through, since every answer costs the service time.
        """
        begun: tuple[float, float] | None = None
        while True:
            batch = self.get(f"/v1/batches/{task_id}")
            now, status, counts = time.perf_counter(), batch["status"], batch["request_counts"]
            if status != "validating":
                begun = begun or (now, self.cpu_seconds())
                if status in ("completed", "failed", "expired", "cancelled"):
                    return Run(now - begun[0], self.cpu_seconds() - begun[1], batch)
            nearly = counts["completed"] + counts["failed"] > 0.9 * counts["total"]
            time.sleep(0.01 if nearly or not begun else 0.1)


@dataclass(frozen=True)
class Run:
    """What a task took, by the client's clock and in the service's processor time."""

    seconds: float
    cpu_seconds: float
    batch: dict[str, Any]


@contextmanager
def our_server(
    folder: Path, upstream: str, concurrency: int, *, models: str = "", prices: str = ""
) -> Iterator[Server]:
    """The real service as a process of its own; `models` and `prices` are more of the settings and of the book."""
    port = free_port()
    folder.mkdir(exist_ok=True)
    (folder / "prices.toml").write_text(prices)
    settings, log = folder / "nightrate.toml", folder / "server.log"
    settings.write_text(SETTINGS.format(port=port, upstream=upstream, concurrency=concurrency) + models)
    command = [str(Path(sys.executable).with_name("nightrate")), "serve", "--config", str(settings)]
    with running(command, log) as process:
        until_ready(f"http://127.0.0.1:{port}/readyz", process, log)
        yield Server(f"http://127.0.0.1:{port}", process.pid)
