"""Makes the attempts that it is handed, on whatever event loop it runs: what is inside of an actor.

It decides nothing: no retries, no limits, no probes but those it is asked for.
"""

import asyncio
from functools import partial
from typing import Protocol

from executor.answers import Judged, Lost, judge
from executor.engines.messages import (
    Ask,
    AskModels,
    Probed,
    Told,
    WorkerSetup,
    decode_orders,
    encode,
)
from executor.upstream import Answer, HttpUpstream, NoAnswer
from executor.wire.origin import tls_context
from executor.wire.sockets import Sockets, allowed_sockets
from metering.clock import utc_now

REPORT_BYTES = 4 << 20
"""Reports are handed back in portions of so many bytes of answers, or one longer answer."""


class _Call(Protocol):
    def cancel(self) -> object: ...


class Worker:
    """Has its own connections to every upstream."""

    def __init__(self, setup: WorkerSetup) -> None:
        tls, sockets = tls_context(), Sockets(allowed_sockets(setup.connections))
        self._upstreams = [
            HttpUpstream(
                each.url,
                each.api_key,
                response_bytes=setup.response_bytes,
                timeout_seconds=each.timeout_seconds,
                connect_timeout_seconds=setup.connect_timeout_seconds,
                tls=tls,
                sockets=sockets,
                streams=each.streams,
            )
            for each in setup.upstreams
        ]
        self._under_way: dict[int, _Call] = {}
        self._reports: list[Told | Probed] = []
        self._reported = asyncio.Event()

    def take(self, orders: bytes) -> None:
        """Begins what is ordered, in this sequence."""
        for order in decode_orders(orders):
            if isinstance(order, Ask):
                tell = partial(self._answered, order.call, order.endpoint)
                asked = self._upstreams[order.upstream].ask(order.endpoint, order.body, tell)
                self._under_way[order.call] = asked
            elif isinstance(order, AskModels):
                self._under_way[order.call] = asyncio.create_task(self._probe(order))
            elif (call := self._under_way.pop(order.call, None)) is not None:
                call.cancel()

    async def reports(self, seconds: float) -> bytes:
        """What came of calls, encoded, as soon as there is anything; nothing after so many seconds."""
        try:
            async with asyncio.timeout(seconds):
                await self._reported.wait()
        except TimeoutError:
            return b""
        size, count = 0, 0
        for report in self._reports:
            size += _size_of(report)
            if count and size > REPORT_BYTES:
                break
            count += 1
        told, self._reports = self._reports[:count], self._reports[count:]
        if not self._reports:
            self._reported.clear()
        return encode(told)

    def _answered(self, call: int, endpoint: str, answer: Answer | NoAnswer) -> None:
        self._under_way.pop(call, None)
        first_token = answer.first_token_seconds if isinstance(answer, Answer) else None
        what: Judged | Lost
        try:
            what = Judged(judge(answer, endpoint, utc_now), first_token)
        except Exception as error:  # noqa: BLE001  (a fault of ours, which dispatch decides about)
            what = Lost(repr(error))
        self._report(Told(call, what))

    async def _probe(self, order: AskModels) -> None:
        status = await self._upstreams[order.upstream].probe(order.timeout_seconds)
        self._under_way.pop(order.call, None)
        self._report(Probed(order.call, status))

    def _report(self, report: Told | Probed) -> None:
        self._reports.append(report)
        self._reported.set()


def _size_of(report: Told | Probed) -> int:
    what = report.what if isinstance(report, Told) else None
    return len(what.verdict.body or b"") if isinstance(what, Judged) else 0
