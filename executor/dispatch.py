"""The loop that keeps upstreams busy: whose request is next, one attempt, what it means, and then.

Everything here runs on one event loop. `pump` starts as many attempts as may be under way; each
attempt that ends calls it again, so that nothing polls.
"""

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Protocol

from executor.answers import Judged, Lost, judge
from executor.lane import Attempt, Lane
from executor.options import ExecutorOptions
from executor.prober import Prober
from executor.recorder import Recorder
from executor.request import Outcome, Request, answer_line, error_line
from executor.run import TaskRun
from executor.scheduler import Scheduler
from executor.upstream import Answer, NoAnswer
from metering.clock import Clock
from metering.event import Event

log = logging.getLogger("nightrate.dispatch")


class Instruments(Protocol):
    """What wants to know of attempts and outcomes."""

    def attempt(self, model: str, upstream: str, code: str) -> None:
        """An HTTP call ended, with an HTTP status or an error code."""
        ...

    def outcomes(self, events: Sequence[Event]) -> None:
        """Requests have their final answers."""
        ...


class Dispatcher:
    """Starts attempts while there is room at the upstreams, in memory and in the recorder."""

    def __init__(
        self,
        lanes: Mapping[str, Sequence[Lane]],
        recorder: Recorder,
        options: ExecutorOptions,
        instruments: Instruments,
        clock: Clock,
    ) -> None:
        self.lanes = lanes
        self.schedulers = {model: Scheduler() for model in lanes}
        self.paused = False
        """No attempt starts while it is set: the disk is full, or the service stops."""
        self._recorder = recorder
        self._options = options
        self._instruments = instruments
        self._clock = clock
        self._bytes = 0
        """Of requests that were read and have no committed outcome: their bodies, then their lines."""
        self._held = dict.fromkeys(lanes, 0)
        """The bodies among them, by model."""
        self._probers = {
            lane: Prober(lane, options, clock, self._settle, partial(self.pump, lane.model))
            for of_model in lanes.values()
            for lane in of_model
        }
        self._to_pump: set[str] = set()
        """Models whose upstreams have room again."""
        self._finished: list[Outcome] = []
        """What the recorder gets when all answers that are there have been read."""
        self._timers: dict[str, asyncio.TimerHandle] = {}

    # -- taking part -------------------------------------------------------------------------------

    def add(self, run: TaskRun) -> None:
        """Lets a task's requests go out."""
        run.quiet_since = at = self._clock()
        self.schedulers[run.model.name].add(run, at)
        self.pump(run.model.name)

    def remove(self, run: TaskRun) -> None:
        """Starts no more of a task's requests; those that wait for their next attempt get none."""
        self._let_go(run.model.name, run.stop())
        self.schedulers[run.model.name].remove(run)

    def freed(self, size: int) -> None:
        """Outcomes of this many bytes are committed: there is room for more."""
        self._bytes -= size

    def review(self) -> None:
        """Finds out which tasks must go first to make their deadlines; to be called about once a second."""
        for scheduler in self.schedulers.values():
            scheduler.review(time.monotonic(), self._clock())

    def runs(self) -> list[TaskRun]:
        """Every task that takes part."""
        return [run for scheduler in self.schedulers.values() for run in scheduler.runs()]

    def stop(self) -> None:
        """Probes no more, and closes the connections; attempts under way are their tasks' business."""
        for lane, prober in self._probers.items():
            prober.stop()
            lane.upstream.close()

    # -- starting ----------------------------------------------------------------------------------

    def pump_all(self) -> None:
        """Starts what may start, for every model."""
        for model in self.lanes:
            self.pump(model)

    def pump(self, model: str) -> None:
        """Starts what may start for one model, and comes back when a waiting request is due."""
        scheduler = self.schedulers[model]
        now = time.monotonic()
        may_start = self._may_start()  # starting changes nothing of it
        while may_start and (lane := self._lane(model, now)) is not None:
            chosen = scheduler.next(now, fresh=self._has_room(model))
            if chosen is None:
                self._wake_at(model, scheduler.next_due())
                return
            self._start(lane, *chosen, now)
        due = [opens for lane in self.lanes[model] if (opens := lane.opens_at(now)) > now]
        if due:
            self._wake_at(model, min(due))

    def _pump_soon(self, model: str) -> None:
        """Starts what may start when all the answers that are there have been read.

        Requests then go out together: an upstream on the same machine is woken once and not for each.
        """
        if not self._to_pump:
            asyncio.get_running_loop().call_soon(self._pump_those)
        self._to_pump.add(model)

    def _pump_those(self) -> None:
        finished, self._finished = self._finished, []
        if finished:
            self._instruments.outcomes([outcome.event for outcome in finished])
            self._recorder.add(finished)
        models, self._to_pump = self._to_pump, set()
        for model in models:
            self.pump(model)
        if any(run.answered for run in {outcome.run for outcome in finished}):
            self._recorder.hurry()  # its end waits for nothing but this commit

    def _has_room(self, model: str) -> bool:
        """Whether another body may be read: bodies that wait for one model's upstream stop no other model."""
        most = self._options.in_flight_bytes
        return self._bytes < most or self._held[model] < most // len(self._held)

    def _let_go(self, model: str, size: int) -> None:
        self._bytes -= size
        self._held[model] -= size

    def _may_start(self) -> bool:
        return not self.paused and self._recorder.backlog < self._options.uncommitted_rows

    def _lane(self, model: str, now: float) -> Lane | None:
        """The upstream with the fewest requests under way that may have one more."""
        lanes, trial = self.lanes[model], self._options.outage_trial_seconds
        if len(lanes) == 1:
            return lanes[0] if lanes[0].open_at(now, trial) else None
        free = [lane for lane in lanes if lane.open_at(now, trial)]
        if any(lane.up and not lane.sick for lane in lanes):
            # Who only fails gets one at a time, now and then.
            apart = self._options.probe_interval_seconds
            free = [lane for lane in free if not lane.sick or lane.rested_at(now, apart)]
        return min(free, key=_load) if free else None

    def _wake_at(self, model: str, due: float | None) -> None:
        if model in self._timers:
            self._timers.pop(model).cancel()
        if due is not None:
            loop = asyncio.get_running_loop()
            delay = max(0.0, due - time.monotonic())
            self._timers[model] = loop.call_later(delay, self._due, model)

    def _due(self, model: str) -> None:
        self._timers.pop(model, None)
        self.pump(model)

    def _start(self, lane: Lane, run: TaskRun, request: Request, now: float) -> None:
        if request.started_at is None:
            request.started_at, request.started_monotonic = self._clock(), now
            run.started_at = run.started_at or request.started_at
            self._bytes += request.size
            self._held[lane.model] += request.size
        request.attempts += 1
        lane.started(now, request.size)
        attempt = Attempt(lane, run, request, now)
        run.attempts.add(attempt)
        attempt.call = lane.upstream.ask(run.task.endpoint, request.body, partial(self._answered, attempt))

    # -- one attempt -------------------------------------------------------------------------------

    def _answered(self, attempt: Attempt, answer: Answer | NoAnswer | Judged | Lost) -> None:
        """An HTTP call has ended."""
        attempt.ended = time.monotonic()
        try:
            kept = self._judge(attempt, answer)
        except Exception as error:  # a fault of ours: this task alone is read again
            log.exception(
                "%s line %d: an attempt failed inside", attempt.run.task.id, attempt.request.line_no
            )
            attempt.run.fail(error)
            kept = False
        self._over(attempt, kept, attempt.ended)
        self._pump_soon(attempt.lane.model)

    def _judge(self, attempt: Attempt, answer: Answer | NoAnswer | Judged | Lost) -> bool:
        """What it means; True if its request goes on."""
        lane, run = attempt.lane, attempt.run
        if isinstance(answer, Lost):
            return self._lose(attempt, answer)
        verdict = (
            answer.verdict if isinstance(answer, Judged) else judge(answer, run.task.endpoint, self._clock)
        )
        self._instruments.attempt(lane.model, lane.label, verdict.code)
        if run.broken is not None:
            return False
        attempt.verdict = verdict
        if not isinstance(answer, NoAnswer):
            attempt.first_token_seconds = answer.first_token_seconds
        lane.learn(attempt)
        return self._decide(attempt)

    def _lose(self, attempt: Attempt, lost: Lost) -> bool:
        """Who made it is gone: its request is asked again, no attempt is used up and no upstream is to blame."""
        run, request = attempt.run, attempt.request
        self._instruments.attempt(attempt.lane.model, attempt.lane.label, "lost")
        if lost.fault is not None:
            raise RuntimeError(lost.fault)
        if run.stopped:
            return False
        request.lost += 1
        run.later(request, attempt.ended + self._backoff(request.lost))
        return True

    def give_up(self, run: TaskRun) -> None:
        """Cancels what a task has under way; their places are free."""
        for attempt in list(run.attempts):
            if attempt.call is not None:
                attempt.call.cancel()
            self._over(attempt, False, time.monotonic())
        self.pump(run.model.name)

    def _over(self, attempt: Attempt, kept: bool, now: float) -> None:
        """An attempt has ended, or was given up; `kept` if its request goes on."""
        lane, run = attempt.lane, attempt.run
        if not kept:
            self._let_go(lane.model, attempt.request.size)
        lane.ended(now)
        run.attempts.discard(attempt)
        self.schedulers[lane.model].ended(run, attempt.begun, now, finished=not kept)
        if not run.attempts:
            run.quiet_since = self._clock()
            _say_if_over(run)

    def _decide(self, attempt: Attempt) -> bool:
        """Concludes from an attempt, or has it judged by a probe; True if its request goes on."""
        lane, run, verdict = attempt.lane, attempt.run, attempt.verdict
        if verdict.kind == "success":
            lane.succeeded(attempt.begun, attempt.ended)
            self._finish(attempt)
            return False
        if verdict.doubtful:
            if not run.stopped:
                run.doubted.add(attempt.request)
                self._probers[lane].doubt(attempt)
            return not run.stopped
        if verdict.status_code == 503:
            self._probers[lane].ask()
        return self._conclude(attempt)

    def _settle(self, attempt: Attempt, own_fault: bool) -> None:
        """A probe has told whether a doubted attempt counts; an outage costs a request nothing."""
        run, request = attempt.run, attempt.request
        if request not in run.doubted:
            return  # its task was stopped meanwhile
        run.doubted.discard(request)
        if not own_fault:
            run.later(request, attempt.ended)
        elif not self._conclude(attempt):
            self._let_go(attempt.lane.model, request.size)
            self._pump_soon(attempt.lane.model)
            _say_if_over(run)

    def _conclude(self, attempt: Attempt) -> bool:
        """Records a final answer, or keeps the request for a later attempt and returns True."""
        delay = self._delay(attempt)
        if delay is None:
            self._finish(attempt)
        elif not attempt.run.stopped:
            attempt.run.later(attempt.request, attempt.ended + delay)
            return True
        return False

    def _delay(self, attempt: Attempt) -> float | None:
        """Seconds until the next attempt; none if this one was the last."""
        request, verdict = attempt.request, attempt.verdict
        if verdict.kind == "failure":
            return None
        if verdict.kind == "pushback":
            request.rate_limited += verdict.status_code == 429
            since = request.pushed_back_since = request.pushed_back_since or attempt.ended
            patience = self._options.pushback_patience_seconds
            if attempt.ended - since >= patience and attempt.lane.last_success > since:
                return None
            asked = min(verdict.retry_after_seconds or 0.0, self._options.retry_after_longest_seconds)
            attempt.lane.asked_again_at = attempt.ended + (asked or self._backoff(1))
            return asked + self._backoff(request.attempts)
        request.pushed_back_since = None
        request.used += 1
        return None if request.used >= self._options.max_attempts else self._backoff(request.used)

    def _backoff(self, attempts: int) -> float:
        """Exponential with full jitter: a random part of a span that doubles up to the longest."""
        doubled = self._options.backoff_first_seconds * 2.0 ** min(attempts - 1, 30)
        return random.uniform(0, min(doubled, self._options.backoff_longest_seconds))  # noqa: S311

    # -- the final answer --------------------------------------------------------------------------

    def _finish(self, attempt: Attempt) -> None:
        """Hands an outcome to the recorder; its line is held in memory in place of the request's body."""
        run, request, verdict = attempt.run, attempt.request, attempt.verdict
        event = _event_of(attempt)
        if verdict.body is not None and verdict.status_code is not None:
            line = answer_line(run.task.id, request, verdict.status_code, verdict.request_id, verdict.body)
        else:
            code = verdict.error_code or "connection_error"
            line = error_line(run.task.id, request.line_no, request.custom_id, code, verdict.message)
        run.uncommitted += 1
        self._bytes += len(line)
        self._finished.append(Outcome(run, event, line))


def _load(lane: Lane) -> tuple[int, int, float]:
    """The least loaded is asked; of several the one that answered, and then in turn."""
    return lane.limit.in_flight, lane.failures + lane.pushbacks, lane.last_started


def _say_if_over(run: TaskRun) -> None:
    """Wakes whoever waits for a task that nothing more can come of."""
    if run.stopped or run.lost_count:
        run.changed.set()


def _event_of(attempt: Attempt) -> Event:
    """The record of a call whose final answer this attempt brought."""
    lane, run, request, verdict = attempt.lane, attempt.run, attempt.request, attempt.verdict
    task, usage, started_at = run.task, verdict.usage, request.started_at
    assert started_at is not None
    succeeded = verdict.kind == "success"
    duration = attempt.ended - attempt.begun
    total = max(duration, attempt.ended - request.started_monotonic)
    first, first_ms, first_at = attempt.first_token_seconds, None, None
    if first is not None:
        first_ms, first_at = first * 1000, started_at + timedelta(0, total - duration + first)
    tokens: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
    if usage is not None:
        tokens = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens)
    # By position, in the order of Event's fields: by name it takes seven times as long, for every call.
    # Its end is told by the monotonic clock, so that a wall clock set back makes no event end before it began.
    return Event(
        task.id, request.line_no, request.custom_id, task.workspace_id, task.api_key_id, lane.model, task.endpoint,
        "succeeded" if succeeded else "failed", verdict.status_code, verdict.error_code, verdict.finish_reason,
        succeeded and usage is None, request.attempts, request.rate_limited, *tokens, verdict.thinking,
        started_at, first_at, started_at + timedelta(0, total), duration * 1000, first_ms, total * 1000,
        lane.upstream.label,
    )  # fmt: skip
