"""Attempts that are made in a cluster: what dispatch sees of it.

A process of its own speaks to the cluster (`executor/engines/crew.py`): a cluster's library that ends the process
it runs in, as it may, then ends no database and no API. All of this belongs to the dispatch loop.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from executor.answers import Judged, Lost
from executor.engines.messages import (
    READ_AHEAD_BYTES,
    Ask,
    AskModels,
    Cancel,
    CrewSetup,
    Order,
    Probed,
    Report,
    Told,
    UpstreamSetup,
    WorkerSetup,
    decode_reports,
    encode,
    receive,
    send,
)
from executor.options import ExecutorOptions, LimitOptions, ModelOptions
from executor.upstream import Call, Heard, Upstream, without_user_info

log = logging.getLogger("nightrate.engines")

_AGAIN_SECONDS = (1.0, 30.0)
"""Before the process is begun anew: doubled from the first to the longest while it does not get to work."""
_LEAVE_SECONDS = 20.0
"""A process that was told to end may take so long."""
_LOOKS_SECONDS = 1.0


class AttemptsAway:
    """Hands requests to the workers of a crew, and tells what came of them."""

    def __init__(
        self, connections: int, options: ExecutorOptions, limits: LimitOptions, crew: str, folder: str
    ) -> None:
        self.trouble: str | None = "the workers are being started"
        self._connections, self._options, self._limits = connections, options, limits
        self._module, self._folder = crew, folder
        self._upstreams: list[UpstreamSetup] = []
        self._calls: dict[int, Callable[[Any], None]] = {}
        """Who is told what came of each call under way."""
        self._last_call = 0
        self._to_send: list[Order] = []
        self._writer: asyncio.StreamWriter | None = None
        self._heard = 0.0
        self.workers = 0
        """How many make attempts now."""
        self._changed: Callable[[], None] = lambda: None
        self._at_work = asyncio.Event()
        """Set while there are workers."""
        self._keeping: asyncio.Task[None] | None = None

    # -- for dispatch --------------------------------------------------------------------------------

    def upstream(self, model: ModelOptions, url: str, api_key: str | None) -> Upstream:
        """One that the workers speak to."""
        self._upstreams.append(UpstreamSetup(url, api_key, model.timeout_seconds, model.stream))
        return _AwayUpstream(self, len(self._upstreams) - 1, url)

    def start(self, changed: Callable[[], None]) -> None:
        """Starts the process, and again whenever it ends."""
        self._changed = changed
        self._keeping = asyncio.get_running_loop().create_task(self._keep())

    async def stop(self) -> None:
        """Ends the process and all that it started."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)

    # -- calls -----------------------------------------------------------------------------------------

    def call(self, order: Callable[[int], Order], told: Callable[[Any], None]) -> Call:
        """Sends an order; `told` hears what came of it, and never before this returns."""
        self._last_call = number = self._last_call + 1
        self._calls[number] = told
        self._send(order(number))
        return _AwayCall(self, number)

    def cancel(self, number: int) -> None:
        """Gives a call up: nobody is told anything of it."""
        if self._calls.pop(number, None) is not None:
            self._send(Cancel(number))

    async def at_work(self) -> None:
        """Returns when there are workers."""
        await self._at_work.wait()

    def _send(self, order: Order) -> None:
        if not self._to_send:
            asyncio.get_running_loop().call_soon(self._flush)
        self._to_send.append(order)

    def _flush(self) -> None:
        """Sends all that was ordered in this turn of the loop at once."""
        orders, self._to_send = self._to_send, []
        if self._writer is not None:
            send(self._writer, encode(orders))
            return
        for order in orders:
            self._tell(order.call, Lost())

    def _tell(self, number: int, what: Judged | Lost | Probed) -> None:
        told = self._calls.pop(number, None)
        if told is not None:
            told(what)

    # -- the process -------------------------------------------------------------------------------------

    async def _keep(self) -> None:
        """Starts it, hears it out, and begins anew."""
        first, longest = _AGAIN_SECONDS
        wait = first
        while True:
            worked = await self._run()
            wait = first if worked else min(longest, wait * 2)
            log.error("the process that speaks to the workers ended; it is started again in %g s", wait)
            await asyncio.sleep(wait)

    async def _run(self) -> bool:
        """One process from its start to its end; tells whether it ever had a worker."""
        ours, theirs = socket.socketpair()
        with theirs:
            # Of its own session: what a terminal sends to the service is not meant for it, nor for the workers.
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self._module, str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL, pass_fds=(theirs.fileno(),), start_new_session=True,
            )  # fmt: skip
        reader, writer = await asyncio.open_connection(sock=ours, limit=READ_AHEAD_BYTES)
        send(writer, encode(self._setup()))
        self._writer, self._heard, worked = writer, time.monotonic(), False
        watch = asyncio.get_running_loop().create_task(self._watch(writer))
        try:
            while (messages := await receive(reader)) is not None:
                self._heard = time.monotonic()
                for report in decode_reports(messages):
                    self._hear(report)
                worked = worked or self.trouble is None
        finally:
            watch.cancel()
            self._writer = None
            writer.transport.abort()  # what it wants to know it is told by this
            self._lose("the process that speaks to the workers ended")
            await _ended(process)
        return worked

    async def _watch(self, writer: asyncio.StreamWriter) -> None:
        """It says something every second: one that does not for long hangs."""
        while time.monotonic() - self._heard < self._options.ray_silence_seconds:
            await asyncio.sleep(_LOOKS_SECONDS)
        writer.transport.abort()

    def _setup(self) -> CrewSetup:
        options = self._options
        worker = WorkerSetup(
            self._upstreams,
            self._limits.response_bytes,
            options.connect_timeout_seconds,
            self._connections,
        )
        return CrewSetup(
            worker, options.ray_address, options.ray_actors, options.ray_silence_seconds, self._folder
        )

    def _hear(self, report: Report) -> None:
        if isinstance(report, Told):
            self._tell(report.call, report.what)
        elif isinstance(report, Probed):
            self._tell(report.call, report)
        else:
            self._count(report.workers, report.news)

    def _count(self, workers: int, news: str) -> None:
        if news:
            level = logging.INFO if workers > self.workers else logging.WARNING
            log.log(level, "%s; %d of %d work", news, workers, self._options.ray_actors)
        self.workers = workers
        before, self.trouble = self.trouble, None if workers else news or self.trouble or "no worker works"
        (self._at_work.set if workers else self._at_work.clear)()
        if before != self.trouble:
            self._changed()

    def _lose(self, why: str) -> None:
        """Nobody will tell what came of the calls under way."""
        self.trouble, self.workers = why, 0
        self._at_work.clear()
        self._changed()
        for number in list(self._calls):
            self._tell(number, Lost())


class _AwayCall:
    """A call under way, as whoever wants to give it up holds it."""

    __slots__ = ("_attempts", "_number")

    def __init__(self, attempts: AttemptsAway, number: int) -> None:
        self._attempts, self._number = attempts, number

    def cancel(self) -> None:
        """Gives it up: nothing more is told of it."""
        self._attempts.cancel(self._number)


class _AwayUpstream:
    """One upstream, asked by the workers."""

    def __init__(self, attempts: AttemptsAway, place: int, url: str) -> None:
        self.label: str | None = without_user_info(url)
        self._attempts, self._place = attempts, place

    def ask(self, endpoint: str, body: bytes, done: Heard) -> Call:
        """Has a worker send one request; its time limit begins there."""
        return self._attempts.call(lambda call: Ask(call, self._place, endpoint, body), done)

    async def probe(self, timeout_seconds: float) -> int | None:
        """Has a worker ask, since it is their way to the upstream that counts; another one if that is lost."""
        while True:
            await self._attempts.at_work()
            told: asyncio.Future[Probed | Lost] = asyncio.get_running_loop().create_future()
            order = partial(AskModels, upstream=self._place, timeout_seconds=timeout_seconds)
            call = self._attempts.call(order, told.set_result)
            try:
                what = await told
            except asyncio.CancelledError:
                call.cancel()
                raise
            if isinstance(what, Probed):
                return what.status

    def close(self) -> None:
        """Its connections end with the workers."""


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Waits for its end, which it has been told of, but not for ever; what it started and left ends too."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LEAVE_SECONDS):
            await process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # its group is its own
    await process.wait()
