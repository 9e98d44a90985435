"""`POST /v1/billing/prices/check`: what a price book would do to a month of the ledger."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, StrictStr
from starlette.responses import JSONResponse, Response

from metering.api.billing import MONTH
from metering.api.billing_shapes import Money
from metering.price_check import PriceCheck

ADMIN = "admin"
"""The tag of routes that the gate keeps for the admin."""
Difference = Annotated[Money | None, Field(description="To what was charged; null if it can't be known.")]


class PriceCheckBody(BaseModel):
    """A price book, and the month whose ledger it is held against."""

    model_config = ConfigDict(extra="forbid")

    text: StrictStr = Field(description="The whole file, TOML.")
    path: StrictStr = Field("prices.toml", max_length=1000, description="What faults call it.")
    period: StrictStr | None = Field(
        None,
        description="A month in the billing zone; the one before the running month unless said.",
        json_schema_extra={"pattern": MONTH},
    )


class PriceFault(BaseModel):
    """One thing for which the service would refuse the book."""

    path: str
    line: int | None
    field: str | None
    message: str
    text: str


class Repriced(BaseModel):
    """A month's usage at other prices."""

    list_amount: Money | None
    amount: Money | None
    difference: Difference
    unknown: str | None = Field(description="Why it can't be known.")


class RepricedAtLast(Repriced):
    """The same at the book's last price of the model and currency."""

    price_id: str | None
    valid_from: str | None


class CheckedModel(BaseModel):
    """Usage entries of a model and currency: as they were charged, and as the book would rate them."""

    model: str
    currency: str
    requests: int
    input_tokens: int
    output_tokens: int
    list_amount: Money
    amount: Money
    as_dated: Repriced
    at_last_price: RepricedAtLast


class PriceCheckReport(BaseModel):
    """What came out."""

    object: str
    acceptable: bool
    faults: list[PriceFault]
    period: str
    data: list[CheckedModel]


def router(check: PriceCheck) -> APIRouter:
    """The route over its service."""
    routes = APIRouter(prefix="/v1/billing/prices", tags=["billing"])

    @routes.post(
        "/check", response_model=PriceCheckReport, summary="What a price book would change", tags=[ADMIN]
    )
    def run(request: Request, body: PriceCheckBody) -> Response:
        return JSONResponse(check.run(request.state.access, body.path, body.text, body.period))

    return routes
