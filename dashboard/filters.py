"""What an address asks for: URL ⇄ frozen value. Pure; relative times stay relative until they are read."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode
from zoneinfo import ZoneInfo

from metering.errors import InvalidParameter
from metering.ranges import parse_zone

PREFIX = "/console"
STATUS_WORDS = ("Validating", "Executing", "Cancelling", "Completed", "Failed", "Stopped")
PRESETS = (
    ("now-1h", "Last hour"),
    ("now-6h", "Last 6 hours"),
    ("now-24h", "Last 24 hours"),
    ("now-3d", "Last 3 days"),
    ("now-7d", "Last 7 days"),
    ("now-15d", "Last 15 days"),
)
PRECISIONS = ("minute", "hour", "day")
MOST_PAGES = 1_000_000
SHORT, LONG = timedelta(hours=6), timedelta(days=7)
_RELATIVE = re.compile(r"now(?:-([0-9]{1,6})([smhdw]))?")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@dataclass(frozen=True, slots=True)
class Address:
    """A place of the console: its path below `/console` and its query."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, pathname: str | None, search: str | None) -> "Address":
        """The address of a browser's `pathname` and `search`; the first of equal names counts."""
        path = (pathname or "/").removeprefix(PREFIX) or "/"
        query: dict[str, str] = {}
        for name, value in parse_qsl((search or "").removeprefix("?")):
            query.setdefault(name, value)
        return cls(path if path == "/" else path.rstrip("/"), query)

    @classmethod
    def of_href(cls, href: str) -> "Address":
        """The address of a link."""
        pathname, _, search = href.partition("?")
        return cls.parse(pathname, search)

    def get(self, name: str, default: str = "") -> str:
        """A value of the query without spaces around it."""
        return self.query.get(name, "").strip() or default

    def tail(self, prefix: str) -> str:
        """What follows a prefix of the path, decoded: a model's name may contain a slash."""
        return unquote(self.path.removeprefix(prefix))

    def with_(self, **changes: str | None) -> "Address":
        """The same place with some values changed; None takes one out."""
        merged = {**self.query, **{k: v for k, v in changes.items() if v is not None}}
        return replace(self, query={k: v for k, v in merged.items() if changes.get(k, v) is not None})

    @property
    def search(self) -> str:
        """The query as it stands in the address, without the question mark."""
        return urlencode(dict(self.query), safe=":/")

    @property
    def href(self) -> str:
        """The link to this place."""
        return f"{PREFIX}{self.path}" + (f"?{self.search}" if self.query else "")


def page_of(text: str) -> int:
    """A page's number; the first for anything that is none."""
    return min(max(int(text), 1), MOST_PAGES) if text.isdecimal() and len(text) < 9 else 1


def task_href(task_id: str) -> str:
    """The link to a task's page."""
    return f"{PREFIX}/tasks/{quote(task_id, safe='')}"


def settings_href(workspace_id: str) -> str:
    """The link to what can be set of a workspace."""
    return Address("/settings", {"workspace": workspace_id}).href


def monitor_href(model: str, address: Address) -> str:
    """The link to a model's Monitor page with the period, zone and workspace of the present one."""
    kept = {k: v for k, v in address.query.items() if k in ("from", "to", "zone", "workspace")}
    return Address(f"/monitor/{quote(model, safe='')}", kept).href


@dataclass(frozen=True, slots=True)
class TaskView:
    """Which tasks the list shows."""

    workspace: str | None
    status: str | None
    """A word of `STATUS_WORDS`."""
    search: str
    page: int
    """From 1, the newest."""

    @classmethod
    def of(cls, address: Address) -> "TaskView":
        """What an address asks for; an unknown status asks for all."""
        status = address.get("status").capitalize()
        return cls(
            workspace=address.get("workspace") or None,
            status=status if status in STATUS_WORDS else None,
            search=address.get("search")[:200],
            page=page_of(address.get("page")),
        )

    @property
    def filtered(self) -> bool:
        """Whether tasks may be hidden."""
        return bool(self.workspace or self.status or self.search)


@dataclass(frozen=True, slots=True)
class PeriodView:
    """A period of statistics as it stands in the address: relative or absolute, and in which zone it is read."""

    start: str
    end: str
    zone: str
    """`UTC`, `browser` or an IANA name."""
    workspace: str | None
    model: str | None = None
    precision: str = "hour"

    @classmethod
    def of(cls, address: Address, zone: str = "UTC", model: str | None = None) -> "PeriodView":
        """What an address asks for: by default the last 24 hours, in the zone that was chosen last."""
        monitored = address.tail("/monitor/") if address.path.startswith("/monitor/") else None
        start = address.get("from", "now-24h")
        precision = address.get("precision").lower()
        return cls(
            start=start,
            end=address.get("to", "now"),
            zone=address.get("zone", zone),
            workspace=address.get("workspace") or None,
            model=model or monitored,
            precision=precision if precision in PRECISIONS else default_precision(start, address.get("to")),
        )

    @property
    def preset(self) -> str:
        """The preset that this period is, or nothing."""
        return self.start if self.end == "now" and self.start in dict(PRESETS) else ""

    def bounds(self, now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """First and last second; refused if one can't be read."""
        return moment_of(self.start, now, zone, "from"), moment_of(self.end, now, zone, "to")


LINE = ("currency", "sku", "tier", "mode", "price_id", "list_unit_price", "api_key_id")
"""What names a line of a statement or of the spend, beside its workspace and model."""


@dataclass(frozen=True, slots=True)
class BillingView:
    """Which part of the ledger is shown."""

    month: str
    """YYYY-MM in the billing zone."""
    workspace: str | None
    model: str | None
    after: str | None
    """The charge after which this page of lines begins."""
    line: Mapping[str, Any] = field(default_factory=dict)
    """Values of `LINE`: only the entries of that line are listed."""
    statement: str | None = None
    """`workspace:currency` of the statement whose lines are shown."""

    @classmethod
    def of(cls, address: Address, this_month: str) -> "BillingView":
        """What an address asks for; by default the running month."""
        return cls(
            month=address.get("month", this_month),
            workspace=address.get("workspace") or None,
            model=address.get("model") or None,
            after=address.get("after") or None,
            line={name: address.get(name) for name in LINE if address.get(name)},
            statement=address.get("statement") or None,
        )

    @property
    def undrilled(self) -> dict[str, str]:
        """The query of the page without any single line or statement, for links that widen or change it."""
        named = {"month": self.month, "workspace": self.workspace, "model": self.model}
        return {name: value for name, value in named.items() if value}


def default_precision(start: str, end: str = "") -> str:
    """The precision that suits a period: minutes up to six hours, days beyond a week, else hours."""
    span = _span(start, end)
    if span is None:  # one end is relative and the other is not
        return "hour"
    return "minute" if span <= SHORT else "day" if span > LONG else "hour"


def _span(start: str, end: str) -> timedelta | None:
    relative, until_now = _RELATIVE.fullmatch(start), end in ("", "now")
    if relative:
        return _back(relative) if until_now else None
    try:
        return datetime.fromisoformat(end) - datetime.fromisoformat(start)
    except (ValueError, TypeError):  # only one has an offset
        return None


def _back(relative: re.Match[str]) -> timedelta:
    return timedelta(**{_UNITS[relative[2]]: int(relative[1])}) if relative[1] else timedelta()


def moment_of(text: str, now: datetime, zone: ZoneInfo, name: str) -> datetime:
    """`now`, `now-7d`, or a date and time to the second; without an offset it is read in the zone."""
    found = _RELATIVE.fullmatch(text)
    try:
        if found:
            return (now - _back(found)).replace(microsecond=0)
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=zone)
    except (ValueError, OverflowError):
        raise InvalidParameter(
            f"{text!r} is no time. Write for instance 2026-11-07 00:00:00, or now-7d.", param=name
        ) from None


def zone_of(name: str, browser: str) -> ZoneInfo:
    """The zone of a name; `browser` is what the browser said, or UTC if that is unknown here."""
    if name.lower() != "browser":
        return parse_zone(name, param="zone")
    try:
        return parse_zone(browser or "UTC")
    except InvalidParameter:
        return ZoneInfo("UTC")


def months_back(this_month: str, count: int) -> list[str]:
    """This month and those before it, newest first."""
    year, month = int(this_month[:4]), int(this_month[5:7])
    last = year * 12 + month - 1
    return [f"{m // 12:04d}-{m % 12 + 1:02d}" for m in range(last, last - count, -1)]
