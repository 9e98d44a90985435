"""What the statistics and event routes answer, as OpenAPI describes it. Replies are made from dicts."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

Money = Annotated[str, Field(pattern=r"^-?[0-9]+(\.[0-9]+)?$", examples=["0.0000102"])]
Share = Annotated[float, Field(ge=0, le=1)]


class _Head(BaseModel):
    start: datetime = Field(description="First second of the range.")
    end: datetime = Field(description="Last second of the range, inclusive.")
    timezone: str
    inference_type: Literal["batch"]


class _Counts(BaseModel):
    tasks: int
    calls: int
    succeeded: int
    failed: int
    rate_limited: int = Field(description="Calls with at least one 429.")
    content_filtered: int
    unmetered: int = Field(description="Succeeded without usable usage: charged zero.")
    input_tokens: int
    cached_input_tokens: int = Field(description="Part of input_tokens.")
    output_tokens: int
    reasoning_tokens: int = Field(description="Part of output_tokens.")
    total_tokens: int
    failure_rate: Share | None = Field(description="failed ÷ calls; null without calls.")
    avg_duration_ms: float | None = Field(description="Of succeeded calls, as the percentiles.")
    p50_duration_ms: float | None
    p95_duration_ms: float | None
    p99_duration_ms: float | None
    avg_first_token_ms: float | None = Field(description="Of succeeded calls that streamed.")


class _Amounts(BaseModel):
    list_amount: Money
    amount: Money


class CurrencyAmounts(_Amounts):
    """Amounts in one currency."""

    currency: str


class ModelStatistics(_Counts, _Amounts):
    """One model in one workspace and currency."""

    model: str
    workspace_id: str
    currency: str | None = Field(description="Null for a free model.")


class StatisticsTotals(_Counts):
    """All rows together."""

    models: int
    amounts: list[CurrencyAmounts]


class ModelsReply(_Head):
    """Statistics of all models."""

    data: list[ModelStatistics]
    totals: StatisticsTotals


class TrendPoint(_Counts):
    """One minute, hour or day."""

    time: datetime = Field(description="When the point begins, in the request's zone.")
    avg_tokens_per_request: float | None
    requests_per_minute: float | None = Field(description="Of the running minutes of the point's tasks.")
    tokens_per_minute: float | None = Field(description="Of the running minutes of the point's tasks.")
    p50_first_token_ms: float | None
    p95_first_token_ms: float | None
    p99_first_token_ms: float | None
    avg_time_per_output_token_ms: float | None
    output_tokens_per_second: float | None


class TrendReply(_Head):
    """One model over time, with no holes."""

    model: str
    interval: Literal["minute", "hour", "day"]
    data: list[TrendPoint]


class FailureKind(BaseModel):
    """Failed calls of one kind."""

    status_code: int | None = Field(description="Null if no answer came.")
    error_code: str | None
    calls: int
    share: Share = Field(description="Of all failed calls.")


class ErrorsReply(_Head):
    """One model's failures."""

    model: str
    failed: int
    data: list[FailureKind]


class EventReply(BaseModel):
    """The record of one call of an ended task."""

    id: str = Field(description="`{task_id}:{line_no}`.")
    task_id: str
    line_no: int
    custom_id: str
    workspace_id: str
    api_key_id: str | None
    model: str
    endpoint: str
    outcome: Literal["succeeded", "failed"]
    status_code: int | None
    error_code: str | None
    finish_reason: str | None
    unmetered: bool
    attempts: int
    rate_limited_attempts: int
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    thinking: bool
    started_at: datetime
    first_token_at: datetime | None
    finished_at: datetime
    duration_ms: float
    first_token_ms: float | None
    total_ms: float
    upstream: str | None
    ended_at: datetime = Field(description="When its task ended.")


class EventList(BaseModel):
    """A page of events."""

    object: Literal["list"]
    data: list[EventReply]
    has_more: bool
    first_id: str | None
    last_id: str | None
