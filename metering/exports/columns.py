"""The columns of each kind of export, and what each of them holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Content = Literal["text", "count", "money", "moment", "day"]

_TYPES: Mapping[Content, pa.DataType] = {
    "text": pa.string(),
    "count": pa.int64(),
    "money": pa.decimal128(38, 15),
    "moment": pa.timestamp("us", "UTC"),
    "day": pa.date32(),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A named column. Its content decides how a file writes it."""

    name: str
    content: Content


def typed_schema(columns: Sequence[Column]) -> pa.Schema:
    """The columns with the types of a database."""
    return pa.schema([(column.name, _TYPES[column.content]) for column in columns])


def text_schema(columns: Sequence[Column]) -> pa.Schema:
    """The columns as a text file has them: counts are numbers, all else is exact text."""
    return pa.schema([(c.name, pa.int64() if c.content == "count" else pa.string()) for c in columns])


def _columns(**contents: Content) -> tuple[Column, ...]:
    return tuple(Column(name, content) for name, content in contents.items())


CHARGES = _columns(
    charge_id="text",
    kind="text",
    corrects="text",
    task_id="text",
    workspace_id="text",
    api_key_id="text",
    model="text",
    sku="text",
    tier="text",
    mode="text",
    requests="count",
    quantity="count",
    list_unit_price="money",
    unit_price="money",
    list_amount="money",
    discount_amount="money",
    amount="money",
    currency="text",
    ended_at="moment",
    recorded_at="moment",
    period="text",
    price_id="text",
    reason="text",
    author_key_id="text",
)
USAGE = _columns(
    day="day",
    workspace_id="text",
    model="text",
    sku="text",
    currency="text",
    requests="count",
    quantity="count",
    list_amount="money",
    discount_amount="money",
    amount="money",
)
KINDS: Mapping[str, tuple[Column, ...]] = {"charges": CHARGES, "usage": USAGE}
"""The exports that exist, by kind."""
