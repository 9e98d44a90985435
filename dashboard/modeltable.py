"""The table of all models (SPEC §6.1): its columns, the order of its rows, and the same as CSV."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import Address, monitor_href
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.reading import Json, money_of
from dashboard.sheet import sheet

HIGH_FAILURE_RATE = 0.01
DEFAULT_SORT = "-calls"
MONEY = ("list_amount", "amount")
MOST_FIGURES = 300
"""More of them at once are folded to one row a model, which opens on request."""
MODELS_SHOWN, MODELS_IN_FULL = 20, 10
"""Models of a page, and with all columns."""
PARTS_SHOWN = 8
"""Workspaces of a model that was opened."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A column of figures: the API's field, its title, and how it is written."""

    field: str
    title: str
    write: Callable[[Any], str] = writing.count
    common: bool = True
    """Whether it is shown without asking for all columns."""


FIGURES = (
    Figure("calls", "Calls"),
    Figure("succeeded", "Succeeded", common=False),
    Figure("failed", "Failed"),
    Figure("failure_rate", "Failure rate", writing.share),
    Figure("rate_limited", "Rate limited", common=False),
    Figure("content_filtered", "Content filtered", common=False),
    Figure("unmetered", "Unmetered", common=False),
    Figure("avg_duration_ms", "Average duration", writing.duration),
    Figure("p50_duration_ms", "p50 duration", writing.duration, common=False),
    Figure("p95_duration_ms", "p95 duration", writing.duration, common=False),
    Figure("p99_duration_ms", "p99 duration", writing.duration, common=False),
    Figure("avg_first_token_ms", "First token", writing.duration),
    Figure("input_tokens", "Input tokens", writing.compact, common=False),
    Figure("cached_input_tokens", "Cached tokens", writing.compact, common=False),
    Figure("output_tokens", "Output tokens", writing.compact, common=False),
    Figure("reasoning_tokens", "Reasoning tokens", writing.compact, common=False),
    Figure("total_tokens", "Tokens", writing.compact),
    Figure("tasks", "Tasks"),
    Figure("list_amount", "Real-time amount"),
    Figure("amount", "Charged"),
)
SORTS = frozenset({"model", *[f.field for f in FIGURES]})
CSV_FIELDS = ("model", "workspace_id", "currency", *[f.field for f in FIGURES])
Trends = Mapping[tuple[str, str | None], Any]
"""A small picture by model and workspace; of the whole model without one."""


@dataclass(frozen=True, slots=True)
class ModelTable:
    """What the rows are drawn of."""

    address: Address
    names: Mapping[str, str]
    trends: Trends

    @property
    def figures(self) -> tuple[Figure, ...]:
        """The columns that were asked for."""
        every = self.address.get("columns") == "all"
        return tuple(f for f in FIGURES if f.common or every)

    @property
    def sort(self) -> str:
        """The field that is sorted by; with a minus, the largest first."""
        asked = self.address.get("sort", DEFAULT_SORT)
        return asked if asked.removeprefix("-") in SORTS else DEFAULT_SORT

    @property
    def models_shown(self) -> int:
        """How many models a page has."""
        return MODELS_SHOWN if len(self.figures) < len(FIGURES) else MODELS_IN_FULL

    def draw(self, groups: Sequence[Sequence[Json]]) -> list[Any]:
        """The table, and the ways to more workspaces of a model that was opened."""
        titles = [Column("Model and workspace", sort="model"), Column("Trend")]
        titles += [Column(f.title, number=True, sort=f.field, wrap=True) for f in self.figures]
        titles += [Column("Details", number=True)]
        folded = sum(map(len, groups)) * len(self.figures) > MOST_FIGURES
        ways: list[Any] = []
        rows = [row for group in groups for row in self._group(group, folded, ways)]
        return [parts.table("All models", titles, rows, self.address.with_(sort=self.sort)), *ways]

    def _group(self, group: Sequence[Json], folded: bool, ways: list[Any]) -> list[html.Tr]:
        first, rest = group[0], group[1:]
        places = len({r["workspace_id"] for r in rest})
        is_open = not folded or self.address.get("open") == first["model"]
        shown = rest if is_open else []
        if folded and is_open:
            title = f"the workspaces of {first['model']}"
            shown, more = paged(title, rest, self.address, shown=PARTS_SHOWN, by="page-parts")
            ways += more
        inner = [self._part(r, places < len(rest)) for r in shown]
        return [self._lead(first, self._where(first, places, folded, is_open)), *inner]

    def _where(self, row: Json, places: int, folded: bool, is_open: bool) -> Any:
        if not places:
            return self.names.get(row["workspace_id"] or "", row["workspace_id"])
        said = writing.plural(places, "workspace")
        if not folded:
            return said
        changes = {"open": None if is_open else row["model"], "page-parts": None}
        expanded = {"aria-expanded": str(is_open).lower()}
        return parts.turn(f"{said} {'▾' if is_open else '▸'}", self.address, changes, key="open", **expanded)

    def _lead(self, row: Json, where: Any) -> html.Tr:
        model, place = row["model"], row["workspace_id"]
        way = html.A(model, href=monitor_href(model, self.address))
        label = [html.Div(way, className="name"), html.Div(where, className="note")]
        cells = self._cells(parts.cell("model", label, model), row, None)
        return parts.row(model, cells, workspace_id=place or "")

    def _part(self, row: Json, twice: bool) -> html.Tr:
        place, currency = row["workspace_id"], row["currency"] or ""
        label = f"{self.names.get(place, place)} {currency if twice else ''}".strip()
        cell = parts.cell("workspace_id", html.Div(label, className="note"), place)
        identity = f"{row['model']} {place} {currency}".strip()
        return parts.row(identity, self._cells(cell, row, place), "part", model=row["model"])

    def _cells(self, label: Any, row: Json, place: str | None) -> list[Any]:
        target = self.address if place is None else self.address.with_(workspace=place)
        which = f" {row['model']}" + (f" in {self.names.get(place, place)}" if place else "")
        monitor = parts.link(["Monitor", parts.hush(which)], monitor_href(row["model"], target))
        return [
            label,
            parts.cell("trend", self.trends.get((row["model"], place))),
            *[_figure_cell(f, row) for f in self.figures],
            parts.cell("monitor", monitor, number=True, classes="last"),
        ]


def _figure_cell(figure: Figure, row: Json) -> html.Td:
    if figure.field in MONEY:
        return _money_cell(figure.field, row)
    value = row[figure.field]
    high = figure.field == "failure_rate" and value is not None and float(value) > HIGH_FAILURE_RATE
    return parts.cell(figure.field, figure.write(value), value, number=True, classes="bad" if high else "")


def _money_cell(field: str, row: Json) -> html.Td:
    amounts = amounts_of(row, field)
    if not amounts:
        return parts.cell(field, "free", row.get(field, "0"), number=True, classes="note")
    shown = [html.Div(writing.money(value, currency)) for currency, value in amounts]
    one = len(amounts) == 1
    exact = writing.exact(amounts[0][1]) if one else " + ".join(f"{c} {writing.exact(v)}" for c, v in amounts)
    return parts.cell(field, shown, exact, number=True)


def amounts_of(row: Json, field: str) -> list[tuple[str | None, Decimal]]:
    """An amount of a row by currency; a row of sums has several."""
    if "amounts" in row:
        return money_of(row["amounts"], field)
    return [(row["currency"], Decimal(str(row[field])))] if row["currency"] else []


def grouped(rows: Sequence[Json], sums: Mapping[str, Json], sort: str) -> list[list[Json]]:
    """The rows by model, sorted. A model of several workspaces or currencies is led by a row of its sums,
    so that its `data-id` occurs once."""
    groups: dict[str, list[Json]] = {}
    for row in rows:
        groups.setdefault(row["model"], []).append(row)
    field, down = sort.removeprefix("-"), sort.startswith("-")

    def place(row: Json) -> tuple[bool, Any]:
        return _place(row, field)

    led = []
    for model, group in groups.items():
        inner = sorted(group, key=place, reverse=down)
        led.append([_led(sums[model], group), *inner] if len(group) > 1 else inner)
    return sorted(led, key=lambda group: place(group[0]), reverse=down)


def _led(sums: Json, group: Sequence[Json]) -> Json:
    amounts: dict[str, dict[str, Decimal]] = {}
    for row in group:
        for field in MONEY if row["currency"] else ():
            known = amounts.setdefault(row["currency"], {})
            known[field] = known.get(field, Decimal(0)) + Decimal(row[field])
    by_currency = [{"currency": currency, **values} for currency, values in sorted(amounts.items())]
    return {**sums, "workspace_id": None, "currency": None, "amounts": by_currency}


def _place(row: Json, field: str) -> tuple[bool, Any]:
    value = row.get(field)
    if field in MONEY:
        value = sum((v for _, v in amounts_of(row, field)), Decimal(0))
    return (value is not None, value if value is not None else 0)


def csv_of(rows: Sequence[Json]) -> str:
    """The API's rows with its field names and exact values."""
    return sheet(CSV_FIELDS, ([writing.exact(row[field]) for field in CSV_FIELDS] for row in rows), texts=3)
