"""The parts that pages are made of, each with the hooks of SPEC §10 (data-metric, data-id, data-field …)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlencode

from dash import html

from dashboard import writing
from dashboard.field import Field
from dashboard.figures import Figure
from dashboard.filters import Address, page_of
from dashboard.plot import Plot

TALL, LOW = 250, 220
"""Pixels that a chart is high: one that stands alone, and one of a pair."""
LONG_FIGURE = 12
"""Characters."""
TABLE_ROWS = 100
"""Rows of a chart that are shown at once as a table."""
Part = Any
"""A Dash component, a text, or a list of them."""

PILLS = {"Completed": "ok", "Failed": "no", "Executing": "run", "Stopped": "halt"}


def data(**values: Any) -> dict[str, Any]:
    """`data-…` attributes: data(task_id=1) → {"data-task-id": "1"}."""
    return {f"data-{name.replace('_', '-')}": writing.exact(value) for name, value in values.items()}


# -- page frame ------------------------------------------------------------------------------------


def head(title: str, sub: Part = None, *actions: Part, above: Part = None) -> html.Div:
    """The page's name, a line under it, and what can be done."""
    name = [html.P(above, className="sub")] if above is not None else []
    name += [html.H1(title)]
    name += [html.P(sub, className="sub")] if sub is not None else []
    doing = [html.Div(list(actions), className="doing")] if actions else []
    return html.Div([html.Div(name, className="titles"), *doing], className="head")


def button(text: str, primary: bool = False, **attributes: Any) -> html.Button:
    """A button; what it does is said by its data attributes."""
    return html.Button(text, className="btn primary" if primary else "btn", type="button", **attributes)


def download_button(text: str, href: str) -> html.A:
    """A download that looks like a button and is announced as one."""
    return html.A(text, href=href, className="btn", download="", role="button", **data(plain=""))


def hush(text: str) -> html.Span:
    """What only screen readers are told; unlike a label it is nobody's second name."""
    return html.Span(text, className="hush")


def link(text: Part, href: str, **attributes: Any) -> html.A:
    """A link within the console."""
    return html.A(text, href=href, className="link", **attributes)


def turn(
    text: Part, address: Address, changes: Mapping[str, str | None], look: str = "link", **attributes: Any
) -> html.A:
    """A link to this place with some values changed.

    Only the changes count when it is pressed: the rest of the address may be another one since it was drawn.
    """
    told = urlencode({name: value or "" for name, value in changes.items()})
    href = address.with_(**changes).href
    return html.A(text, href=href, **_classes(look), **data(turns=told), **attributes)


def download_link(text: str, href: str, **attributes: Any) -> html.A:
    """A link that saves a file."""
    return html.A(text, href=href, className="link", download="", **data(plain=""), **attributes)


def problem(text: str, **more: Any) -> html.P:
    """What went wrong, announced."""
    return html.P(text, className="problem", role="alert", **more)


def empty(title: str, hint: Part = None) -> html.Div:
    """A list without rows: what is missing and what to do about it."""
    return html.Div([html.Strong(title), hint], className="empty")


# -- filters ---------------------------------------------------------------------------------------


def bar(*fields: Part) -> html.Form:
    """Filters; a change of one becomes a new address (assets/console.js)."""
    return html.Form(list(fields), className="bar", **data(filters=""))


def choice(
    label: str, name: str, options: Iterable[tuple[str, str]], chosen: str, **attributes: Any
) -> html.Label:
    """A labelled select; the value of a chosen option goes into the address under `name`."""
    drawn = [html.Option(text, value=value, selected=value == chosen) for value, text in options]
    return html.Label([label, html.Select(drawn, **{"name": name} if name else {}, **attributes)])


def entry(
    label: str, name: str, value: str, *, size: str = "", hint: str = "", kind: str = "text", **more: Any
) -> Part:
    """A labelled text field; a label that its hint says too is for screen readers alone."""
    field = Field(name=name, type=kind, value=value, placeholder=hint, autoComplete="off", **more)
    shown = html.Span(label, className="hush") if label == hint else label
    return html.Label([shown, field], className=size)


def small_form(action: str, does: str, *fields: Part, many: str = "") -> html.Form:
    """A form that makes or sets something; `many` names the field that is a list (assets/console.js)."""
    said = html.P(className="problem", role="alert", hidden=True, **data(problem=""))
    button_ = html.Button(does, type="submit", className="btn")
    return html.Form([*fields, button_, said], className="inline", **data(action=action, many=many))


# -- figures of a page -----------------------------------------------------------------------------


def card(label: str, metric: str, value: Any, shown: Part, note: Part = "", **more: Any) -> html.Div:
    """One figure: the exact value is in data-value, the written one is seen."""
    figure = html.Div(
        shown, className="v", title=writing.exact(value), **data(metric=metric, value=value, **more)
    )
    return html.Div([html.Div(label, className="k"), figure, html.Div(note, className="d")], className="card")


def facts(*told: str) -> str:
    """Several facts in a line, which breaks between them only."""
    return ", ".join(fact.replace(" ", "\u00a0") for fact in told)


def money_card(label: str, metric: str, value: Any, currency: str | None, note: Part = "") -> html.Div:
    """A card of an amount: its currency small before it, and both on one line."""
    code = [html.Span(currency, className="cur"), " "] if currency else []
    shown = html.Span([*code, writing.money(value)], className="money")
    return card(label, metric, value, shown, note, currency=currency or "")


def money_cards(
    label: str, metric: str, amounts: Sequence[tuple[str | None, Any]], note: Part = ""
) -> list[html.Div]:
    """A card for each currency, since amounts of two can't be added."""
    rows = amounts or [(None, Decimal(0))]
    return [money_card(label, metric, value, code, note) for code, value in rows]


def cards(*figures: Part) -> html.Div:
    """A row of cards."""
    flat = [c for f in figures for c in (f if isinstance(f, list) else [f])]
    return html.Div(flat, className="cards")


def pill(word: str, title: str | None = None) -> html.Span:
    """A status; its word says what its colour says."""
    told = {"title": title} if title else {}
    return html.Span(word, className=f"pill {PILLS.get(word, '')}".strip(), **told)


def progress(completed: int, failed: int, total: int, note: Part = None) -> html.Div:
    """Processed of total, and a bar whose failed part is red."""
    if not total:
        return html.Div([html.Span(writing.NONE, className="note"), _note(note)], className="prog")
    done = completed + failed
    track = html.Div(
        [
            html.I(style={"width": f"{100 * completed / total:.2f}%"}),
            html.I(style={"width": f"{100 * failed / total:.2f}%"}, className="fail"),
        ],
        className="track",
        role="progressbar",
        **{
            "aria-valuemin": "0",
            "aria-valuemax": str(total),
            "aria-valuenow": str(done),
            "aria-label": "Task progress",
        },
    )
    return html.Div([f"{writing.count(done)} / {writing.count(total)}", track, _note(note)], className="prog")


def _note(note: Part) -> Part:
    return html.Div(note, className="note") if note is not None else None


# -- tables ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A column's title; `sort` is the name under which the address sorts by it."""

    title: str
    number: bool = False
    sort: str = ""
    wrap: bool = False


def cell(field: str, shown: Part, value: Any = None, *, number: bool = False, classes: str = "") -> html.Td:
    """A cell with its field's API name and, where it differs from what is seen, the exact value."""
    exact = {} if value is None else data(value=value)
    return html.Td(shown, **_classes("n" if number else "", classes), **data(field=field), **exact)


def row(identity: str | None, cells: Sequence[Part], classes: str = "", **more: Any) -> html.Tr:
    """A row; an identity occurs once a page."""
    named = data(id=identity) if identity is not None else {}
    return html.Tr(list(cells), **_classes(classes), **named, **data(**more))


def _classes(*names: str) -> dict[str, str]:
    """The attribute, or none: of what is not said nothing needs to be sent."""
    given = " ".join(name for name in names if name)
    return {"className": given} if given else {}


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[Part], address: Address | None = None
) -> html.Div:
    """A table that scrolls on its own where the window is narrow."""
    titles = html.Tr([_title(c, address) for c in columns])
    drawn = html.Table([html.Caption(caption, className="hush"), html.Thead(titles), html.Tbody(list(rows))])
    return html.Div(drawn, className="scroll", role="group", tabIndex="0", **{"aria-label": caption})


def _title(column: Column, address: Address | None) -> html.Th:
    classes = " ".join(n for n, on in (("n", column.number), ("wrap", column.wrap)) if on) or None
    if not column.sort or address is None:
        return html.Th(column.title, scope="col", className=classes)
    now = address.get("sort")
    down = now == f"-{column.sort}"
    mark = "\u00a0↓" if down else "\u00a0↑" if now == column.sort else ""
    order = {"aria-sort": "descending" if down else "ascending"} if mark else {}
    order_by = {"sort": column.sort if down else f"-{column.sort}", "page": None}
    return html.Th(
        turn(column.title + mark, address, order_by, "", key="sort"), scope="col", className=classes, **order
    )


def panel(title: str, body: Part, *extra: Part, note: Part = "", classes: str = "") -> html.Section:
    """A titled box."""
    top = [html.H2(title), html.Span(note, className="note"), html.Span(className="grow"), *extra]
    within = body if isinstance(body, list) else [body]
    return html.Section(
        [html.Div(top, className="hd"), *within],
        className=f"panel {classes}".strip(),
        **{"aria-label": title},
    )


def pages(
    name: str,
    places: str,
    address: Address,
    page: int,
    *,
    more: bool,
    words: tuple[str, str, str] = ("First", "Previous", "Next"),
    by: str = "page",
) -> html.Nav:
    """Which rows are shown of how many, and the ways to the first, the previous and the next page."""

    def to(word: str, number: int) -> html.A:
        return turn(word, address, {by: str(number) if number > 1 else None})

    first, previous, following = words
    links = [to(first, 1)] if page > 2 else []
    links += [to(previous, page - 1)] if page > 1 else []
    links += [to(following, page + 1)] if more else []
    return html.Nav([html.Span(places, className="note"), *links], className="pages", **{"aria-label": name})


# -- charts ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, the sentence that says it, and its rows for the table and the CSV file."""

    key: str
    title: str
    note: str
    sentence: str
    figure: Figure
    legend: tuple[tuple[str, str, str], ...]
    """(name, colour, a line's dash; bars have none)."""
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    blank: str = ""
    """What is said instead of a chart that would show nothing."""


def chart(
    drawn: Chart, address: Address, csv_href: str, *, tall: bool = False, zooms: bool = False
) -> html.Section:
    """The chart, or with `table=key` in the address its rows; and its CSV file."""
    as_table = address.get("table") == drawn.key
    word, target = ("Chart", None) if as_table else ("Table", drawn.key)
    named = {"aria-label": f"{word}: {drawn.title}"}
    switch = turn(word, address, {"table": target, "page": None}, key="switch", **named)
    saved = download_link("CSV", csv_href, **{"aria-label": f"CSV: {drawn.title}"})
    top = [
        # The tall one stands on its own, the others below the heading of their group.
        html.H2(drawn.title) if tall else html.H3(drawn.title),
        html.Span(drawn.note, className="note"),
        html.Span(className="grow"),
        switch,
        saved,
    ]
    body = _chart_table(drawn, address) if as_table else _plot(drawn, tall, zooms)
    return html.Section(
        [html.Div(top, className="hd"), *body],
        className="panel chart as-table" if as_table else "panel chart",
        **{"aria-label": drawn.title},
    )


def _plot(drawn: Chart, tall: bool, zooms: bool) -> list[Part]:
    if drawn.blank:
        return [empty(drawn.blank)]
    graph = Plot(figure=drawn.figure, height=TALL if tall else LOW, zooms=zooms)
    legend = [
        html.Span([html.I(className=dash, style={"color": color}), name])
        for name, color, dash in drawn.legend
    ]
    described = html.Div(graph, role="img", **{"aria-label": drawn.sentence})
    return [described, html.Div(legend, className="legend")]


def _chart_table(drawn: Chart, address: Address) -> list[Part]:
    number = page_of(address.get("page"))
    first = (number - 1) * TABLE_ROWS
    shown, total = drawn.rows[first : first + TABLE_ROWS], len(drawn.rows)
    columns = [Column(drawn.columns[0]), *[Column(name, number=True) for name in drawn.columns[1:]]]
    rows = [html.Tr([_place(r[0]), *map(_value, r[1:])]) for r in shown]
    body = [table(drawn.title, columns, rows)]
    if total > TABLE_ROWS:
        places = f"{writing.count(first + 1)}–{writing.count(first + len(shown))} of {writing.count(total)}"
        more = first + len(shown) < total
        body.append(pages(f"Pages of {drawn.title}", places, address, number, more=more))
    return body


def _place(text: str) -> html.Td:
    """Where a row stands: a time as it is written elsewhere, or what else the chart has below it."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return html.Td(text)
    day = f"{at.day} {at:%b %Y}"
    return html.Td(f"{day}, {at:%H:%M}" if "T" in text else day, **data(value=text))


def _value(text: str) -> html.Td:
    """A figure, of a long one as many digits as are read; all are in `data-value` and in the CSV file."""
    try:
        shown = f"{Decimal(text):,}" if len(text) <= LONG_FIGURE else f"{Decimal(text):,.6g}"
    except InvalidOperation:
        shown = text or writing.NONE
    return html.Td(shown, className="n", title=text if len(text) > LONG_FIGURE else None, **data(value=text))
