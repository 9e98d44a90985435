"""What the console is given: everything that it shows or does goes through these, with the caller's Access."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from dashboard.recall import Recall
from executor.options import LimitOptions
from metering.access import Access
from metering.clock import Clock
from metering.options import BillingOptions, StatisticsOptions
from metering.pages import Page

if TYPE_CHECKING:
    from executor.batches import Batches
    from executor.files import Files
    from executor.models import ModelCatalog
    from executor.webhooks.outbox import Outbox
    from metering.audit import Audit
    from metering.budgets import Budgets
    from metering.calls import Calls
    from metering.exports import Exports
    from metering.glance import Glance
    from metering.ledger import Ledger
    from metering.price_list import PriceList
    from metering.statements import Statements
    from metering.statistics import Statistics
    from metering.unbilled import UnbilledRequests

RECALLED = 64
"""Drawn sections and answers of statistics, each at most some megabytes."""


class LiveTask(Protocol):
    """How fast a running task goes (the engine's `Live`)."""

    @property
    def requests_per_second(self) -> float | None:
        """Calls that ended in a second, lately."""

    @property
    def estimated_end_at(self) -> datetime | None:
        """When it ends if it goes on like this."""

    @property
    def waiting(self) -> Any | None:
        """Why nothing moves: `reason`, `since`, `upstream` (SPEC §3.1)."""


class Workspaces(Protocol):
    """What the console does with workspaces and keys: `nightrate.workspaces.Workspaces` as it is."""

    def get(self, identity: str) -> Any:
        """One workspace (`id`, `name`, `disabled`, `currency`, `allowed_models` …), or `NotFound`."""

    def list(self, *, limit: int = 100, after: str | None = None) -> Page[Any]:
        """Workspaces from the oldest on; `default` is the first."""

    def create(self, name: str) -> tuple[Any, str | None]:
        """Makes a workspace."""

    def change(self, identity: str, changes: Mapping[str, Any]) -> tuple[Any, str | None]:
        """Sets fields; the running tasks of a disabled workspace are cancelled."""

    def keys(self, identity: str, *, limit: int = 100, after: str | None = None) -> Page[Any]:
        """A workspace's keys (`id`, `name`, `prefix`, `created_at`, `expires_at`, `revoked_at`)."""

    def create_key(self, identity: str, name: str, expires_at: datetime | None = None) -> tuple[Any, str]:
        """Makes a key; the second part is its secret, which can't be read again."""

    def revoke_key(self, identity: str, key_id: str) -> Any:
        """Stops a key for good."""


@dataclass(frozen=True, slots=True)
class ConsoleServices:
    """The collaborators of the console; made by the composition root."""

    files: Files
    batches: Batches
    catalog: ModelCatalog
    outbox: Outbox
    statistics: Statistics
    glance: Glance
    ledger: Ledger
    prices: PriceList
    exports: Exports
    statements: Statements
    budgets: Budgets
    unbilled: UnbilledRequests
    calls: Calls
    audit: Audit
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
    busy: Callable[[], bool]
    """Whether any task goes on, so that figures change without a commit too."""
    revision: Callable[[], int]
    """How many transactions were committed; the same number means the same tables."""
    upstreams_up: Callable[[], Mapping[tuple[str, str], int]]
    """1 for each (model, upstream) that answers, 0 while it does not."""
    session_secret: str
    """Signs the session cookie; kept in the data folder so that a restart logs nobody out."""
    version: str
    data_folder: str
    """Where the data lies, for the settings page."""
    secure: bool = False
    """Whether `server.public_url` is https, so that the cookie is sent over TLS only."""
    recall: Recall = field(default_factory=lambda: Recall(RECALLED))
    notice: str | None = None
    """A line above every page, for instance that the data is made up."""
