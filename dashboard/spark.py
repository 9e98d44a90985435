"""A small trend in a row, drawn by the browser (assets/spark.js) from a few whole numbers, which are few bytes."""

from collections.abc import Sequence
from typing import Any, ClassVar

from dash.development.base_component import Component

from dashboard import writing

PROPERTIES = ("id", "heights", "label")
HEIGHT = 20


class Spark(Component):  # type: ignore[misc]  # Dash has no types
    """`heights` from 0 to `HEIGHT`, the highest of them being all of it, and `label` for those who don't see it."""

    _children_props: ClassVar[list[str]] = []
    _base_nodes: ClassVar[list[str]] = ["children"]
    _namespace = "nightrate"
    _type = "Spark"

    def __init__(self, **properties: Any) -> None:
        self._prop_names = list(PROPERTIES)
        self._valid_wildcard_attributes: list[str] = []
        self.available_properties = list(PROPERTIES)
        self.available_wildcard_properties: list[str] = []
        super().__init__(**properties)


def spark(calls: Sequence[int]) -> Spark | None:
    """Calls over a period as a small line; none where there was no call."""
    highest = max(calls, default=0)
    if not highest:
        return None
    told = f"Calls: at most {writing.count(highest)} in one of {len(calls)} parts"
    return Spark(heights=[round(HEIGHT * n / highest) for n in calls], label=told)
