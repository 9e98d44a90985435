"""Workers as actors of a Ray cluster. The only file that speaks to Ray, and it never runs in the service's process."""

import asyncio
import logging
import os
import secrets
import shutil
import signal
import socket
import stat
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from executor.engines.crew import Crew, Gone
from executor.engines.messages import (
    READ_AHEAD_BYTES,
    CrewSetup,
    Strength,
    WorkerSetup,
    decode_setup,
    encode,
    receive,
    send,
)
from executor.engines.worker import Worker

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # it would tell its makers
    "RAY_DISABLE_IMPORT_WARNING": "1",
}
_OBJECT_STORE_BYTES = 256 << 20
"""Of a cluster of our own; it holds messages while they are on their way."""
_SOUND_SECONDS = 20.0
"""How long the cluster may take to say that it is there."""


class Actor:
    """A worker in a process of the cluster. Made without arguments: what it is told later is kept by no one else."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    async def begin(self, setup: WorkerSetup) -> tuple[str, str]:
        """Gets ready; tells which version it is and where it runs."""
        self._worker = Worker(setup)
        return version("nightrate"), socket.gethostname()

    async def take(self, orders: bytes) -> None:
        """Begins what is ordered."""
        assert self._worker is not None
        self._worker.take(orders)

    async def reports(self, seconds: float) -> bytes:
        """What came of calls, as soon as there is anything."""
        assert self._worker is not None
        return await self._worker.reports(seconds)


class ActorHand:
    """An actor, as its crew holds it."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        remote = ray.remote(num_cpus=1, max_restarts=0, max_concurrency=8, scheduling_strategy="SPREAD")
        self._actor = remote(Actor).remote()

    async def begin(self, setup: CrewSetup) -> str:
        """Returns when the cluster had room for it, and it is of our version."""
        theirs, host = await self._actor.begin.remote(setup.worker)
        if theirs != version("nightrate"):
            raise RuntimeError(f"{host} has Nightrate {theirs}, and the service is {version('nightrate')}")
        return str(host)

    async def take(self, orders: bytes) -> None:
        """Has it begin what is ordered."""
        await self._actor.take.remote(orders)

    async def reports(self, seconds: float) -> bytes:
        """What it has to tell."""
        told: bytes = await self._actor.reports.remote(seconds)
        return told

    def end(self) -> None:
        """Kills it."""
        with suppress(Exception):  # the cluster itself may be gone
            self._ray.kill(self._actor)


async def serve(link: socket.socket) -> None:
    """Works for the service at the other end until either is gone."""
    reader, writer = await asyncio.open_connection(sock=link, limit=READ_AHEAD_BYTES)
    first = await receive(reader)
    if first is None:
        return
    setup = decode_setup(first)
    try:
        ray = await _joined(setup, reader, writer)
    except Exception as error:  # noqa: BLE001  (whatever it was, the service is told and tries again)
        send(writer, encode([Strength(0, f"no Ray cluster: {error}")]))
        await writer.drain()
        return

    async def sound() -> bool:
        with suppress(Exception):
            async with asyncio.timeout(_SOUND_SECONDS):
                return await asyncio.to_thread(_has_node, ray)
        return False

    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
            # Ray prints whole states of its own when something dies; what matters the service is told.
            await Crew(setup, writer, lambda: ActorHand(ray), sound).work(reader)
    except* Gone:
        send(writer, encode([Strength(0, "the Ray cluster is gone")]))
        await writer.drain()
    finally:
        await asyncio.to_thread(ray.shutdown)
        if setup.address is None:
            shutil.rmtree(setup.folder, ignore_errors=True)


async def _joined(setup: CrewSetup, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Any:
    """Ray, once it is connected; the service sees meanwhile that something goes on, and nobody waits if it is gone."""
    joining = asyncio.create_task(asyncio.to_thread(_join, setup))
    while not (await asyncio.wait({joining}, timeout=1))[0]:
        if reader.at_eof():
            os._exit(0)  # Ray can't be told to leave it
        send(writer, encode([]))
    return joining.result()


def _join(setup: CrewSetup) -> Any:
    """Connects to the cluster, or starts one of our own on this machine."""
    os.environ.update(_QUIET)
    if setup.address is None:
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)  # nobody else has business in it
        os.environ["RAY_AUTH_MODE"] = "token"
    import ray  # here, since it reads its environment when it is imported

    logging.getLogger("ray").setLevel(logging.ERROR)  # the service says what there is to say
    ours: dict[str, Any] = {}
    if setup.address is None:
        ours = {
            "num_cpus": setup.workers,
            "object_store_memory": _OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": str(_own_folder(Path(setup.folder))),
        }
    ray.init(
        address=setup.address or "local",
        log_to_driver=False,
        configure_logging=False,
        namespace="nightrate",
        **ours,
    )
    return ray


def _own_folder(folder: Path) -> Path:
    """An empty folder that nobody else can look into, for Ray's logs and what is too much for its memory.

    It is inside of the one of that name, since Ray lets everybody into the one that it is given.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else; remove it")
    folder.chmod(0o700)
    inner = folder / "ray"
    shutil.rmtree(inner, ignore_errors=True)  # of a run that was killed
    inner.mkdir()
    return inner


def _has_node(ray: Any) -> bool:
    """Whether the node that we are connected to is part of a cluster that answers."""
    here = ray.get_runtime_context().get_node_id()
    return any(node["Alive"] and node["NodeID"] == here for node in ray.nodes())


def main(fileno: str) -> None:
    """Works for the service at the other end of this open file."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(serve(socket.socket(fileno=int(fileno))))


if __name__ == "__main__":
    # As the module that workers can import, and not as __main__, which would be sent to them piece by piece.
    from executor.engines.ray import main as work

    work(sys.argv[1])
