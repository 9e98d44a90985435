"""What the routes on statements answer, as OpenAPI describes it. Replies are made from dicts, not through these."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from metering.api.billing_shapes import Charge, Money, Period


class StatementLine(BaseModel):
    """Charges of one model, SKU, tier, mode and price; unit prices are per million tokens."""

    api_key_id: str | None = None
    """Only with `group_by=api_key`."""
    model: str
    sku: Literal["input_tokens", "output_tokens"]
    tier: str
    mode: Literal["standard", "thinking"]
    price_id: str
    requests: int
    quantity: int
    list_unit_price: Money
    unit_price: Money
    list_amount: Money
    discount_amount: Money
    amount: Money


class Statement(BaseModel):
    """What a workspace owes for a month in one currency; number and hash are null until the month is closed."""

    number: str | None
    status: Literal["draft", "final"]
    period: Period
    workspace_id: str
    currency: str
    issuer: str
    customer: str
    lines: list[StatementLine]
    unmetered_requests: int
    free_requests: int
    exact_amount: Money
    rounding: Money
    payable: Money
    sha256: str | None


class StatementList(BaseModel):
    """A month's statements; their ids are `{workspace_id}:{period}:{currency}`."""

    object: Literal["list"]
    data: list[Statement]
    has_more: bool
    first_id: str | None
    last_id: str | None


class StatementNumber(BaseModel):
    """A frozen statement by name."""

    number: str
    workspace_id: str
    currency: str
    sha256: str


class BillingPeriod(BaseModel):
    """A month in the billing zone, with those of its frozen statements that the caller may see."""

    id: str
    object: Literal["billing.period"]
    period: Period
    status: Literal["running", "open", "closed"]
    starts_at: datetime
    ends_at: datetime
    timezone: str
    closed_at: datetime | None
    statements: list[StatementNumber]


class BillingPeriods(BaseModel):
    """A page of months, newest first."""

    object: Literal["list"]
    data: list[BillingPeriod]
    has_more: bool
    first_id: str | None
    last_id: str | None


class VerifiedStatement(StatementNumber):
    """A frozen statement and what it comes to."""

    customer: str
    payable: Money


class VerificationShape(BaseModel):
    """Whether a closed month's statements follow from the ledger; a sentence for each thing that does not."""

    object: Literal["billing.verification"]
    period: Period
    verified: bool
    statements: list[VerifiedStatement]
    differences: list[str]


class Correction(BaseModel):
    """The entries that a correction made."""

    object: Literal["billing.correction"]
    corrects: str
    reversal: Charge
    replacement: Charge | None
