"""The settings: one TOML file, overridden by the environment (SPEC §12), refused as a whole if anything is off.

`load` reads; everything else here explains what was wrong. Paths are relative to the settings file.
"""

import tomllib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as SourceError,
)

from executor.options import (
    TEST_MODEL,
    ExecutorOptions,
    LimitOptions,
    ModelOptions,
    RetentionOptions,
    Url,
    WebhookOptions,
)
from metering.options import BillingOptions, Options, StatisticsOptions, StorageOptions

PREFIX = "NIGHTRATE_"
DEFAULT_FILE = Path("config/nightrate.toml")
_OVERRIDES = "__"


class SettingsError(Exception):
    """The settings can't be used; the message says what, where and how to mend it, a fault a line."""


class ServerOptions(Options):
    """Where the service listens and how it calls itself."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: Url | None = None
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = (
        IPv4Network("127.0.0.0/8"),
        IPv6Network("::1/128"),
    )
    metrics_token_env: str | None = Field(default=None, min_length=1)
    login_link_seconds: int = Field(default=900, ge=1)
    request_threads: int = Field(default=40, ge=1, le=1000)
    stop_seconds: int = Field(default=10, ge=0)
    stall_seconds: float = Field(default=120, gt=0)
    notice: str | None = Field(default=None, min_length=1, max_length=200)


class LocalModelOptions(Options):
    """The small model that is run beside the service, so that it can be tried without any other server."""

    enabled: bool = False
    name: str = Field(default="smollm2-135m", min_length=1, max_length=256)
    port: int = Field(default=8181, ge=0, le=65535)
    threads: int = Field(default=2, ge=1)
    parallel: int = Field(default=4, ge=1, le=64)
    context_tokens: int = Field(default=8192, ge=512)
    timeout_seconds: float = Field(default=600, gt=0)
    folder: Path | None = None


class Settings(BaseSettings):
    """Everything an operator may set, by section."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix=PREFIX, env_nested_delimiter=_OVERRIDES
    )

    server: ServerOptions = ServerOptions()
    storage: StorageOptions = StorageOptions()
    billing: BillingOptions = BillingOptions()
    statistics: StatisticsOptions = StatisticsOptions()
    limits: LimitOptions = LimitOptions()
    retention: RetentionOptions = RetentionOptions()
    webhooks: WebhookOptions = WebhookOptions()
    executor: ExecutorOptions = ExecutorOptions()
    local_model: LocalModelOptions = LocalModelOptions()
    models: tuple[ModelOptions, ...] = ()

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load` merged: the process' own environment is never read behind its back."""
        return (init_settings,)

    @model_validator(mode="after")
    def _names_are_unique(self) -> "Settings":
        names = [model.name for model in self.models]
        names += [self.local_model.name] if self.local_model.enabled else []
        for name, count in Counter([*names, TEST_MODEL]).items():
            if count > 1:
                raise ValueError(f"the model {name!r} is there {count} times; give each another name")
        return self


class _Environment(EnvSettingsSource):
    """pydantic-settings' reading of an environment that is given instead of the process' own."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self._given = env
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): value for name, value in self._given.items()}


def settings_path(path: Path | None, env: Mapping[str, str]) -> Path:
    """The settings file: `--config`, else `NIGHTRATE_CONFIG`, else `config/nightrate.toml`."""
    return path or (Path(named) if (named := env.get("NIGHTRATE_CONFIG")) else DEFAULT_FILE)


def load(path: Path | None, env: Mapping[str, str]) -> Settings:
    """Reads and checks the settings; `SettingsError` tells all that is wrong with them at once."""
    file = settings_path(path, env).absolute()
    values = _merged(_read(file), _overrides(env))
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(fault, file, env) for fault in error.errors())) from error
    return _with_absolute_paths(settings, file.parent)


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise SettingsError(
            f"there is no settings file {file}; name one with --config FILE or NIGHTRATE_CONFIG"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {file} can't be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}") from error


def _overrides(env: Mapping[str, str]) -> dict[str, Any]:
    for name in env:
        section, nested, _ = name.removeprefix(PREFIX).lower().partition(_OVERRIDES)
        if name.startswith(PREFIX) and nested and section not in Settings.model_fields:
            meant = _nearest(section, list(Settings.model_fields))
            raise SettingsError(f"environment variable {name}: there is no section {section!r}{meant}")
    try:
        return _Environment(env)()
    except SourceError as error:
        raise SettingsError(f"environment: {error}: {error.__cause__}") from error


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merged(under, value) if isinstance(value, dict) and isinstance(under, dict) else value
    return merged


def _with_absolute_paths(settings: Settings, folder: Path) -> Settings:
    def placed(path: Path) -> Path:
        return Path((folder / path.expanduser()).absolute().resolve())

    storage, billing, local = settings.storage, settings.billing, settings.local_model
    return settings.model_copy(
        update={
            "storage": storage.model_copy(
                update={
                    "data_dir": placed(storage.data_dir),
                    "lake_data": storage.lake_data and _placed_data(storage.lake_data, placed),
                }
            ),
            "billing": billing.model_copy(update={"prices": placed(billing.prices)}),
            "local_model": local.model_copy(update={"folder": local.folder and placed(local.folder)}),
        }
    )


def _placed_data(data: str, placed: Callable[[Path], Path]) -> str:
    """A folder, or an address such as `s3://bucket/lake/`, which stays."""
    return data if "://" in data else str(placed(Path(data)))


def _explain(fault: ErrorDetails, file: Path, env: Mapping[str, str]) -> str:
    place = [part for part in fault["loc"] if isinstance(part, int) or "[" not in part]
    name = _dotted(place)
    where = f"{file}: {name}" if name else str(file)
    variable = PREFIX + _OVERRIDES.join(str(part) for part in place).upper()
    if variable in env:
        where = f"environment variable {variable}"
    if fault["type"] == "extra_forbidden":
        return f"{where}: there is no such setting{_meant(place)}"
    reason = fault["msg"].removeprefix("Value error, ")
    shown = "" if fault["type"] in ("missing", "value_error") else f", not {fault['input']!r}"
    return f"{where}: {reason}{shown}"


def _dotted(place: list[int | str]) -> str:
    name = ""
    for part in place:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return name.removeprefix(".")


def _meant(place: list[int | str]) -> str:
    section: type[BaseModel] = Settings
    for part in place[:-1]:
        if isinstance(part, str):
            section = _model_of(section.model_fields[part].annotation)
    wrong = str(place[-1])
    if meant := _nearest(wrong, list(section.model_fields)):
        return meant
    elsewhere = [name for name in setting_names() if name.rpartition(".")[2] == wrong]
    return (
        f"; did you mean {elsewhere[0]!r}?"
        if elsewhere
        else f"; here can be: {', '.join(section.model_fields)}"
    )


def _nearest(wrong: str, right: list[str]) -> str:
    close = get_close_matches(wrong, right, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else ""


def _model_of(annotation: Any) -> type[BaseModel]:
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else Options


def setting_names() -> Iterator[str]:
    """Every setting as `section.key`, in the order of the sections."""
    for section, field in Settings.model_fields.items():
        for key in _model_of(field.annotation).model_fields:
            yield f"{section}.{key}"
