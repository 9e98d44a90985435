"""What an operator may set about storage, billing and statistics (SPEC §12)."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, available_timezones

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Options(BaseModel):
    """A section of the settings: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _known_zone(name: str) -> str:
    if name not in available_timezones():
        raise ValueError(f"{name!r} is not an IANA time zone; write for instance 'UTC' or 'Asia/Shanghai'")
    return name


ZoneName = Annotated[str, AfterValidator(_known_zone)]
DATABASE_NAME = "nightrate"
"""Of the database; its file has the ending `.duckdb`."""
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class StorageOptions(Options):
    """Where data lies and how much of it may be asked at once."""

    data_dir: Path = Path("data")
    min_free_bytes: int = Field(default=512 * 2**20, ge=0)
    write_queue_jobs: int = Field(default=256, ge=1)
    read_connections: int = Field(default=8, ge=1)
    read_timeout_seconds: Decimal = Field(default=Decimal(30), gt=0)
    backup_timeout_seconds: Decimal = Field(default=Decimal(3600), gt=0)
    database_memory_bytes: int = Field(default=1024 * 2**20, ge=128 * 2**20)
    database_threads: int = Field(default=2, ge=1)
    lake: str | None = Field(default=None, min_length=1)
    lake_data: str | None = Field(default=None, min_length=1)
    lake_s3_url_style: Literal["vhost", "path"] = "vhost"
    lake_node: str | None = Field(default=None, pattern=r"^[a-z0-9_]{1,40}$")
    lake_publish_seconds: float = Field(default=10, gt=0)
    lake_events_at_once: int = Field(default=100_000, ge=1)
    lake_read_connections: int = Field(default=2, ge=1)
    lake_timeout_seconds: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _lake_is_whole(self) -> "StorageOptions":
        if self.lake is not None and self.lake_data is None:
            raise ValueError(
                "storage.lake names a catalogue; say where its Parquet files lie too, with storage.lake_data"
            )
        return self

    @property
    def database_path(self) -> Path:
        """The DuckDB file."""
        return self.data_dir / f"{DATABASE_NAME}.duckdb"


class BillingOptions(Options):
    """In whose name, zone and currency bills are made."""

    timezone: ZoneName = "UTC"
    currency: Currency | None = None
    prices: Path = Path("prices.toml")
    issuer_name: str = Field(default="Nightrate", min_length=1, max_length=200)
    account_id: str = Field(default="acct-nightrate", min_length=1, max_length=200)
    account_name: str | None = Field(default=None, max_length=200)

    @property
    def zone(self) -> ZoneInfo:
        """The zone in which days and periods begin."""
        return ZoneInfo(self.timezone)


class StatisticsOptions(Options):
    """How far back and how finely statistics are answered."""

    window_days: int = Field(default=15, ge=1, le=400)
    max_points: int = Field(default=1500, ge=2, le=100_000)
    cache_bytes: int = Field(default=64 * 2**20, ge=0)
