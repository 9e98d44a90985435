"""What an operator may set about models, limits and execution (SPEC §12)."""

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from metering.options import Options

Endpoint = Literal[
    "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/responses", "/v1/chat/ds-test"
]
UPSTREAM_ENDPOINTS: tuple[Endpoint, ...] = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/responses",
)
TEST_ENDPOINT: Endpoint = "/v1/chat/ds-test"
TEST_MODEL = "batch-test-model"


def _http_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        whole = parts.hostname and parts.port != 0  # asked for, a port that is none raises
    except ValueError as error:
        raise ValueError(f"{url!r} is not an http:// or https:// address: {error}") from None
    if not whole or not url.startswith(("http://", "https://")) or not url.isprintable() or " " in url:
        raise ValueError(f"{url!r} is not an http:// or https:// address")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r} has a part behind its path, which is not sent: leave out '?' or '#'")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_http_url)]


def _cluster_address(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not host or "/" in host or " " in host or not port.isdecimal():
        raise ValueError(
            f"{address!r} is not the address of a Ray cluster: write host:port, as 'ray start' shows it"
        )
    return address


ClusterAddress = Annotated[str, AfterValidator(_cluster_address)]


class ModelOptions(Options):
    """One model and the endpoints that serve it."""

    name: str = Field(min_length=1, max_length=256)
    upstreams: tuple[Url, ...] = Field(min_length=1)
    upstream_model: str | None = None
    api_key_env: str | None = None
    endpoints: tuple[Endpoint, ...] = ("/v1/chat/completions",)
    max_concurrency: int = Field(default=64, ge=1, le=50_000)
    initial_concurrency: int | None = Field(default=None, ge=1)
    timeout_seconds: float = Field(default=600, gt=0)
    requests_per_minute: int | None = Field(default=None, ge=1)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    stream: bool = False
    free: bool = False


class LimitOptions(Options):
    """The largest of everything that comes from outside."""

    requests_per_file: int = Field(default=50_000, ge=1)
    file_bytes: int = Field(default=500_000_000, ge=1)
    line_bytes: int = Field(default=6_000_000, ge=1)
    response_bytes: int = Field(default=32_000_000, ge=1)
    custom_id_characters: int = Field(default=256, ge=1)
    reported_errors: int = Field(default=1000, ge=1)
    request_body_bytes: int = Field(default=1_000_000, ge=1000)
    backup_list_bytes: int = Field(default=64_000_000, ge=1000)
    test_requests_per_file: int = Field(default=100, ge=1)
    test_file_bytes: int = Field(default=1_000_000, ge=1)
    test_tasks: int = Field(default=2, ge=1)
    validations_at_once: int = Field(default=2, ge=1)


class RetentionOptions(Options):
    """How long things are kept after a task ended."""

    file_days: int = Field(default=30, ge=1)
    event_days: int = Field(default=400, ge=16)
    task_days: int = Field(default=400, ge=16)


class ExecutorOptions(Options):
    """How requests are executed (SPEC §4)."""

    max_attempts: int = Field(default=5, ge=1)
    backoff_first_seconds: float = Field(default=1, gt=0, le=1)
    backoff_longest_seconds: float = Field(default=30, gt=0, le=30)
    pushback_patience_seconds: float = Field(default=3600, ge=0)
    probe_timeout_seconds: float = Field(default=5, gt=0)
    probe_interval_seconds: float = Field(default=5, gt=0, le=5)
    outage_trial_seconds: float = Field(default=60, gt=0, le=60)
    retry_after_longest_seconds: float = Field(default=600, gt=0)
    commit_interval_ms: int = Field(default=250, ge=1)
    commit_rows: int = Field(default=20_000, ge=1)
    uncommitted_rows: int = Field(default=40_000, ge=1)
    recovery_first_seconds: float = Field(default=1, gt=0)
    recovery_longest_seconds: float = Field(default=30, gt=0)
    cancel_grace_seconds: float = Field(default=30, ge=0)
    shutdown_grace_seconds: float = Field(default=30, ge=0)
    in_flight_bytes: int = Field(default=96 * 2**20, ge=1)
    connect_timeout_seconds: float = Field(default=10, gt=0)
    engine: Literal["local", "ray"] = "local"
    ray_address: ClusterAddress | None = None
    ray_actors: int = Field(default=2, ge=1, le=1000)
    ray_silence_seconds: float = Field(default=30, ge=1)


class WebhookOptions(Options):
    """How the end of a task is told to those who want to know (SPEC §9)."""

    allow_networks: tuple[IPv4Network | IPv6Network, ...] = ()
    timeout_seconds: float = Field(default=10, gt=0)
    first_retry_seconds: float = Field(default=5, gt=0)
    longest_retry_seconds: float = Field(default=3600, gt=0)
    give_up_after_seconds: float = Field(default=86_400, ge=0)
    deliveries_at_once: int = Field(default=16, ge=1, le=1000)
