"""What an audit is asked and what it answers."""

from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

Verdict = Literal["verified", "digest_only", "not_verifiable", "different"]
VERDICTS: tuple[Verdict, ...] = ("verified", "digest_only", "not_verifiable", "different")
LISTED_DIFFERENCES = 1_000
"""Of one audit; more are counted only."""
LISTED_OF_A_TASK = 50
LISTED_TASKS = 10_000


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """Which tasks. What is None does not filter."""

    period: str | None = None
    """`YYYY-MM` in the billing zone: tasks that ended in it, and tasks with a correction in it."""
    task_id: str | None = None
    workspace_id: str | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it must be: where it stands, what was expected, what was found."""

    task_id: str | None
    """None for a statement, as is its workspace."""
    workspace_id: str | None
    place: str
    """`result_file`, `error_file`, `event`, `charge`, `correction`, `digest`, `task`, `rollup`, `file`, `price` or
    `statement`."""
    id: str | None
    """Of the thing: a path, a charge's or price's id, tier and mode of a digest, a closed month."""
    line: int | None
    """Line of the file; of an event the line of the input file."""
    column: str
    expected: str | None
    found: str | None
    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an audit is."""

    tasks: int
    tasks_total: int
    bytes: int
    bytes_total: int

    def as_json(self) -> dict[str, Any]:
        """As a line of the streamed answer."""
        return {"object": "audit.progress", **asdict(self)}


class Findings:
    """The differences of one task, all of them counted, the first ones kept."""

    def __init__(self, task_id: str, workspace_id: str) -> None:
        self._task_id, self.workspace_id = task_id, workspace_id
        self.count = 0
        self.kept: list[Difference] = []
        self._seen: set[tuple[Any, ...]] = set()

    def add(
        self,
        place: str,
        column: str,
        expected: object,
        found: object,
        *,
        id: str | None = None,  # noqa: A002  (its name in the report)
        line: int | None = None,
        message: str | None = None,
    ) -> None:
        """Notes a difference; the same one found by a second way is noted once."""
        wanted, seen = shown(expected), shown(found)
        key = (place, id, line, column)
        if key in self._seen:
            return
        self.count += 1
        if len(self.kept) >= LISTED_OF_A_TASK:
            return
        self._seen.add(key)
        said = message or f"{column} is {seen or 'missing'}, must be {wanted or 'nothing'}"
        where = " ".join(part for part in (place.replace("_", " "), id, line and f"line {line}") if part)
        self.kept.append(
            Difference(
                self._task_id, self.workspace_id, place, id, line, column, wanted, seen, f"{where}: {said}"
            )
        )

    def compare(
        self,
        place: str,
        column: str,
        expected: object,
        found: object,
        id: str | None = None,  # noqa: A002
    ) -> None:
        """Notes a difference if there is one."""
        if expected != found:
            self.add(place, column, expected, found, id=id)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What came out for one task."""

    task_id: str
    workspace_id: str
    verdict: Verdict
    differences: int


@dataclass(slots=True)
class Report:
    """All that came out, bounded however much there was."""

    asked: AuditRequest
    started_at: datetime
    finished_at: datetime | None = None
    totals: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERDICTS, 0))
    requests: int = 0
    """Calls that were read from files or events."""
    bytes: int = 0
    charges: int = 0
    differences: int = 0
    listed: list[Difference] = field(default_factory=list)
    tasks: list[TaskResult] = field(default_factory=list)
    months: dict[str, int] = field(default_factory=lambda: {"verified": 0, "different": 0})
    """Closed months whose statements were held against the ledger."""
    amounts: dict[str, tuple[int, Fraction, Fraction]] = field(default_factory=dict)
    """Entries, list amount and amount of the ledger by currency, corrections included."""

    @property
    def task_count(self) -> int:
        """Tasks that were looked at."""
        return sum(self.totals.values())

    def add(self, found: Findings, result: TaskResult) -> None:
        """Takes in one task."""
        self.totals[result.verdict] += 1
        self.differences += found.count
        self.listed += found.kept[: max(0, LISTED_DIFFERENCES - len(self.listed))]
        if len(self.tasks) < LISTED_TASKS:
            self.tasks.append(result)

    def add_month(self, period: str, differences: list[str]) -> None:
        """Takes in a closed month: what of its statements does not follow from the ledger."""
        self.months["different" if differences else "verified"] += 1
        self.differences += len(differences)
        room = max(0, LISTED_DIFFERENCES - len(self.listed))
        self.listed += [
            Difference(None, None, "statement", period, None, "statement", None, None, f"statement {said}")
            for said in differences[:room]
        ]

    def add_charge(self, currency: str, list_amount: Decimal, amount: Decimal) -> None:
        """Takes in one entry of the ledger."""
        entries, listed, charged = self.amounts.get(currency, (0, Fraction(0), Fraction(0)))
        self.charges += 1
        self.amounts[currency] = (entries + 1, listed + Fraction(list_amount), charged + Fraction(amount))

    def as_json(self) -> dict[str, Any]:
        """The report as the API gives it."""
        assert self.finished_at is not None
        return {
            "object": "audit",
            **asdict(self.asked),
            "started_at": _instant(self.started_at),
            "finished_at": _instant(self.finished_at),
            "tasks": self.task_count,
            "totals": dict(self.totals),
            "months": dict(self.months),
            "requests": self.requests,
            "bytes": self.bytes,
            "charges": self.charges,
            "amounts": [
                {
                    "currency": currency,
                    "charges": entries,
                    "list_amount": shown(listed),
                    "amount": shown(charged),
                }
                for currency, (entries, listed, charged) in sorted(self.amounts.items())
            ],
            "difference_count": self.differences,
            "differences": [asdict(one) for one in self.listed],
            "differences_left_off": self.differences - len(self.listed),
            "data": [asdict(one) for one in self.tasks],
            "data_left_off": self.task_count - len(self.tasks),
        }


def shown(value: object) -> str | None:
    """A value as the report writes it: amounts as plain decimals, moments in UTC, None as none."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return _instant(value)
    if isinstance(value, Decimal):
        value = Fraction(value)
    if isinstance(value, Fraction):
        return _decimal(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _decimal(value: Fraction) -> str:
    scaled = value * 10**15
    if scaled.denominator != 1:
        return str(value)
    digits = f"{abs(scaled.numerator):016d}"
    text = f"{digits[:-15]}.{digits[-15:]}".rstrip("0").rstrip(".")
    return f"-{text}" if value < 0 else text


def _instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
