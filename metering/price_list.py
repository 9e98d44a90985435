"""The price book in force and its history, as the API and the console show it."""

import json
from datetime import UTC, datetime
from typing import Any, Literal

from metering.clock import Clock
from metering.errors import NotFound
from metering.money import plain
from metering.pages import Page, page_of
from metering.price import Price, instant
from metering.prices import PriceBook
from metering.rating import BATCH_FACTOR
from metering.store import Row, Store

Standing = Literal["in_force", "scheduled", "superseded", "removed"]


class PriceList:
    """Every price that was ever loaded, and where it stands today."""

    def __init__(self, store: Store, book: PriceBook, clock: Clock) -> None:
        self._store, self._book, self._clock = store, book, clock

    def page(
        self,
        *,
        model: str | None = None,
        currency: str | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> Page[dict[str, Any]]:
        """Prices by model, currency and date. An `after` that is none of them is refused (404)."""
        rows = [
            row
            for row in self._store.query("prices.versions")
            if model in (None, row["model"]) and currency in (None, row["currency"])
        ]
        if after is not None:
            ids = [row["price_id"] for row in rows]
            if after not in ids:
                raise NotFound("price", after, param="after")
            rows = rows[ids.index(after) + 1 :]
        return page_of([self._json(row) for row in rows[: limit + 1]], limit)

    def price(self, price_id: str) -> Price | None:
        """One version as it was loaded, however long ago; none if it never was."""
        for row in self._store.query("prices.versions"):
            if row["price_id"] == price_id:
                return Price.of_canonical(row["canonical"])
        return None

    def _json(self, row: Row) -> dict[str, Any]:
        return {
            "id": row["price_id"],
            "object": "billing.price",
            "price_id": row["price_id"],
            "model": row["model"],
            "currency": row["currency"],
            "valid_from": instant(row["valid_from"]),
            "status": self._standing(row),
            "source": row["source"],
            "unit_tokens": 1_000_000,
            "batch_factor": plain(BATCH_FACTOR),
            "tiers": json.loads(row["canonical"])["tiers"],
        }

    def _standing(self, row: Row) -> Standing:
        now: datetime = self._clock().astimezone(UTC)
        if not self._book.has(row["price_id"]):
            return "removed"
        current = self._book.in_force(row["model"], row["currency"], now)
        if current is not None and current.price_id == row["price_id"]:
            return "in_force"
        return "scheduled" if row["valid_from"] > now else "superseded"
