"""Models with their upstreams' health and what they cost, as Settings shows them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import PREFIX, Address
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.reading import Json
from dashboard.services import ConsoleServices

COLUMNS = (
    Column("Model and endpoints"),
    Column("Upstream"),
    Column("Health"),
    Column("At once", number=True),
    Column("Input per million", number=True, wrap=True),
    Column("Output per million", number=True, wrap=True),
)
MOST_PRICES = 1000


def upstreams(services: ConsoleServices, address: Address) -> html.Section:
    """A row for each upstream of each model."""
    health, prices = services.upstreams_up(), _prices(services)
    shown, ways = paged("the models", services.catalog.allowed(None), address, by="page-models")
    rows = []
    for name in shown:
        options = services.catalog.get(name)
        assert options is not None
        places = [up for (model, up) in health if model == name] or ["built in"]
        rows += [
            _row(options, place, health.get((name, place), 1), prices.get(name, []) if not n else None)
            for n, place in enumerate(places)
        ]
    table = parts.table("Models and their upstreams", COLUMNS, rows)
    more = parts.link("Price book", f"{PREFIX}/billing")
    note = "prices in force: real time struck through, then what a batch costs"
    return parts.panel("Models and upstreams", [table, *ways], more, note=note, classes="tight")


def _prices(services: ConsoleServices) -> Mapping[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for price in services.prices.page(limit=MOST_PRICES).data:
        if price["status"] == "in_force":
            found.setdefault(price["model"], []).append(price)
    return found


def _row(options: Any, place: str, up: int, prices: list[Json] | None) -> html.Tr:
    first = prices is not None
    word = html.Span("Answers" if up else "Outage", className="pill ok" if up else "pill no")
    name = html.Div(options.name, className="name")
    endpoints = html.Div(", ".join(options.endpoints), className="id", **parts.data(field="endpoints"))
    return parts.row(
        options.name if first else None,
        [
            parts.cell("model", [name, endpoints] if first else ""),
            parts.cell("upstream", html.Code(place, className="cut")),
            parts.cell("upstream_up", word, up),
            parts.cell(
                "max_concurrency", writing.count(options.max_concurrency) if first else "", number=True
            ),
            *[parts.cell(kind, _cost(options, prices, kind), number=True) for kind in ("input", "output")],
        ],
    )


def _cost(options: Any, prices: list[Json] | None, kind: str) -> Any:
    """The lowest tier's price, list and batch; which tiers there are is told in Billing."""
    if prices is None:
        return ""
    if options.free:
        return html.Span("free", className="note")
    return [_price(price, kind) for price in prices]


def _price(price: Json, kind: str) -> html.Div:
    listed, several = price["tiers"][0][kind], len(price["tiers"]) > 1
    batch = writing.price(Decimal(listed) * Decimal(price["batch_factor"]))
    said = [price["currency"], " ", html.Span(writing.price(listed), className="strike"), " ", batch]
    return html.Div([*said, html.Span(" and up", className="note") if several else None])
