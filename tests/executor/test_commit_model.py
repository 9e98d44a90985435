"""A model check of commit, ending and recovery (SPEC §2.1, 2.3, 2.4).

Hypothesis orders answers, commits, cancels, expiries, clock changes, failures, crashes and damaged files
as it likes. Beside the real thing runs a model so small that it can be seen to be right: the answers
that were given, those of them that are known to be committed, and what a task's end was promised to be.
"""

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from executor.tasks import Task, task_of
from metering.options import StorageOptions
from metering.store import Store
from tests.executor.commit_promises import (
    Promise,
    by_task,
    bytes_of,
    check_delivered,
    content,
    is_closing,
    lines_of,
    number_of,
)
from tests.executor.commit_world import COMMIT_STEPS, KINDS, STEPS, Crash, Kind, World

INPUT, OUTPUT = Decimal("0.0000005"), Decimal("0.000001")
"""Half of what the world's price book asks for a token."""


class CommitProtocol(RuleBasedStateMachine):
    """The real thing and its model."""

    blank: ClassVar[Path]
    tasks = Bundle("tasks")

    @initialize(power_fails=st.booleans())
    def begin(self, power_fails: bool) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="commit-model-"))
        self.world = World(self.place, self.blank)
        self.power_fails = power_fails
        """Once all that was drawn has happened; when every task has ended it does in any case."""
        self.promises: dict[str, Promise] = {}
        self.last_end = datetime(1970, 1, 1, tzinfo=UTC)
        self.seen_ended: set[str] = set()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            self._finish_everything()
        finally:
            self.world.stop()
            self.world.disk.stop()
            shutil.rmtree(self.place)

    # -- what can happen -------------------------------------------------------------------------

    @rule(
        target=tasks,
        requests=st.integers(1, 5),
        begun=st.sampled_from(["validating", "accepted", "answered", "committed", "committed"]),
        kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5),
    )
    def create(self, requests: int, begun: str, kinds: list[Kind]) -> str:
        """A task that is so far on its way that faults find something to spoil."""
        task_id = f"batch_{len(self.promises):032x}"
        self.world.create(task_id, requests)
        self.promises[task_id] = Promise(requests)
        if begun != "validating":
            self.accept(task_id)
            self.load(task_id)
        if begun in ("answered", "committed"):
            self.answer(task_id, kinds)
        if begun == "committed":
            self.commit(len(self.world.queue))
        return task_id

    @rule(task_id=tasks)
    def accept(self, task_id: str) -> None:
        self.world.accept(task_id, self.promises[task_id].requests)

    @rule(task_id=tasks)
    def load(self, task_id: str) -> None:
        """A turn of a task that may be executed."""
        task = self.world.task(task_id)
        if task_id not in self.world.runs and task.status == "in_progress" and task.ending is None:
            self._surviving(lambda: self.world.load(task_id))
            self._restored(task_id)

    @rule(task_id=tasks, kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=5))
    def answer(self, task_id: str, kinds: list[Kind]) -> None:
        if task_id not in self.world.runs:
            self.load(task_id)
        for kind in kinds if task_id in self.world.runs else ():
            outcome = self.world.answer(task_id, kind)
            if outcome is not None:
                answers = self.promises[task_id].given.setdefault(outcome.event.line_no, set())
                answers.add(outcome.line)

    @rule(size=st.integers(1, 12))
    def commit(self, size: int) -> None:
        """A batch is durable as a whole or not at all, whether it failed, and where."""
        batch = [outcome for outcome in self.world.queue[:size] if outcome.run.broken is None]
        confirmed = False

        def commit() -> None:
            nonlocal confirmed
            confirmed = self.world.commit(size)

        self._surviving(commit)
        there = self._events()
        stored = [(outcome.event.task_id, outcome.event.line_no) in there for outcome in batch]
        assert all(stored) or not any(stored)
        assert all(stored) or not confirmed
        for outcome in batch if all(stored) else ():
            self.promises[outcome.event.task_id].kept[outcome.event.line_no] = outcome.line

    @rule(task_id=tasks)
    def cancel(self, task_id: str) -> None:
        """A cancel that was confirmed is kept."""
        before = self.world.task(task_id)
        if self.world.cancel(task_id):
            assert before.ending is None
            self.promises[task_id].ending = "cancelled"

    @rule(task_id=tasks)
    def expire(self, task_id: str) -> None:
        """The window is over while the task runs; whichever of cancel and expiry came first wins."""
        if self.world.task(task_id).status == "in_progress":
            self._surviving(lambda: self.world.claim(task_id, "expired"))
            self._note_ending(task_id)

    @rule(task_id=tasks)
    def complete(self, task_id: str) -> None:
        """Every request has a committed answer."""
        run = self.world.runs.get(task_id)
        if run is not None and run.settled:
            self._surviving(lambda: self.world.claim(task_id, "completed"))

    @rule(task_id=tasks)
    def end(self, task_id: str) -> None:
        task = self.world.task(task_id)
        if task.ending is None or task.settled:
            return
        if (run := self.world.runs.get(task_id)) and run.uncommitted:
            self.commit(len(self.world.queue))
        if self.world.task(task_id).ending is not None:
            self._surviving(lambda: self.world.end(task_id))
            self._restored(task_id)

    @precondition(lambda self: self.world.queue)
    @rule(step=st.sampled_from(COMMIT_STEPS), error=st.sampled_from([OSError, Crash]))
    def fail_commit(self, step: str, error: type[BaseException]) -> None:
        """A commit fails at this step, or the process is gone in it."""
        self.arm(step, error)
        self.commit(len(self.world.queue))

    @rule(step=st.sampled_from(STEPS), error=st.sampled_from([OSError, Crash]))
    def arm(self, step: str, error: type[BaseException]) -> None:
        """The next time that this step is reached it fails, or the process is gone."""
        self.world.fault.armed, self.world.fault.error = step, error

    @rule(hours=st.integers(-48, 48))
    def set_clock(self, hours: int) -> None:
        self.world.clock.now += timedelta(hours=hours)

    @precondition(lambda self: self.world.runs)
    @rule()
    def crash(self) -> None:
        self.world.crash()
        self.world.start()

    @precondition(lambda self: self.promises)
    @rule()
    def cut_power(self) -> None:
        """Whatever counts was synced before it did."""
        self.world.cut_power()
        self.world.start()

    @precondition(lambda self: self.world.runs)
    @rule(
        task_id=tasks,
        which=st.integers(0, 1),
        left=st.sampled_from([0.0, 0.3, 0.6, 0.9, 1.0]),
        tail=st.sampled_from([b"", b'{"id":"batch_req_0', b"\0" * 64 + b"\n"]),
    )
    def crash_with_damage(self, task_id: str, which: int, left: float, tail: bytes) -> None:
        """The disk lost the end of a file, or kept a torn one behind it."""
        task = self.world.task(task_id)
        self.world.crash()
        self._damage(task, which, left, tail)
        self.world.start()

    @rule(task_id=tasks, which=st.integers(0, 1), left=st.sampled_from([0.0, 0.5, 1.0]))
    def damage(self, task_id: str, which: int, left: float) -> None:
        """Somebody cuts a file short while the task runs."""
        self._damage(self.world.task(task_id), which, left, b"")

    def _damage(self, task: Task, which: int, left: float, tail: bytes) -> None:
        path = self.world.paths(task.id)[which]
        if task.settled or not path.exists():
            return
        promise, counts = self.promises[task.id], (task.output_bytes, task.error_bytes)[which]
        size = int(path.stat().st_size * left)
        os.truncate(path, size)
        there = content(self.world, task.id)
        promise.kept = {n: text for n, text in promise.kept.items() if text in there}
        promise.whole = promise.whole and size >= counts
        with path.open("ab") as file:
            file.write(tail if size >= counts else tail[: counts - size - 1])

    # -- what is always true ----------------------------------------------------------------------

    @invariant()
    def holds(self) -> None:
        if not getattr(self, "promises", None):
            return
        rows, found, charged, counted = self.world.all_rows(
            "SELECT * FROM tasks",
            "SELECT task_id, line_no FROM request_events",
            "SELECT task_id, sku, quantity, amount FROM charges",
            "SELECT task_id, succeeded, failed, unmetered FROM task_rollups",
        )
        tasks = {row["id"]: task_of(row) for row in rows}
        events = Counter((row["task_id"], row["line_no"]) for row in found)
        charges, rollups = by_task(charged), by_task(counted)
        assert set(events.values()) <= {1}, "a call has two events"
        ended = []
        for task_id, promise in self.promises.items():
            task = tasks[task_id]
            of_task = {line_no for owner, line_no in events if owner == task_id}
            assert task.completed + task.failed == len(of_task)
            if task.settled:
                self._check_ended(task, promise, of_task, charges.get(task_id, []), rollups.get(task_id, []))
                ended.append(task)
            else:
                assert (task.ended_at, task.amount, task.output_file_id) == (None, None, None)
                assert task_id not in charges
                assert task_id not in rollups
                self._check_running(task, promise, of_task)
        self._check_moments(ended)

    def _check_running(self, task: Task, promise: Promise, events: set[int]) -> None:
        """What counts of both files answers exactly the lines that have an event."""
        if promise.whole:
            good, bad = lines_of(self.world, task, task.output_bytes, task.error_bytes)
            check_delivered(promise, good + bad)
            assert Counter(map(number_of, good + bad)) == dict.fromkeys(events, 1)
            assert (task.completed, task.failed) == (len(good), len(bad))
        if promise.ending is not None:
            assert task.ending == promise.ending

    def _check_ended(
        self,
        task: Task,
        promise: Promise,
        events: set[int],
        charges: list[dict[str, Any]],
        rollups: list[dict[str, Any]],
    ) -> None:
        """One line a request, one event a call, the bill of the result file, and the promised end."""
        assert task.status == (promise.ending or "completed")
        assert task.ended_at is not None
        good, bad = lines_of(self.world, task, None, None)
        assert (task.output_file_id is not None, task.error_file_id is not None) == (bool(good), bool(bad))
        called = [text for text in bad if not is_closing(text)]
        validated = task.in_progress_at is not None
        everyone = range(1, promise.requests + 1) if validated else ()
        assert sorted(map(number_of, good + bad)) == list(everyone)
        assert {number_of(text) for text in good + called} == events
        check_delivered(promise, good + called)
        assert (task.completed, task.failed) == (len(good), len(called))
        usages = [usage for text in good if (usage := json.loads(text)["response"]["body"]["usage"])]
        inputs = sum(usage["prompt_tokens"] for usage in usages)
        outputs = sum(usage["completion_tokens"] for usage in usages)
        owed = inputs * INPUT + outputs * OUTPUT
        assert sum(c["quantity"] for c in charges if c["sku"] == "input_tokens") == inputs
        assert sum(c["quantity"] for c in charges if c["sku"] == "output_tokens") == outputs
        assert sum(c["amount"] for c in charges) == task.amount == owed
        assert task.list_amount == 2 * owed
        counted = {"succeeded": len(good), "failed": len(called), "unmetered": len(good) - len(usages)}
        assert rollups == ([counted] if validated else [])

    def _check_moments(self, ended: list[Task]) -> None:
        """The ledger's clock never goes back, whatever the machine's does."""
        for task in ended:
            if task.id not in self.seen_ended:
                self.seen_ended.add(task.id)
                assert task.ended_at is not None
                assert task.ended_at >= self.last_end
                self.last_end = task.ended_at

    # -- the end of every example -------------------------------------------------------------------

    def _finish_everything(self) -> None:
        """Without further faults every task comes to its end in a few turns, and that is durable."""
        self.world.fault.armed = None
        if self.power_fails:
            self.cut_power()
            self.holds()
        for task_id, promise in self.promises.items():
            for _ in range(4):
                if self.world.task(task_id).settled:
                    break
                self.accept(task_id)
                self.answer(task_id, ["success"] * promise.requests)
                self.commit(len(self.world.queue) + 1)
                self.complete(task_id)
                self.end(task_id)
            assert self.world.task(task_id).settled
        self.holds()
        self.cut_power()
        self.holds()

    # -- keeping the model ---------------------------------------------------------------------------

    def _surviving(self, step: Callable[[], None]) -> None:
        """Runs a step; if the process is gone in it, the next one begins."""
        try:
            step()
        except Crash:
            self.world.crash()
            self.world.start()

    def _note_ending(self, task_id: str) -> None:
        ending = self.world.task(task_id).ending
        if ending in ("cancelled", "expired"):
            self.promises[task_id].ending = ending

    def _restored(self, task_id: str) -> None:
        """A turn on a task brought its files back to what counts, unless it failed before."""
        task, sizes = self.world.task(task_id), [bytes_of(path) for path in self.world.paths(task_id)]
        if sizes[0] >= task.output_bytes and sizes[1] >= task.error_bytes:
            self.promises[task_id].whole = True

    def _events(self) -> Counter[tuple[str, int]]:
        return Counter(
            (row["task_id"], row["line_no"])
            for row in self.world.all_rows("SELECT task_id, line_no FROM request_events")[0]
        )


class TestCommitProtocol(CommitProtocol.TestCase):  # type: ignore[name-defined,misc]
    """Whatever happens in whatever order: one line, one event, one bill, and only at the end."""

    settings = settings(
        deadline=None,
        max_examples=20,
        stateful_step_count=25,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )

    @classmethod
    def setUpClass(cls) -> None:
        """A blank database, made once: most of the cost of a new one is its migrations."""
        super().setUpClass()
        CommitProtocol.blank = Path(tempfile.mkdtemp(prefix="commit-model-blank-"))
        Store(StorageOptions(data_dir=CommitProtocol.blank), ("metering", "executor")).close()

    @classmethod
    def tearDownClass(cls) -> None:
        shutil.rmtree(CommitProtocol.blank)
        super().tearDownClass()
