"""The columns of each kind of export, and what each of them holds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Content = Literal["text", "count", "number", "flag", "money", "fixed", "moment", "second", "day"]
"""`money` is written without trailing zeros, `fixed` with all digits of its scale; `second` is a moment without a fraction."""

_TYPES: Mapping[Content, pa.DataType] = {
    "text": pa.string(),
    "count": pa.int64(),
    "number": pa.float64(),
    "flag": pa.bool_(),
    "moment": pa.timestamp("us", "UTC"),
    "second": pa.timestamp("us", "UTC"),
    "day": pa.date32(),
}
_AS_THEY_ARE = ("count", "number", "flag")


@dataclass(frozen=True, slots=True)
class Column:
    """A named column. Its content decides how a file writes it."""

    name: str
    content: Content
    scale: int = 15
    """Digits after the decimal point, of `money` and `fixed`."""

    @property
    def typed(self) -> pa.DataType:
        """Its type in a database."""
        exact = self.content in ("money", "fixed")
        return pa.decimal128(38, self.scale) if exact else _TYPES[self.content]

    @property
    def plain(self) -> pa.DataType:
        """Its type in a text file: counts are numbers, and whatever must be exact is text."""
        return _TYPES[self.content] if self.content in _AS_THEY_ARE else pa.string()


Columns = Sequence[Column]


def typed_schema(columns: Columns) -> pa.Schema:
    """The columns with the types of a database."""
    return pa.schema([(column.name, column.typed) for column in columns])


def text_schema(columns: Columns) -> pa.Schema:
    """The columns as a text file has them."""
    return pa.schema([(column.name, column.plain) for column in columns])


def columns_of(**contents: Content) -> tuple[Column, ...]:
    """Columns by name and content."""
    return tuple(Column(name, content) for name, content in contents.items())


CHARGES = columns_of(
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
USAGE = columns_of(
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
EVENTS = columns_of(
    task_id="text",
    line_no="count",
    custom_id="text",
    workspace_id="text",
    api_key_id="text",
    model="text",
    endpoint="text",
    outcome="text",
    status_code="count",
    error_code="text",
    finish_reason="text",
    unmetered="flag",
    attempts="count",
    rate_limited_attempts="count",
    input_tokens="count",
    cached_input_tokens="count",
    output_tokens="count",
    reasoning_tokens="count",
    thinking="flag",
    started_at="moment",
    first_token_at="moment",  # noqa: S106
    finished_at="moment",
    duration_ms="number",
    first_token_ms="number",  # noqa: S106
    total_ms="number",
    upstream="text",
    ended_at="moment",
)
STATEMENT = columns_of(
    number="text",
    status="text",
    period="text",
    workspace_id="text",
    currency="text",
    issuer="text",
    customer="text",
    line="text",
    model="text",
    sku="text",
    tier="text",
    mode="text",
    price_id="text",
    requests="count",
    quantity="count",
    list_unit_price="money",
    unit_price="money",
    list_amount="money",
    discount_amount="money",
    amount="money",
)
