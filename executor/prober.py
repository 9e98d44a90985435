"""Tells an outage from a bad request (SPEC §4, Retry and Outage).

A failed attempt may be its request's fault or the upstream's. Before it counts, something that was sent after
it ended must be answered: a probe (`GET {upstream}/models`, one at a time and shared by all) or another
request. What was sent before proves nothing: it may have been answered just before the upstream failed.
A probe that fails begins an outage, which is over with the next healthy one; attempts of an outage count nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from executor.lane import REFUSED, Attempt, Lane
from executor.options import ExecutorOptions
from metering.clock import Clock

log = logging.getLogger("nightrate.prober")

APART_SECONDS, DOUBTFUL_SECONDS = 0.05, 0.25
"""Between two probes of an upstream that is up, and where its requests and its probes contradict each other."""


class Prober:
    """Looks after one lane. `settle` is told of each doubted attempt whether it was the request's own
    fault; `changed` is called when the lane may have opened."""

    def __init__(
        self,
        lane: Lane,
        options: ExecutorOptions,
        clock: Clock,
        settle: Callable[[Attempt, bool], None],
        changed: Callable[[], None],
    ) -> None:
        self._lane = lane
        self._options = options
        self._clock = clock
        self._settle = settle
        self._changed = changed
        self._doubted: list[Attempt] = []
        """Ended since the last probe began."""
        self._excused: list[Attempt] = []
        """A probe failed after them: only a later request's success shows that they were at fault."""
        self._asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def doubt(self, attempt: Attempt) -> None:
        """Has a failed attempt judged by the next probe; if an outage fell into it, it is the upstream's fault."""
        if not self._lane.up or attempt.begun < self._lane.up_since:
            self._settle(attempt, False)
            return
        self._doubted.append(attempt)
        self.ask()

    def ask(self) -> None:
        """Wants a probe."""
        self._asked.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Probes no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        try:
            while self._asked.is_set() or self._doubted or self._excused or not self._lane.up:
                self._asked.clear()
                begun = time.monotonic()
                await self._probe(begun)
                self._changed()
                await self._pause(begun)
                self._condemn_cleared()
        finally:
            self._task = None

    async def _pause(self, begun: float) -> None:
        """Probes begin no further apart than asked for, at once if one is wanted, but never without a break."""
        await asyncio.sleep(APART_SECONDS)
        wanted = DOUBTFUL_SECONDS if self._lane.up else self._options.probe_interval_seconds
        if self._lane.up and not self._excused:
            return
        try:
            async with asyncio.timeout(max(0.0, begun + wanted - time.monotonic())):
                await self._asked.wait()
        except TimeoutError:
            return

    async def _probe(self, begun: float) -> None:
        lane = self._lane
        status = await lane.upstream.probe(self._options.probe_timeout_seconds)
        self._condemn_cleared()
        before = [attempt for attempt in self._doubted if attempt.ended <= begun]
        during = [attempt for attempt in self._doubted if attempt.ended > begun]
        refused = any(attempt.refused for attempt in self._doubted + self._excused)
        if self._healthy(status, refused):
            at_fault, self._doubted = (before, during) if lane.up else ([], [])
            excused, self._excused = self._excused + ([] if lane.up else before + during), []
            self._settle_all(at_fault, True)
            self._settle_all(excused, False)
            self._turn(True, status)
        elif lane.last_success >= begun and not refused:
            # Requests are answered: it has no such route, or begins to fail just now.
            self._excused, self._doubted = self._excused + before, during
        else:
            self._excused, self._doubted = self._excused + before + during, []
            self._turn(False, status)
            if lane.limit.in_flight == 0:  # nothing is left that could tell better
                excused, self._excused = self._excused, []
                self._settle_all(excused, False)

    def _condemn_cleared(self) -> None:
        """Another request was sent later and succeeded: these have failed by themselves."""
        doubted = self._doubted + self._excused
        if any(attempt.cleared for attempt in doubted):
            self._doubted = [attempt for attempt in self._doubted if not attempt.cleared]
            self._excused = [attempt for attempt in self._excused if not attempt.cleared]
            self._settle_all([attempt for attempt in doubted if attempt.cleared], True)

    def _settle_all(self, attempts: list[Attempt], own_fault: bool) -> None:
        for attempt in attempts:
            self._settle(attempt, own_fault)

    def _healthy(self, status: int | None, refused: bool) -> bool:
        if status is None or status >= 500:
            return False
        # An expired key refuses the probe as it refused the request: that must not burn a task.
        return not (status in REFUSED and (refused or not self._lane.up))

    def _turn(self, healthy: bool, status: int | None) -> None:
        lane = self._lane
        if healthy and not lane.up:
            log.warning("%s of %s is up again", lane.label, lane.model)
            lane.recovered(time.monotonic())
        elif not healthy and lane.up:
            log.error(
                "%s of %s is down: its /models answered %s", lane.label, lane.model, status or "nothing"
            )
            lane.down_since = self._clock()
            lane.last_trial = time.monotonic()
