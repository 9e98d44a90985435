"""Long lists, a page at a time: no answer may grow with what a service holds."""

from collections.abc import Sequence
from typing import Any, TypeVar

from dashboard import parts, writing
from dashboard.filters import Address, page_of

T = TypeVar("T")
SHOWN = 25


def paged(
    title: str, rows: Sequence[T], address: Address, *, shown: int = SHOWN, by: str = "page"
) -> tuple[Sequence[T], list[Any]]:
    """The rows of the page that the address asks for by a name of its own, and the ways to the others, if any."""
    last = max(1, -(-len(rows) // shown))
    number = min(page_of(address.get(by)), last)
    first = (number - 1) * shown
    some = rows[first : first + shown]
    if last == 1:
        return some, []
    places = f"{writing.count(first + 1)}–{writing.count(first + len(some))} of {writing.count(len(rows))}"
    return some, [parts.pages(f"Pages of {title}", places, address, number, more=number < last, by=by)]
