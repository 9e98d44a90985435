"""A crew whose workers are in its own process: `python -m tests.executor.crew_here` stands for one of a cluster."""

import asyncio
import os
import socket
import sys

import msgspec

from executor.engines.crew import Crew
from executor.engines.messages import READ_AHEAD_BYTES, CrewSetup, WorkerSetup, decode_setup, receive
from executor.engines.worker import Worker
from tests.ports import reserved_port


class HandHere:
    """A worker of this process. A request that says "kill the worker" is its end, "kill the crew" that of all."""

    hired = 0

    async def begin(self, setup: CrewSetup) -> str:
        HandHere.hired += 1
        alone = setup.folder == "one is cut off" and HandHere.hired == 1
        self.worker = Worker(_without_a_way(setup.worker) if alone else setup.worker)
        return "this process"

    async def take(self, orders: bytes) -> None:
        if b"kill the crew" in orders:
            os.kill(os.getpid(), 9)
        if b"kill the worker" in orders:
            raise ConnectionError("killed")
        self.worker.take(orders)

    async def reports(self, seconds: float) -> bytes:
        return await self.worker.reports(seconds)

    def end(self) -> None: ...


def _without_a_way(setup: WorkerSetup) -> WorkerSetup:
    nobody = f"http://127.0.0.1:{reserved_port()}/v1"
    upstreams = [msgspec.structs.replace(upstream, url=nobody) for upstream in setup.upstreams]
    return msgspec.structs.replace(setup, upstreams=upstreams)


async def serve(link: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=link, limit=READ_AHEAD_BYTES)
    setup = decode_setup(await receive(reader) or b"")

    async def sound() -> bool:
        return True

    await Crew(setup, writer, HandHere, sound).work(reader)


if __name__ == "__main__":
    asyncio.run(serve(socket.socket(fileno=int(sys.argv[1]))))
