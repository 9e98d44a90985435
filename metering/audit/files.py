"""A task's files as they lie on the disk: read once, line by line, in constant memory."""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from metering.audit.calls import Call, LineFault, LineReader
from metering.audit.report import Findings
from metering.audit.tally import Tally
from metering.store import Row

Kind = Literal["output", "error"]
State = Literal["never", "present", "gone", "lost"]
PLACES: dict[Kind, str] = {"output": "result_file", "error": "error_file"}
_LONGEST_LINE = 64 * 2**20
"""Bytes of a line that are held at once; the service writes none that is so long."""
_STEP = 4 * 2**20
"""Bytes between two signs of progress."""


@dataclass(slots=True)
class TaskFile:
    """The result file or the error file of a task, and what was found out about it."""

    kind: Kind
    path: Path
    name: str
    """The path within the data folder."""
    state: State
    """`never`: the task has none; `gone`: deleted by the API or by retention; `lost`: it should be there."""
    size: int
    """Bytes that it must have."""
    sha256: str | None
    intact: bool = True
    lines: int = 0
    closing: int = 0
    """Lines of requests that were never executed."""

    @property
    def place(self) -> str:
        """How differences name it."""
        return PLACES[self.kind]

    @property
    def readable(self) -> bool:
        """Whether what was read of it is all that was delivered."""
        return self.state == "never" or (self.state == "present" and self.intact)

    def raw_lines(self) -> Iterator[bytes]:
        """The lines with their ends. A part of a line that is too long comes without one."""
        with self.path.open("rb") as file:
            while line := file.readline(_LONGEST_LINE):
                yield line

    def calls(self, reader: LineReader) -> Iterator[tuple[int, Call | LineFault | None]]:
        """Physical line and what it says; None for a request that was never executed."""
        read = reader.result if self.kind == "output" else reader.error
        for number, raw in enumerate(self.raw_lines(), 1):
            yield number, read(raw)


def read_through(
    file: TaskFile, reader: LineReader, tally: Tally, findings: Findings
) -> Generator[int, None, None]:
    """Reads a file that is present: its calls into the tally, its faults into the findings; yields bytes.

    A file that can't be opened is `lost`.
    """
    digest = hashlib.sha256()
    size = unsaid = 0
    faults: list[tuple[int, LineFault]] = []
    read = reader.result if file.kind == "output" else reader.error
    try:
        for raw in file.raw_lines():
            digest.update(raw)
            size += len(raw)
            unsaid += len(raw)
            file.lines += 1
            said = read(raw)
            if isinstance(said, Call):
                tally.add(said)
            elif said is None:
                file.closing += 1
            elif len(faults) < 10:
                faults.append((file.lines, said))
            if unsaid >= _STEP:
                yield unsaid
                unsaid = 0
    except OSError as error:
        file.state = "lost"
        findings.add(file.place, "file", "present", error.strerror or type(error).__name__, id=file.name)
        return
    yield unsaid
    _prove(file, size, digest.hexdigest(), findings)
    for number, fault in faults:
        findings.add(file.place, fault.column, fault.expected, fault.found, id=file.name, line=number)


def _prove(file: TaskFile, size: int, sha256: str, findings: Findings) -> None:
    findings.compare(file.place, "bytes", file.size, size, id=file.name)
    findings.compare(file.place, "sha256", file.sha256, sha256, id=file.name)
    file.intact = (size, sha256) == (file.size, file.sha256)


def stored_sha256(
    findings: Findings, kind: Kind, task: Row, row: Row | None, digests: list[Row]
) -> str | None:
    """What three places say that the file's SHA-256 is: the most of them; the others are noted."""
    column = f"{kind}_sha256"
    said: list[tuple[str, str | None, str | None]] = [("task", None, task[column])]
    if row is not None:
        said.append(("file", row["id"], row["sha256"]))
    said += [("digest", f"{digest['tier']} {digest['mode']}", digest[column]) for digest in digests[:1]]
    values = [value for _, _, value in said]
    right = max(values, key=values.count)
    for place, identity, value in said:
        findings.compare(place, "sha256" if place == "file" else column, right, value, id=identity)
    for digest in digests[1:]:
        identity = f"{digest['tier']} {digest['mode']}"
        findings.compare("digest", column, right, digest[column], id=identity)
    return right
