"""Where a command finds its settings, the service and its key: options first, then environment, then files."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated

import typer

from nightrate.cli.failure import CliFailure, wrong_use
from nightrate.settings import Settings, SettingsError, load

Config = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Settings file [NIGHTRATE_CONFIG, else config/nightrate.toml]"
    ),
]
Url = Annotated[
    str | None,
    typer.Option("--url", help="The service [NIGHTRATE_URL, else host and port of the settings]"),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key", help="API key [NIGHTRATE_KEY, NIGHTRATE_ADMIN_KEY, else admin.key of the data folder]"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the service's JSON instead of a table")]
WorkspaceId = Annotated[
    str | None, typer.Option("--workspace", metavar="ID", help="Of or in this workspace (admin key)")
]
AllNodes = Annotated[
    bool, typer.Option("--all-nodes", help="Of all nodes that share this one's lake (admin key)")
]


def nodes_of(all_nodes: bool) -> str | None:
    """The API's parameter."""
    return "all" if all_nodes else None


@dataclass(frozen=True)
class Surroundings:
    """What a command was told about where it runs. Settings are read only when something needs them."""

    env: Mapping[str, str]
    config: Path | None = None
    url: str | None = None
    key: str | None = None

    @cached_property
    def settings(self) -> Settings:
        """The settings; exit code 2 with every fault if they can't be used."""
        try:
            return load(self.config, self.env)
        except SettingsError as error:
            raise wrong_use(str(error)) from error

    @property
    def service_url(self) -> str:
        """The service's address without `/v1`."""
        given = self.url or self.env.get("NIGHTRATE_URL")
        if not given:
            return _reachable(self.settings.server.host, self.settings.server.port)
        if not given.startswith(("http://", "https://")):
            raise wrong_use(
                f"{given!r} is not an address of the service", "Write for instance http://127.0.0.1:8000."
            )
        return given.rstrip("/").removesuffix("/v1")

    @property
    def names_a_service(self) -> bool:
        """Whether an address was given, so that only a running service will do."""
        return bool(self.url or self.env.get("NIGHTRATE_URL"))

    @property
    def api_key(self) -> str:
        """The key to call with; exit code 2 if there is none anywhere."""
        given = self.key or self.env.get("NIGHTRATE_KEY") or self.env.get("NIGHTRATE_ADMIN_KEY")
        return given or self._admin_key()

    @property
    def any_key(self) -> str:
        """The same, or an empty one: a stopped service's data needs none, and a running one refuses it."""
        try:
            return self.api_key
        except CliFailure:
            return ""

    def _admin_key(self) -> str:
        file = self.settings.storage.data_dir / "admin.key"
        hint = "Give --key, set NIGHTRATE_KEY, or start the service once: it makes an admin key."
        try:
            return file.read_text("ascii").strip()
        except FileNotFoundError as error:
            raise wrong_use(f"there is no API key: none was given and there is no {file}", hint) from error
        except (OSError, UnicodeDecodeError) as error:
            raise wrong_use(f"the admin key {file} can't be read: {error}", hint) from error


def _reachable(host: str, port: int) -> str:
    """The address to call for one to listen on: a service bound to every interface is asked at loopback."""
    called = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104
    return f"http://[{called}]:{port}" if ":" in called else f"http://{called}:{port}"
