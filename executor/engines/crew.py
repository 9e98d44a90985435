"""Keeps workers in a cluster busy and alive, in a process of its own beside the service.

It hands every request to the worker with the fewest, and what workers tell back to the service. Who does not answer
is gone: the service is told which calls nobody will tell of, and another worker is hired. What becomes of
requests is dispatch's to decide, and what workers say of a call is told once or never.
"""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from executor.answers import Lost
from executor.engines.messages import (
    Ask,
    AskModels,
    Cancel,
    CrewSetup,
    Order,
    Report,
    Strength,
    Told,
    decode_orders,
    encode,
    glance,
    portions,
    receive,
    send,
)

ORDER_BYTES = 4 << 20
"""Requests are handed on in portions of so many bytes, or one longer body."""
_AGAIN_SECONDS = (1.0, 30.0)
"""Before another worker is hired in a place: doubled from the first to the longest while none gets to work."""
_PULSE_SECONDS = 1.0
CUT_OFF_SECONDS = 60.0
"""A worker whose probe had no answer is not preferred for so long, unless it gets one before."""


class Hand(Protocol):
    """A worker somewhere, as its crew holds it. Whatever is raised means that it is gone."""

    async def begin(self, setup: CrewSetup) -> str:
        """Returns when it works, and tells where."""
        ...

    async def take(self, orders: bytes) -> None:
        """Has it begin what is ordered."""
        ...

    async def reports(self, seconds: float) -> bytes:
        """What it has to tell; nothing if that is nothing for so many seconds."""
        ...

    def end(self) -> None:
        """Ends it, wherever it is, if it is still there."""
        ...


class Gone(Exception):
    """The cluster is no longer there: nothing but a new beginning helps."""


class _Place:
    """One of the workers that there should be."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.at_work = False
        self.calls: dict[int, int] = {}
        """Handed to it, and not told of yet: the upstream of each."""
        self.cut_off_until: dict[int, float] = {}
        """Upstreams that did not answer its probe: until these monotonic moments others are preferred."""
        self.orders: list[Order] = []
        """Not sent yet."""
        self.ordered = asyncio.Event()


class Crew:
    """As many workers as are asked for, as far as the cluster has room for them."""

    def __init__(
        self,
        setup: CrewSetup,
        writer: asyncio.StreamWriter,
        hire: Callable[[], Hand],
        sound: Callable[[], Awaitable[bool]],
    ) -> None:
        self._setup = setup
        self._writer = writer
        self._hire = hire
        self._sound = sound
        self._places = [_Place(number) for number in range(1, setup.workers + 1)]
        self._by_call: dict[int, _Place] = {}
        self._turn = itertools.cycle(self._places)
        self._suspects: dict[int, _Place] = {}
        """Who made the last failed attempt at an upstream: the next probe is made from there."""

    async def work(self, reader: asyncio.StreamReader) -> None:
        """Until the service is gone, or the cluster is."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._keep(place)) for place in self._places]
            tasks.append(group.create_task(self._pulse()))
            while (orders := await receive(reader)) is not None:
                self._assign(decode_orders(orders))
            for task in tasks:
                task.cancel()

    # -- handing on ------------------------------------------------------------------------------------

    def _assign(self, orders: list[Order]) -> None:
        """Hands orders to workers; those that nobody can take are lost."""
        working = [place for place in self._places if place.at_work]
        lost: list[Report] = []
        for order in orders:
            place = self._given_up(order) if isinstance(order, Cancel) else self._place_for(order, working)
            if place is not None:
                place.orders.append(order)
                place.ordered.set()
            elif not isinstance(order, Cancel):
                lost.append(Told(order.call, Lost()))
        if lost:
            self._report(lost)

    def _given_up(self, order: Cancel) -> _Place | None:
        place = self._by_call.pop(order.call, None)
        if place is not None:
            place.calls.pop(order.call, None)
        return place

    def _place_for(self, order: Ask | AskModels, working: list[_Place]) -> _Place | None:
        if not working:
            return None
        place = self._asker(order, working) if isinstance(order, Ask) else self._prober(order, working)
        self._by_call[order.call] = place
        place.calls[order.call] = order.upstream
        return place

    def _asker(self, order: Ask, working: list[_Place]) -> _Place:
        return min(self._with_a_way(order.upstream, working), key=_load)

    def _prober(self, order: AskModels, working: list[_Place]) -> _Place:
        """Where the last attempt failed, so that a node's own fault is not taken for a request's; else each in turn."""
        place = self._suspects.pop(order.upstream, None)
        if place in working:
            return place
        able = self._with_a_way(order.upstream, working)
        return next(place for place in self._turn if place in able)

    def _with_a_way(self, upstream: int, working: list[_Place]) -> list[_Place]:
        """Those that are not known to have no way to the upstream; all of them if none is left."""
        if not any(place.cut_off_until for place in working):
            return working
        now = time.monotonic()
        return [place for place in working if place.cut_off_until.get(upstream, now) <= now] or working

    def _report(self, reports: list[Report]) -> None:
        send(self._writer, encode(reports))

    # -- one place -------------------------------------------------------------------------------------

    async def _keep(self, place: _Place) -> None:
        """One worker after another."""
        wait, longest = _AGAIN_SECONDS
        while True:
            hand = self._hire()
            try:
                where = await hand.begin(self._setup)
                wait = _AGAIN_SECONDS[0]
                place.at_work = True
                self._say(f"worker {place.number} works on {where}")
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._send_to(place, hand))
                    await self._hear(place, hand)
            except Exception as error:  # noqa: BLE001  (whatever it was, that worker is not to be trusted now)
                self._lose(place, f"worker {place.number} is gone: {_reason(error)}")
            finally:
                hand.end()
            await asyncio.sleep(wait)
            wait = min(longest, wait * 2)

    async def _send_to(self, place: _Place, hand: Hand) -> None:
        """One portion after another, so that what is given up was begun before."""
        while await place.ordered.wait():
            place.ordered.clear()
            orders, place.orders = place.orders, []
            for portion in portions(orders, ORDER_BYTES):
                async with asyncio.timeout(self._setup.silence_seconds):
                    await hand.take(encode(portion))

    async def _hear(self, place: _Place, hand: Hand) -> None:
        """Passes on what the worker tells; the service that can't keep up holds it back."""
        silence = self._setup.silence_seconds
        while True:
            async with asyncio.timeout(silence):
                reports = await hand.reports(silence / 3)
            if reports:
                self._note(place, reports)
                send(self._writer, reports)
                await self._writer.drain()

    def _note(self, place: _Place, reports: bytes) -> None:
        for call, probe, failed in glance(reports):
            self._by_call.pop(call, None)
            upstream = place.calls.pop(call, None)
            if upstream is None:
                continue
            if not probe and failed:
                self._suspects[upstream] = place
            elif failed:
                place.cut_off_until[upstream] = time.monotonic() + CUT_OFF_SECONDS
            elif place.cut_off_until:
                place.cut_off_until.pop(upstream, None)

    def _lose(self, place: _Place, news: str) -> None:
        """What it had under way nobody will tell of."""
        place.at_work = False
        place.orders.clear()
        lost: list[Report] = [Told(call, Lost()) for call in place.calls]
        for call in place.calls:
            self._by_call.pop(call, None)
        place.calls.clear()
        self._say(news, lost)

    def _say(self, news: str, before: list[Report] | None = None) -> None:
        workers = sum(place.at_work for place in self._places)
        self._report([*(before or []), Strength(workers, news)])

    async def _pulse(self) -> None:
        """Shows the service that it is there; leaves it if the cluster is gone."""
        while True:
            await asyncio.sleep(_PULSE_SECONDS)
            self._report([])
            if not any(place.at_work for place in self._places) and not await self._sound():
                raise Gone


def _load(place: _Place) -> int:
    return len(place.calls)


def _reason(error: BaseException) -> str:
    """The first error of a group, in a line."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]
