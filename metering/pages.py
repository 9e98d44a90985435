"""A page of a list, as every list of the API gives it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some rows in order, and whether there are more behind them."""

    data: list[T]
    has_more: bool


def page_of(rows: list[T], limit: int) -> Page[T]:
    """Makes a page of `limit` rows from a query that asked for one more."""
    return Page(rows[:limit], len(rows) > limit)
