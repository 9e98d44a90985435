"""The price book in force on the Billing page."""

from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import Address
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.reading import Json, at
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer

PRICE_COLUMNS = (
    Column("Model"),
    Column("Currency"),
    Column("Input tokens of a request"),
    Column("Input", number=True),
    Column("Output", number=True),
    Column("Output, thinking", number=True),
    Column("In force since", number=True),
)
SHOWN = 10
"""Prices of a page, each of some tiers."""


def price_book(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The prices in force of the configured models, tier by tier."""
    wanted = set(services.catalog.allowed(None))
    prices = [
        p for p in services.prices.page(limit=1000).data if p["status"] == "in_force" and p["model"] in wanted
    ]
    if not prices:
        return []
    shown, ways = paged("the prices", prices, address, shown=SHOWN, by="page-prices")
    rows = [row for p in shown for row in _price_rows(p, viewer)]
    note = "per million tokens, real time; a batch costs half"
    return [
        parts.panel("Price book in force", [parts.table("Prices", PRICE_COLUMNS, rows), *ways], note=note)
    ]


def _price_rows(price: Json, viewer: Viewer) -> list[html.Tr]:
    since = writing.moment(at(price["valid_from"]), viewer.zone())
    rows = []
    for number, tier in enumerate(price["tiers"]):
        up_to = tier["up_to_input_tokens"]
        cells = [
            parts.cell("model", html.Span(price["model"], className="strong") if not number else ""),
            parts.cell("currency", price["currency"] if not number else ""),
            parts.cell(
                "up_to_input_tokens",
                f"≤ {writing.count(up_to)}" if up_to else "all" if not number else "above",
            ),
            *[
                parts.cell(f, writing.price(tier[f]), tier[f], number=True)
                for f in ("input", "output", "output_thinking")
            ],
            parts.cell("valid_from", since if not number else "", number=True, classes="note"),
        ]
        rows.append(parts.row(price["price_id"] if not number else None, cells))
    return rows
