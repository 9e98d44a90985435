"""The demo's upstream as a process beside the service."""

import socket
import subprocess
import sys
from typing import Self

HOST = "127.0.0.1"
_BACKLOG = 2048
_STOP_SECONDS = 5.0


class UpstreamProcess:
    """Runs it as long as the `with` block does; its log goes to standard error."""

    def __init__(self) -> None:
        # Bound here and handed down: no request is refused because the process has not started yet.
        self._listening = socket.create_server((HOST, 0), backlog=_BACKLOG)
        self._process: subprocess.Popen[str] | None = None

    def url(self, model: str) -> str:
        """The base URL of a model."""
        return f"http://{HOST}:{self._listening.getsockname()[1]}/{model}/v1"

    def __enter__(self) -> Self:
        number = self._listening.fileno()
        self._process = subprocess.Popen(  # noqa: S603  (our own command)
            [sys.executable, "-m", "nightrate.demo.upstream", str(number)],
            stdin=subprocess.PIPE,
            text=True,
            pass_fds=(number,),
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()
        if self._process is None or self._process.stdin is None:
            return
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def down(self, model: str) -> None:
        """The server of a model fails from now on."""
        self._order(f"down {model}\n")

    def up(self, model: str) -> None:
        """The server of a model answers again."""
        self._order(f"up {model}\n")

    def _order(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line)
        self._process.stdin.flush()
