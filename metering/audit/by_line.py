"""Where files and events disagree: line by line, a window of events at a time.

Only tasks whose sums disagree come here; each window reads the files once more.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from metering.audit.calls import Call, LineReader
from metering.audit.events import BEFORE_ALL, COMPARE_ROWS, calls, windows
from metering.audit.files import TaskFile
from metering.audit.report import Findings
from metering.store import Store

_BEHIND_ALL = 2**62
_STEP_LINES = 2_000


@dataclass(frozen=True, slots=True)
class ByLine:
    """Compares the events of one task with those of its files that are there."""

    store: Store
    task_id: str
    reader: LineReader
    files: Sequence[TaskFile]
    """Present ones."""
    whole: bool
    """Whether no file of the task is gone, so that an event without a line is wrong."""
    findings: Findings

    def compare(self) -> Generator[int, None, None]:
        """Notes every difference; yields now and then."""
        end = BEFORE_ALL
        for after, last in windows(self.store, self.task_id, COMPARE_ROWS):
            yield from self._window(after, last)
            end = last
        yield from self._window(end, _BEHIND_ALL)

    def _window(self, after: int, last: int) -> Generator[int, None, None]:
        events: dict[int, Call] = {}
        for call in calls(self.store, self.task_id, after, last) if last != _BEHIND_ALL else ():
            if call.line_no in events:
                self._event(call.line_no, "line_no", "one event", "a second one")
            events[call.line_no] = call
        met: set[int] = set()
        for file in self.files:
            for number, said in file.calls(self.reader):
                if isinstance(said, Call) and after < said.line_no <= last:
                    self._meet(file, number, said, events.get(said.line_no), met)
                if number % _STEP_LINES == 0:
                    yield 0
        for call in events.values():
            if call.line_no not in met and self._should_have_a_line(call):
                self._without_line(call)

    def _meet(self, file: TaskFile, number: int, said: Call, event: Call | None, met: set[int]) -> None:
        if said.line_no in met:
            self.findings.add(file.place, "id", "one line a request", f"a second one of line {said.line_no}",
                id=file.name, line=number)  # fmt: skip
            return
        met.add(said.line_no)
        if event is None:
            where = f"{file.place.replace('_', ' ')} {file.name} line {number}"
            self._event(said.line_no, "event", f"the event of {where}", None)
            return
        for column, wanted, seen in zip(Call._fields, said, event, strict=True):
            if wanted != seen:
                self._differs(file, number, said.line_no, column, wanted, seen)

    def _differs(
        self, file: TaskFile, number: int, line_no: int, column: str, in_file: object, in_event: object
    ) -> None:
        """Whoever is proved by the stored SHA-256 is right."""
        if file.intact:
            where = f"{file.name} line {number}"
            self._event(line_no, column, in_file, in_event, f"{column} is {in_event}, {where} says {in_file}")
        else:
            said = f"{column} is {in_file}, the event of line {line_no} says {in_event}"
            self.findings.add(file.place, column, in_event, in_file, id=file.name, line=number, message=said)

    def _event(
        self, line_no: int, column: str, wanted: object, seen: object, message: str | None = None
    ) -> None:
        self.findings.add(
            "event", column, wanted, seen, id=f"{self.task_id}:{line_no}", line=line_no, message=message
        )

    def _should_have_a_line(self, call: Call) -> bool:
        kinds = {file.kind for file in self.files}
        return self.whole or ("output" if call.outcome == "succeeded" else "error") in kinds

    def _without_line(self, call: Call) -> None:
        kind = "output" if call.outcome == "succeeded" else "error"
        file = next((file for file in self.files if file.kind == kind), None)
        if file is None or file.intact:
            self._event(call.line_no, "event", None, "an event of which no file has a line")
            return
        self.findings.add(file.place, "line", f"a line of request {call.line_no}", None,
            id=f"{file.name} request {call.line_no}")  # fmt: skip
