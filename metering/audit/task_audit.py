"""The audit of one task: what its files and its events say, beside what is stored of it."""

from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

from metering.audit.by_line import ByLine
from metering.audit.calls import LineReader
from metering.audit.entries import compare_corrections, compare_usage, expected_charges
from metering.audit.events import TALLY_ROWS, calls, windows
from metering.audit.files import Kind, State, TaskFile, read_through, stored_sha256
from metering.audit.price_history import PriceHistory, Rates
from metering.audit.report import Findings, Verdict
from metering.audit.tally import FREE, NOTHING, UNMETERED, Group, Tally
from metering.store import Row, Store

_UNPRICED = "?"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is the same for every task of an audit."""

    store: Store
    prices: PriceHistory
    zone: ZoneInfo
    now: datetime
    event_days: int
    """Events of tasks that ended longer ago may be gone."""

    @property
    def data_dir(self) -> Path:
        """The data folder."""
        return self.store.data_dir


@dataclass(slots=True)
class TaskAudit:
    """One task with its rows, all of one snapshot. Run it once."""

    around: Surroundings
    task: Row
    charges: list[Row]
    digests: list[Row]
    rollup: Row | None
    files: dict[str, Row]
    """Rows of the task's files by id."""
    findings: Findings = field(init=False)
    verdict: Verdict = field(init=False, default="different")
    calls: int = field(init=False, default=0)
    """Requests with an answer that were seen."""
    _rates: Rates | None = field(init=False, default=None)
    _reader: LineReader = field(init=False)

    def __post_init__(self) -> None:
        owner = self.task["workspace_id"] or (self.charges[0]["workspace_id"] if self.charges else "")
        self.findings = Findings(self.task["task_id"], owner)

    def run(self) -> Generator[int, None, None]:
        """Finds out the verdict; yields the bytes that were read of files."""
        compare_corrections(self.findings, self.charges, self.around.zone)
        if not self.task["known"] or self.task["ended_at"] is None:
            self._charged_without_end()
            return
        self._rates = self._price()
        self._reader = LineReader(self.task["task_id"], self.task["endpoint"], self.task["status"])
        files = [self._file("output"), self._file("error")]
        from_files, from_events = self._tally(), self._tally()
        for file in files:
            if file.state == "present":
                yield from read_through(file, self._reader, from_files, self.findings)
        events_gone = yield from self._read_events(from_events)
        self.calls = max(from_files.succeeded + from_files.failed, from_events.succeeded + from_events.failed)
        if not events_gone:
            yield from self._compare_lines(files, from_files, from_events)
            self._compare_strangers()
        self._compare_stored(files, from_files, None if events_gone else from_events)
        self._decide(files, events_gone)

    def _charged_without_end(self) -> None:
        state = f"in status {self.task['status']}" if self.task["known"] else "not there"
        for charge in self.charges:
            self.findings.add("charge", "task_id", "an ended task", charge["task_id"], id=charge["charge_id"],
                message=f"an entry of a task that is {state}")  # fmt: skip

    def _decide(self, files: list[TaskFile], events_gone: bool) -> None:
        if self.findings.count:
            self.verdict = "different"
        elif any(file.state == "gone" for file in files):
            self.verdict = "not_verifiable" if events_gone else "digest_only"
        else:
            self.verdict = "verified"

    # -- what there is ---------------------------------------------------------------------------------

    def _price(self) -> Rates | None:
        model, currency = self.task["model"], self.task["currency"]
        if currency is None or model is None:
            return None
        for charge in self.charges:
            if (fault := self.around.prices.faults.get(charge["price_id"])) is not None:
                self.findings.add("price", fault.column, fault.expected, fault.found, id=fault.price_id)
        return self.around.prices.at(model, currency, self.task["ended_at"])

    def _tally(self) -> Tally:
        rates, free = self._rates, self.task["currency"] is None
        return Tally(rates.tier_of if rates else lambda _: FREE if free else _UNPRICED)

    def _file(self, kind: Kind) -> TaskFile:
        identity = self.task[f"{kind}_file_id"]
        row = self.files.get(identity) if identity else None
        sha256 = stored_sha256(self.findings, kind, self.task, row, self.digests)
        name = row["path"] if row else f"outputs/{self.task['task_id']}.{kind}.jsonl"
        size = self.task[f"{kind}_bytes"]
        file = TaskFile(
            kind, self.around.data_dir / name, name, "never", row["bytes"] if row else size, sha256
        )
        if row is None:
            if identity or sha256:
                self.findings.add("file", "id", identity or "a row", None, id=identity)
                file.state = "present" if file.path.is_file() else "lost"
            return file
        self.findings.compare("task", f"{kind}_bytes", row["bytes"], size)
        file.state = "present"
        if row["deleted_at"] is not None or not file.path.is_file():
            file.state = self._why_missing(file, row)
        return file

    def _why_missing(self, file: TaskFile, row: Row) -> State:
        """Asked again, since the file may have been deleted after its row was read."""
        latest = self.around.store.one("audit.file", id=row["id"]) or row
        expired = latest["expires_at"] is not None and latest["expires_at"] <= self.around.now
        if latest["deleted_at"] is not None or expired:
            return "gone"
        self.findings.add(file.place, "file", "present", None, id=file.name,
            message="the file is missing, though its row says that it is there")  # fmt: skip
        return "lost"

    def _read_events(self, tally: Tally) -> Generator[int, None, bool]:
        """Counts the events; True if there are none any more, for a good reason."""
        for after, last in windows(self.around.store, self.task["task_id"], TALLY_ROWS):
            for number, call in enumerate(calls(self.around.store, self.task["task_id"], after, last), 1):
                tally.add(call)
                if number % TALLY_ROWS == 0:
                    yield 0
        kept = timedelta(days=self.around.event_days)
        old = self.task["ended_at"] + kept <= self.around.now
        none = tally.succeeded + tally.failed == 0
        return old and none and self.task["completed"] + self.task["failed"] > 0

    # -- comparing -------------------------------------------------------------------------------------

    def _compare_lines(
        self, files: list[TaskFile], from_files: Tally, from_events: Tally
    ) -> Generator[int, None, None]:
        there = [file for file in files if file.state == "present"]
        outcomes = {"output": "succeeded", "error": "failed"}
        readable = [outcomes[file.kind] for file in files if file.state in ("present", "never")]
        if all(from_files.marks[outcome] == from_events.marks[outcome] for outcome in readable):
            return
        whole = len(readable) == len(files)
        yield from ByLine(
            self.around.store, self.task["task_id"], self._reader, there, whole, self.findings
        ).compare()

    def _compare_strangers(self) -> None:
        names = ("task_id", "workspace_id", "model", "api_key_id")
        found = self.around.store.one("audit.strangers", **{name: self.task[name] for name in names})
        if found is not None and found["events"]:
            self.findings.add("event", "workspace_id, api_key_id, model", "those of the task", "others",
                line=found["line_no"], message=f"{found['events']} events carry others than their task")  # fmt: skip

    def _compare_stored(self, files: list[TaskFile], from_files: Tally, from_events: Tally | None) -> None:
        output, error = files
        by, tally = _proof(output, from_files, from_events)
        if tally is None:
            self._compare_groups(self._digested(), None, by)
        else:
            self._compare_groups(tally.groups, tally.digest(), by)
            self._compare_sums(tally)
        succeeded = tally.succeeded if tally else self.task["completed"]
        failed, total = self.task["failed"], self.task["total"]
        if error.readable:
            failed = from_files.failed
            total = succeeded + failed + error.closing
        elif from_events is not None:
            failed = from_events.failed
        self._compare_counts({"failed": failed, "total": total}, succeeded + failed)

    def _compare_groups(
        self,
        groups: dict[Group, tuple[int, int, int]],
        digest: dict[Group, tuple[int, int, int]] | None,
        by: str,
    ) -> None:
        priced = {group: sums for group, sums in groups.items() if group[0] not in (FREE, _UNPRICED)}
        if any(tier == _UNPRICED for tier, _ in groups):
            moment = self.task["ended_at"].isoformat()
            self.findings.add("price", "price_id", "a price in force", None,
                message=f"{self.task['model']} has no stored price in {self.task['currency']} at {moment}")  # fmt: skip
            return
        expected = expected_charges(self.task, self._rates, priced, self.around.zone) if self._rates else []
        usage = [charge for charge in self.charges if charge["kind"] == "usage"]
        compare_usage(self.findings, expected, usage, by)
        sums = {
            name: sum((entry[name] for entry in expected), Fraction(0)) for name in ("list_amount", "amount")
        }
        rows = {"task": self.task} if self.rollup is None else {"task": self.task, "rollup": self.rollup}
        for place, row in rows.items():
            for name, amount in sums.items():
                if row[name] is None or Fraction(row[name]) != amount:
                    self.findings.add(place, name, amount, row[name])
        if digest is not None and self._was_run:
            self._compare_digest(digest)

    def _digested(self) -> dict[Group, tuple[int, int, int]]:
        """What the digest says was metered."""
        return {
            (row["tier"], row["mode"]): (row["requests"], row["input_tokens"], row["output_tokens"])
            for row in self.digests
            if row["tier"] not in (UNMETERED, NOTHING)
        }

    def _compare_digest(self, expected: dict[Group, tuple[int, int, int]]) -> None:
        names = ("requests", "input_tokens", "output_tokens")
        stored: dict[Group, Row] = {}
        for row in self.digests:
            if stored.setdefault((row["tier"], row["mode"]), row) is not row:
                self.findings.add("digest", "tier", "one row", "two", id=f"{row['tier']} {row['mode']}")
        for group in sorted(expected.keys() | stored.keys()):
            identity = " ".join(group)
            wanted, digest = expected.get(group), stored.get(group)
            if wanted is None or digest is None:
                found = ("a row", None) if digest is None else (None, "a row")
                self.findings.add("digest", "tier", *found, id=identity)
                continue
            for name, value in zip(names, wanted, strict=True):
                self.findings.compare("digest", name, value, digest[name], id=identity)

    def _compare_sums(self, tally: Tally) -> None:
        self.findings.compare("task", "completed", tally.succeeded, self.task["completed"])
        for name, tokens in tally.tokens.items():
            self.findings.compare("task", name, tokens, self.task[name])
        if self.rollup is None:
            return
        free = tally.succeeded - tally.unmetered if self.task["currency"] is None else 0
        counted = {
            "succeeded": tally.succeeded,
            "unmetered": tally.unmetered,
            "free_requests": free,
            **tally.tokens,
        }
        for name, number in counted.items():
            self.findings.compare("rollup", name, number, self.rollup[name])

    @property
    def _was_run(self) -> bool:
        return self.task["in_progress_at"] is not None and self.task["model"] is not None

    def _compare_counts(self, counts: dict[str, int], calls_made: int) -> None:
        for name, number in counts.items():
            self.findings.compare("task", name, number, self.task[name])
        if self.rollup is None:
            if self._was_run:
                self.findings.add("rollup", "task_id", self.task["task_id"], None)
            return
        same = ("workspace_id", "api_key_id", "model", "currency", "status", "ended_at")
        expected = {**counts, "calls": calls_made, **{name: self.task[name] for name in same}}
        for name, value in expected.items():
            self.findings.compare("rollup", name, value, self.rollup[name])


def _proof(output: TaskFile, from_files: Tally, from_events: Tally | None) -> tuple[str, Tally | None]:
    """What the ledger is held against: the result file, or else the events, or else the digest.

    Where both are there they were compared line by line, and a file that is not the one that was
    delivered proves nothing.
    """
    if output.readable:
        return "result file", from_files
    return ("events", from_events) if from_events is not None else ("digest", None)
