"""What the console is given: everything that it shows or does goes through these, with the caller's Access."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from executor.options import LimitOptions
from metering.access import Access
from metering.clock import Clock
from metering.options import BillingOptions, StatisticsOptions

if TYPE_CHECKING:
    from executor.batches import Batches
    from executor.files import Files
    from executor.models import ModelCatalog
    from metering.exports import Exports
    from metering.ledger import Ledger
    from metering.prices import PriceBook
    from metering.statistics import Statistics


class LiveTask(Protocol):
    """How fast a running task goes (the engine's `Live`)."""

    @property
    def requests_per_second(self) -> float | None:
        """Calls that ended in a second, lately."""

    @property
    def estimated_end_at(self) -> datetime | None:
        """When it ends if it goes on like this."""

    @property
    def waiting(self) -> Mapping[str, Any] | None:
        """Why nothing moves: reason, since, upstream (SPEC §3.1)."""


class Workspace(Protocol):
    """The facts of a workspace that the console shows."""

    @property
    def id(self) -> str:
        """Its id; `default` always exists."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def disabled(self) -> bool:
        """Whether its keys are refused."""

    @property
    def currency(self) -> str | None:
        """The currency of its bills; none: that of the settings."""

    @property
    def allowed_models(self) -> Sequence[str] | None:
        """The models that it may use; none: all."""


class Key(Protocol):
    """The facts of an API key; never its secret."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def prefix(self) -> str:
        """The first characters of the secret."""

    @property
    def created_at(self) -> datetime:
        """When it was made."""

    @property
    def expires_at(self) -> datetime | None:
        """When it stops working."""

    @property
    def revoked_at(self) -> datetime | None:
        """When it was revoked."""


class Workspaces(Protocol):
    """The console's view of the workspaces."""

    def get(self, workspace_id: str) -> Workspace | None:
        """One workspace, or none."""

    def all(self) -> Sequence[Workspace]:
        """Every workspace, `default` first."""

    def create(self, name: str) -> Workspace:
        """Makes a workspace."""

    def set_disabled(self, workspace_id: str, disabled: bool) -> None:
        """Stops or allows a workspace's keys; running tasks of a disabled one are cancelled."""

    def keys(self, workspace_id: str) -> Sequence[Key]:
        """A workspace's keys, newest first, revoked ones included."""

    def create_key(self, workspace_id: str, name: str) -> tuple[Key, str]:
        """Makes a key; the second part is its secret, which can't be read again."""

    def revoke_key(self, workspace_id: str, key_id: str) -> None:
        """Stops a key for good."""


@dataclass(frozen=True, slots=True)
class ConsoleServices:
    """The collaborators of the console; made by the composition root."""

    files: Files
    batches: Batches
    catalog: ModelCatalog
    statistics: Statistics
    ledger: Ledger
    prices: PriceBook
    exports: Exports
    workspaces: Workspaces
    limits: LimitOptions
    billing: BillingOptions
    statistics_options: StatisticsOptions
    clock: Clock
    authenticate: Callable[[str], Access | None]
    """Whose API key this secret is; none for an unknown, expired or revoked one."""
    still_valid: Callable[[Access], bool]
    """Whether a session made with that key may go on: asked at each request of the console."""
    redeem_login_token: Callable[[str], Access | None]
    """Takes a one-time token of the printed link; none if it was used or is unknown."""
    live: Callable[[str], LiveTask | None]
    """How a running task goes, by its id."""
    upstreams_up: Callable[[], Mapping[tuple[str, str], int]]
    """1 for each (model, upstream) that answers, 0 while it does not."""
    session_secret: str
    """Signs the session cookie; kept in the data folder so that a restart logs nobody out."""
    version: str
    data_folder: str
    """Where the data lies, for the settings page."""
    secure: bool = False
    """Whether `server.public_url` is https, so that the cookie is sent over TLS only."""
    notice: str | None = None
    """A line above every page, for instance that the data is made up."""
