"""What the billing routes answer, as OpenAPI describes it. Replies are made from dicts, not through these."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

Money = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["0.0000102"])]
Period = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}$", examples=["2026-11"])]


class Charge(BaseModel):
    """One entry of the ledger; unit prices are per million tokens."""

    charge_id: str
    kind: Literal["usage", "correction"]
    corrects: str | None
    task_id: str
    workspace_id: str
    api_key_id: str | None
    model: str
    sku: Literal["input_tokens", "output_tokens"]
    tier: str
    mode: Literal["standard", "thinking"]
    requests: int
    quantity: int
    list_unit_price: Money
    unit_price: Money
    list_amount: Money
    discount_amount: Money
    amount: Money
    currency: str
    ended_at: datetime
    recorded_at: datetime
    period: Period
    price_id: str
    reason: str | None
    author_key_id: str | None


class ChargeList(BaseModel):
    """A page of the ledger."""

    object: Literal["list"]
    data: list[Charge]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Sums(BaseModel):
    """Sums of charges in one currency."""

    currency: str
    requests: int
    input_tokens: int
    output_tokens: int
    list_amount: Money
    discount_amount: Money
    amount: Money


class SummaryRow(Sums):
    """Sums of one group; only the fields that `group_by` names are there."""

    day: str | None = None
    workspace_id: str | None = None
    model: str | None = None
    api_key_id: str | None = None
    sku: str | None = None


class Summary(BaseModel):
    """Sums of charges by group, and over all by currency."""

    object: Literal["billing.summary"]
    period: Period | None
    start: datetime | None
    end: datetime | None
    timezone: str
    group_by: list[str]
    data: list[SummaryRow]
    totals: list[Sums]


class PriceTier(BaseModel):
    """Real-time list prices per million tokens."""

    up_to_input_tokens: int | None
    input: Money
    output: Money
    output_thinking: Money


class ListedPrice(BaseModel):
    """One version of a price, and where it stands today."""

    id: str
    object: Literal["billing.price"]
    price_id: str
    model: str
    currency: str
    valid_from: datetime
    status: Literal["in_force", "scheduled", "superseded", "removed"]
    source: str | None
    unit_tokens: int
    batch_factor: Money
    tiers: list[PriceTier]


class ListedPrices(BaseModel):
    """A page of the price book and its history."""

    object: Literal["list"]
    data: list[ListedPrice]
    has_more: bool
    first_id: str | None
    last_id: str | None


class ManifestTokens(BaseModel):
    """Tokens of the exported charges."""

    input_tokens: int
    output_tokens: int


class ManifestAmount(BaseModel):
    """Amounts of the exported charges in one currency."""

    currency: str
    list_amount: Money
    discount_amount: Money
    amount: Money


class Manifest(BaseModel):
    """What an export holds."""

    object: Literal["billing.export_manifest"]
    kind: str
    format: str
    profile: str
    nodes: Literal["this", "all"]
    workspace_id: str | None
    period: Period | None
    start: datetime | None
    end: datetime | None
    timezone: str
    requests: int
    tokens: ManifestTokens
    amounts: list[ManifestAmount]
    price_ids: list[str]
    rows: int
    bytes: int
    sha256: str


class FocusColumn(BaseModel):
    """One column of the FOCUS export."""

    ColumnName: str
    DataType: Literal["STRING", "DECIMAL", "DATETIME", "JSON"]
    NumericPrecision: int | None = None
    NumberScale: int | None = None
    StringEncoding: str | None = None


class FocusSchema(BaseModel):
    """The schema metadata of FOCUS 1.2."""

    SchemaId: str
    FocusVersion: str
    CreationDate: datetime
    ColumnDefinition: list[FocusColumn]
