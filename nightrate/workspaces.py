"""Workspaces and their API keys (SPEC §3.4): who may use what, in which currency, and with which secret."""

import json
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import urlsplit

from metering.access import DEFAULT_WORKSPACE
from metering.clock import Clock
from metering.errors import Conflict, InvalidParameter, NotFound
from metering.pages import Page, page_of
from metering.store import Row, Store, Transaction
from nightrate.keys import SHOWN_CHARACTERS, digest, new_secret

LOCAL_KEY = "local"
NAME_CHARACTERS = 100
URL_CHARACTERS = 2048
LARGEST_BUDGET = Decimal(10) ** 15
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True, slots=True)
class Workspace:
    """Owner of keys, files, tasks and charges."""

    id: str
    name: str
    disabled: bool
    currency: str | None
    """None: the currency of `billing.currency`, else the model's only one."""
    budget: Decimal | None
    """Per month, in the workspace's currency."""
    allowed_models: tuple[str, ...] | None
    """None means all."""
    webhook_url: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Key:
    """An API key without its secret, of which only a hash is kept."""

    id: str
    workspace_id: str
    name: str
    prefix: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Verified(Protocol):
    """What remembers who a secret belongs to."""

    def reload(self) -> None:
        """Reads keys and workspaces again."""


class Workspaces:
    """Everything that is done to workspaces and keys. Thread-safe: each change is one transaction."""

    def __init__(
        self,
        store: Store,
        keys: Verified,
        clock: Clock,
        models: Collection[str],
        cancel_tasks: Callable[[str], None],
        budget_currency: Callable[[str | None], str | None] = lambda own: own,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`budget_currency` tells the currency of a budget from the workspace's own, if it has one.

        `on_change` is told after a workspace's fields were set: its name and budget stand in the metrics.
        """
        self._store = store
        self._verified = keys
        self._clock = clock
        self._models = models
        self._cancel_tasks = cancel_tasks
        self._budget_currency = budget_currency
        self._on_change = on_change

    # -- workspaces --------------------------------------------------------------------------------

    def ensure_default(self) -> None:
        """Makes the workspace `default` if there is none yet."""

        def job(tx: Transaction) -> None:
            if tx.one("workspaces.get", id=DEFAULT_WORKSPACE) is None:
                tx.insert("workspaces", [_row(self._blank(DEFAULT_WORKSPACE, "Default Workspace"))])

        self._write(job)

    def list(self, *, limit: int = 100, after: str | None = None) -> Page[Workspace]:
        """Workspaces from the oldest on."""
        with self._store.reading() as read:
            if after is not None and read.one("workspaces.get", id=after) is None:
                raise _unknown_place(after)
            rows = read.query("workspaces.page", after=after, rows=limit + 1)
        return page_of([_workspace_of(row) for row in rows], limit)

    def get(self, identity: str) -> Workspace:
        """One workspace; `NotFound` if there is none of that id."""
        row = self._store.one("workspaces.get", id=identity)
        if row is None:
            raise NotFound("workspace", identity)
        return _workspace_of(row)

    def create(self, name: str, **more: Any) -> tuple[Workspace, str | None]:
        """Makes a workspace; `more` as in `change`. Gives the webhook's secret if a URL is set."""
        blank = self._blank(f"ws_{secrets.token_hex(12)}", name)
        workspace = replace(blank, **self._checked({"name": name, **more}))
        self._check_budget(workspace)
        secret = _webhook_secret() if workspace.webhook_url else None
        self._write(lambda tx: tx.insert("workspaces", [{**_row(workspace), "webhook_secret": secret}]))
        return workspace, secret

    def change(self, identity: str, changes: Mapping[str, Any]) -> tuple[Workspace, str | None]:
        """Sets the given fields. A set `webhook_url` brings a new secret, told this once.

        A disabled workspace's keys are refused from now on and its running tasks are cancelled.
        """
        checked = self._checked(changes)
        secret = _webhook_secret() if checked.get("webhook_url") else None

        def job(tx: Transaction) -> Workspace:
            row = tx.one("workspaces.get", id=identity)
            if row is None:
                raise NotFound("workspace", identity)
            before, after = _workspace_of(row), replace(_workspace_of(row), **checked)
            if before.currency != after.currency:
                _refuse_if_used(tx, identity)
            self._check_budget(after)
            tx.execute("workspaces.update", **_row(after))
            if "webhook_url" in checked:
                tx.execute("workspaces.set_webhook_secret", id=identity, webhook_secret=secret)
            return after

        workspace = self._write(job)
        self._on_change()
        if workspace.disabled:
            self._cancel_tasks(identity)
        return workspace, secret

    def running_tasks(self, identity: str) -> tuple[str, ...]:
        """The ids of a workspace's tasks that can still be cancelled, the oldest first."""
        return tuple(row["id"] for row in self._store.query("workspaces.running_tasks", id=identity))

    # -- keys --------------------------------------------------------------------------------------

    def keys(self, identity: str, *, limit: int = 100, after: str | None = None) -> Page[Key]:
        """A workspace's keys, revoked ones included, from the oldest on."""
        self.get(identity)
        with self._store.reading() as read:
            if after is not None and read.one("workspaces.key", id=after, workspace_id=identity) is None:
                raise _unknown_place(after)
            rows = read.query("workspaces.keys", workspace_id=identity, after=after, rows=limit + 1)
        return page_of([Key(**row) for row in rows], limit)

    def create_key(
        self, identity: str, name: str, expires_at: datetime | None = None, secret: str | None = None
    ) -> tuple[Key, str]:
        """Makes a key and gives its secret, which can't be read again later."""
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise InvalidParameter("expires_at must be in the future.", param="expires_at")
        secret = secret or new_secret()
        key = Key(
            id=f"key_{secrets.token_hex(12)}",
            workspace_id=identity,
            name=_name(name),
            prefix=secret[:SHOWN_CHARACTERS],
            created_at=now,
            expires_at=expires_at,
            revoked_at=None,
        )

        def job(tx: Transaction) -> None:
            if tx.one("workspaces.get", id=identity) is None:
                raise NotFound("workspace", identity)
            tx.insert("api_keys", [{**_fields(key), "secret_sha256": digest(secret)}])

        self._write(job)
        return key, secret

    def ensure_local_key(self, secret: str) -> str:
        """Makes the key `local` of `default` with this secret, unless there was one; gives the secret.

        A revoked one is not made again.
        """
        if self._store.one("workspaces.key_of_secret", secret_sha256=digest(secret)) is None:
            self.create_key(DEFAULT_WORKSPACE, LOCAL_KEY, secret=secret)
        return secret

    def revoke_key(self, identity: str, key_id: str) -> Key:
        """Revokes a key; a second time changes nothing. Its tasks go on."""

        def job(tx: Transaction) -> Row:
            tx.execute("workspaces.revoke", id=key_id, workspace_id=identity, now=self._clock())
            row = tx.one("workspaces.key", id=key_id, workspace_id=identity)
            if row is None:
                raise NotFound("key", key_id)
            return row

        return Key(**self._write(job))

    # -- inside ------------------------------------------------------------------------------------

    def _write(self, job: Callable[[Transaction], Any]) -> Any:
        try:
            return self._store.write(job)
        finally:
            self._verified.reload()

    def _blank(self, identity: str, name: str) -> Workspace:
        return Workspace(identity, name, False, None, None, None, None, self._clock())

    def _checked(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        return {field: self._check(field, value) for field, value in changes.items()}

    def _check(self, field: str, value: Any) -> Any:
        match field:
            case "name":
                return _name(value)
            case "currency":
                return _currency(value)
            case "budget":
                return _budget(value)
            case "allowed_models":
                return self._allowed_models(value)
            case "webhook_url":
                return _webhook_url(value)
        return value

    def _check_budget(self, workspace: Workspace) -> None:
        if workspace.budget is not None and self._budget_currency(workspace.currency) is None:
            raise InvalidParameter(
                "A budget needs a currency: set the workspace's currency, or billing.currency in the settings.",
                param="budget",
            )

    def _allowed_models(self, names: Collection[str] | None) -> tuple[str, ...] | None:
        for name in names or ():
            if name not in self._models:
                known = ", ".join(self._models)
                raise InvalidParameter(
                    f"There is no model {name!r}; there are: {known}.", param="allowed_models"
                )
        return None if names is None else tuple(dict.fromkeys(names))


def _unknown_place(after: str) -> InvalidParameter:
    return InvalidParameter(f"There is no row {after!r} to go on after.", param="after")


def _refuse_if_used(tx: Transaction, identity: str) -> None:
    used = tx.one("workspaces.in_use", id=identity)
    assert used is not None
    if used["charged"] or used["running"]:
        why = "it has charges" if used["charged"] else "it has running tasks"
        raise Conflict(
            f"The currency of workspace {identity!r} can't change: {why}.",
            param="currency",
            code="currency_in_use",
        )


def _name(value: str | None) -> str:
    name = (value or "").strip()
    if not 1 <= len(name) <= NAME_CHARACTERS or not name.isprintable():
        raise InvalidParameter(f"name must have 1 to {NAME_CHARACTERS} printable characters.", param="name")
    return name


def _currency(value: str | None) -> str | None:
    if value is not None and not _CURRENCY.fullmatch(value):
        raise InvalidParameter(
            "currency must be three capital letters, such as USD, or null.", param="currency"
        )
    return value


def _budget(value: Decimal | None) -> Decimal | None:
    if value is None:
        return None
    exponent = value.as_tuple().exponent  # a letter if it is no number
    if not isinstance(exponent, int) or exponent < -15 or not 0 < value < LARGEST_BUDGET:
        raise InvalidParameter(
            'budget must be an amount above 0, such as "250.00", with at most 15 decimals, or null.',
            param="budget",
        )
    return value


def _webhook_url(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and value.isascii() and value.isprintable() and " " not in value
    except ValueError:
        usable = False
    if not usable or len(value) > URL_CHARACTERS:
        raise InvalidParameter(
            f"webhook_url must be an http:// or https:// address of at most {URL_CHARACTERS} characters, or null.",
            param="webhook_url",
        )
    return value


def _webhook_secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(24)).decode()


def _workspace_of(row: Row) -> Workspace:
    names = row["allowed_models"]
    return Workspace(**{**row, "allowed_models": None if names is None else tuple(json.loads(names))})


def _fields(value: Workspace | Key) -> Row:
    return {name: getattr(value, name) for name in type(value).__dataclass_fields__}


def _row(workspace: Workspace) -> Row:
    names = workspace.allowed_models
    return {**_fields(workspace), "allowed_models": None if names is None else json.dumps(names)}
