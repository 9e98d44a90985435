"""API keys: how secrets are made, kept and checked. Only the SHA-256 of a workspace's key is stored.

The ring knows every live key in memory, so that a check costs no query; whoever changes keys or
workspaces calls `reload`, and expiry is looked at on every check: a revoked key is refused at once.
"""

import hashlib
import hmac
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metering.access import ADMIN, Access
from metering.clock import Clock
from metering.store import Store
from nightrate.settings import SettingsError

SECRET_PREFIX = "sk-nr-"  # noqa: S105  (what every secret begins with, itself no secret)
SHOWN_CHARACTERS = len(SECRET_PREFIX) + 4
ADMIN_KEY_VARIABLE = "NIGHTRATE_ADMIN_KEY"
ADMIN_KEY_CHARACTERS = 16
_PRIVATE = 0o600


def new_secret() -> str:
    """A new API key with 256 bits of randomness."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """What is stored of a secret: its SHA-256 in hex. Secrets are random, so no slow hash is needed."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def same_secret(given: str, expected: str) -> bool:
    """Whether two secrets are the same; how long it takes tells nothing."""
    return hmac.compare_digest(digest(given), digest(expected))


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """A secret in a file, and whether it was made just now."""

    secret: str
    made: bool


def kept_secret(path: Path, make: Callable[[], str]) -> KeptSecret:
    """Reads a secret from a file that only its owner may read; makes both if there is none.

    The file never exists with another mode or half written: it is written aside and linked in place.
    A looser mode that somebody gave it is taken back.
    """
    try:
        return KeptSecret(_read(path), made=False)
    except FileNotFoundError:
        pass
    secret = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "w") as file:
            file.write(secret + "\n")
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return KeptSecret(secret, made=True)


def _read(path: Path) -> str:
    if path.stat().st_mode & 0o777 != _PRIVATE:
        path.chmod(_PRIVATE)
    secret = path.read_text("utf-8").strip()
    if not secret:
        raise FileNotFoundError(path)
    return secret


def admin_key(data_dir: Path, env: Mapping[str, str]) -> KeptSecret:
    """The admin key: of the environment, else of `<data_dir>/admin.key`, made at first start."""
    if given := env.get(ADMIN_KEY_VARIABLE, "").strip():
        if len(given) < ADMIN_KEY_CHARACTERS:
            raise SettingsError(
                f"environment variable {ADMIN_KEY_VARIABLE}: needs at least {ADMIN_KEY_CHARACTERS} characters"
            )
        return KeptSecret(given, made=False)
    return kept_secret(data_dir / "admin.key", new_secret)


@dataclass(frozen=True, slots=True)
class _LiveKey:
    access: Access
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Known:
    by_digest: Mapping[str, _LiveKey]
    """By the SHA-256 of their secrets."""
    by_id: Mapping[str, _LiveKey]
    workspaces: frozenset[str]


class KeyRing:
    """Says who a secret belongs to. Safe to use from any thread; a check never waits for the database."""

    def __init__(self, store: Store, admin_secret: str, clock: Clock) -> None:
        self._store = store
        self._admin = digest(admin_secret)
        self._clock = clock
        self._lock = threading.Lock()
        self._known: _Known | None = None

    def reload(self) -> None:
        """To be called after keys or workspaces were changed; from its return on all checks know of it."""
        with self._lock:
            self._known = None
            self._known = self._read()

    def verify(self, secret: str) -> Access | None:
        """Who this secret belongs to; none if it is unknown, revoked, expired or of a disabled workspace."""
        hashed = digest(secret)
        if hmac.compare_digest(hashed, self._admin):
            return ADMIN
        live = self._current().by_digest.get(hashed)
        return live.access if live is not None and self._in_time(live) else None

    def _in_time(self, live: _LiveKey) -> bool:
        return live.expires_at is None or self._clock() < live.expires_at

    def still_valid(self, access: Access) -> bool:
        """Whether the key that a caller came with would be accepted now."""
        if access.key_id is None:
            return access.is_admin
        live = self._current().by_id.get(access.key_id)
        return live is not None and live.access == access and self._in_time(live)

    def has_workspace(self, identity: str) -> bool:
        """Whether there is such a workspace."""
        return identity in self._current().workspaces

    def _current(self) -> _Known:
        if (known := self._known) is not None:
            return known
        with self._lock:
            self._known = self._known or self._read()
            return self._known

    def _read(self) -> _Known:
        with self._store.reading() as read:
            rows = read.query("workspaces.live_keys")
            workspaces = read.query("workspaces.identities")
        keys = {
            row["secret_sha256"]: _LiveKey(Access(row["workspace_id"], row["id"]), row["expires_at"])
            for row in rows
        }
        by_id = {str(live.access.key_id): live for live in keys.values()}
        return _Known(keys, by_id, frozenset(row["id"] for row in workspaces))
