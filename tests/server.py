"""The real service as a process of its own, on a free port and a folder of the test's."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from openai import DefaultHttpxClient, OpenAI

from tests.ports import reserved_port

ADMIN_KEY = "sk-nr-admin-of-the-tests"
PRICES = """
[[prices]]
model = "m"
currency = "USD"
valid_from = 2020-01-01T00:00:00Z
source = "a test"
tiers = [{ up_to_input_tokens = 1000, input = "1.5", output = "2.25", output_thinking = "4" }, { input = "3", output = "4.5" }]
"""
SETTINGS = """
[server]
port = {port}
[storage]
data_dir = "data"
min_free_bytes = 0
[local_model]
enabled = {local}
[executor]
commit_interval_ms = 20
backoff_first_seconds = 0.05
recovery_first_seconds = 0.05
{executor}
[[models]]
name = "m"
upstreams = ["{upstream}"]
endpoints = ["/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/responses"]
max_concurrency = {concurrency}
timeout_seconds = {timeout}
{more}
"""


class Server:
    """Starts, kills and asks the service; what it writes is kept in `log`."""

    def __init__(
        self,
        folder: Path,
        upstream_url: str,
        *,
        concurrency: int = 16,
        timeout: float = 5,
        executor: str = "",
        more: str = "",
        local: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.port = reserved_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "server.log"
        self.config = folder / "nightrate.toml"
        self.environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prices.toml").write_text(PRICES)
        self.config.write_text(
            SETTINGS.format(
                port=self.port,
                local=str(local).lower(),
                executor=executor,
                upstream=upstream_url,
                concurrency=concurrency,
                timeout=timeout,
                more=more,
            )
        )

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.kill()  # nobody else will: it would slow down all tests that follow
            raise

    def __exit__(self, *_: object) -> None:
        if self.process is not None and self.process.poll() is None:
            assert self.stop() == 0

    def start(self, *, wait: bool = True, **environment: str) -> Self:
        """Starts it, and waits until it is ready."""
        env = {**os.environ, "NIGHTRATE_ADMIN_KEY": ADMIN_KEY, **self.environment, **environment}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "nightrate.serve", str(self.config)], stdout=log, stderr=log, env=env
            )
        if wait:
            self.wait_ready()
        return self

    def wait_ready(self, seconds: float = 120) -> None:
        self.until(lambda: self.status("/readyz"), lambda status: status == 200, seconds)

    def stop(self) -> int:
        """SIGTERM; gives the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def status(self, path: str) -> int:
        """The HTTP status of a GET, 0 if nobody listens."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=10) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def get(self, path: str, key: str = ADMIN_KEY) -> Any:
        """The JSON (or else the text) of a GET that must succeed."""
        body, content_type = self._read(path, key)
        return json.loads(body) if "json" in content_type else body.decode()

    def get_bytes(self, path: str, key: str = ADMIN_KEY) -> bytes:
        """The body of a GET that must succeed."""
        return self._read(path, key)[0]

    def _read(self, path: str, key: str) -> tuple[bytes, str]:
        request = urllib.request.Request(self.url + path, headers={"authorization": f"Bearer {key}"})
        with urllib.request.urlopen(request, timeout=30) as reply:
            return reply.read(), reply.headers["content-type"]

    def client(self, key: str = ADMIN_KEY) -> OpenAI:
        # Without TLS there are no certificates to load, which would be most of the cost of a client.
        plain = DefaultHttpxClient(verify=False)
        return OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, http_client=plain)

    def submit(self, prompts: list[str], key: str = ADMIN_KEY, **batch: Any) -> str:
        """Uploads a file of chat requests and makes a task of it; gives its id."""
        return self.submit_lines([request(n, prompt) for n, prompt in enumerate(prompts, 1)], key, **batch)

    def submit_lines(self, lines: list[bytes], key: str = ADMIN_KEY, **batch: Any) -> str:
        client = self.client(key)
        file = client.files.create(file=("in.jsonl", b"".join(lines)), purpose="batch")
        return client.batches.create(
            **{
                "input_file_id": file.id,
                "endpoint": "/v1/chat/completions",
                "completion_window": "24h",
                **batch,
            }
        ).id

    def wait(self, task_id: str, seconds: float = 120) -> Any:
        """The batch object of a task that came to its end."""
        done = ("completed", "failed", "expired", "cancelled")
        return self.until(
            lambda: self.get(f"/v1/batches/{task_id}"), lambda batch: batch["status"] in done, seconds
        )

    def until(self, read: Callable[[], Any], good: Callable[[Any], bool], seconds: float = 60) -> Any:
        deadline = time.monotonic() + seconds
        while not good(value := read()):
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the service ended: {self.log.read_text()[-3000:]}")
            assert time.monotonic() < deadline, f"still {value}: {self.log.read_text()[-3000:]}"
            time.sleep(0.03)
        return value


def request(number: int, prompt: str, **body: Any) -> bytes:
    """One line of an input file."""
    whole = {"model": "m", "messages": [{"role": "user", "content": prompt}], **body}
    line = {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": whole}
    return json.dumps(line).encode() + b"\n"
