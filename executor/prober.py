"""Tells an outage from a bad request (SPEC §4, Retry and Outage).

A failed attempt may be its request's fault or the upstream's. Before it counts, a probe that began
after it must find the upstream healthy: `GET {upstream}/models`, one at a time and shared by all. A probe
that fails begins an outage, which is over with the next healthy one; attempts of an outage count nothing.
"""

import asyncio
import logging
import time
from collections.abc import Callable

from executor.lane import REFUSED, Attempt, Lane
from executor.options import ExecutorOptions
from metering.clock import Clock

log = logging.getLogger("nightrate.prober")


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
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def doubt(self, attempt: Attempt) -> None:
        """Has a failed attempt judged by the next probe; during an outage it is the upstream's fault."""
        if not self._lane.up:
            self._settle(attempt, False)
            return
        self._doubted.append(attempt)
        self.ask()

    def ask(self) -> None:
        """Wants a probe."""
        self._asked = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Probes no more."""
        if self._task is not None:
            self._task.cancel()

    async def _watch(self) -> None:
        try:
            while self._asked or self._doubted or not self._lane.up:
                self._asked = False
                await self._probe()
                self._changed()
                if not self._lane.up:
                    await asyncio.sleep(self._options.probe_interval_seconds)
        finally:
            self._task = None

    async def _probe(self) -> None:
        begun = time.monotonic()
        status = await self._lane.upstream.probe(self._options.probe_timeout_seconds)
        judged = [attempt for attempt in self._doubted if attempt.ended <= begun]
        self._doubted = [attempt for attempt in self._doubted if attempt.ended > begun]
        refused = any(attempt.refused for attempt in judged)
        healthy = self._healthy(status, refused) or (not refused and self._lane.last_success >= begun)
        self._turn(healthy, status)
        for attempt in judged:
            self._settle(attempt, healthy or attempt.cleared)
        if not healthy:
            rest, self._doubted = self._doubted, []
            for attempt in rest:
                self._settle(attempt, False)

    def _healthy(self, status: int | None, refused: bool) -> bool:
        if status is None or status >= 500:
            return False
        # An expired key refuses the probe as it refused the request: that must not burn a task.
        return not (status in REFUSED and (refused or not self._lane.up))

    def _turn(self, healthy: bool, status: int | None) -> None:
        lane = self._lane
        if healthy and not lane.up:
            log.warning("%s of %s is up again", lane.label, lane.model)
            lane.down_since = None
        elif not healthy and lane.up:
            log.error(
                "%s of %s is down: its /models answered %s", lane.label, lane.model, status or "nothing"
            )
            lane.down_since = self._clock()
            lane.last_trial = time.monotonic()
