"""A real PostgreSQL of the test's own: a small throwaway cluster, which another user runs where we are root."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Self

from tests.ports import reserved_port

USER = "nightrate"
_SETTINGS = {
    "fsync": "off",
    "max_connections": "50",
    "shared_buffers": "16MB",
    "listen_addresses": "127.0.0.1",
}


class Postgres:
    """Starts, stops and halts the server; each test makes a database."""

    def __init__(self) -> None:
        self.port = reserved_port()
        self._folder = Path(tempfile.mkdtemp(prefix="nightrate-postgres-"))
        self._databases = 0
        if os.getuid() == 0:
            shutil.chown(self._folder, "postgres")
        self._run("initdb", "--pgdata", self._data, "--no-sync", "--auth", "trust", "--username", USER,
                  "--locale", "C", "--encoding", "UTF8")  # fmt: skip

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        settings = {**_SETTINGS, "port": str(self.port), "unix_socket_directories": str(self._folder)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        self._run(
            "pg_ctl",
            "--pgdata",
            self._data,
            "--wait",
            "--log",
            str(self._folder / "log"),
            "-o",
            options,
            "start",
        )

    def stop(self) -> None:
        """As an administrator would in a hurry: connections are cut."""
        self._run("pg_ctl", "--pgdata", self._data, "--wait", "--mode", "immediate", "stop")

    def halt(self) -> None:
        """Every process of it stands still, and its connections stay open."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        leader = int((self._folder / "data/postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{leader}/task/{leader}/children").read_text().split()
        for process in (leader, *map(int, children)):
            os.kill(process, number)

    def database(self) -> str:
        """A new one; its connection string."""
        self._databases += 1
        name = f"lake{self._databases}"
        self._run("createdb", "--host", str(self._folder), "--port", str(self.port), "--username", USER, name)
        return f"host=127.0.0.1 port={self.port} user={USER} dbname={name}"

    def _run(self, program: str, *arguments: str) -> None:
        path = _program(program)
        command = [path, *arguments]
        if os.getuid() == 0:  # which it refuses to run as
            command = ["runuser", "-u", "postgres", "--", *command]
        done = subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60)
        assert done.returncode == 0, done.stderr.decode()


def _program(name: str) -> str:
    found = shutil.which(
        name, path=os.pathsep.join(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin"))[::-1]))
    )
    found = found or shutil.which(name)
    assert found, f"{name} is part of Debian's package postgresql: apt-get install postgresql"
    return found
