"""One-time login links: the one printed at start opens the console without typing a key."""

import secrets
import threading
from datetime import datetime, timedelta

from metering.access import Access
from metering.clock import Clock
from nightrate.keys import digest


class LoginTokens:
    """Tokens that log in once and soon expire. Only their hashes are kept, in memory."""

    def __init__(self, clock: Clock, valid_seconds: int) -> None:
        self._clock = clock
        self._valid = timedelta(seconds=valid_seconds)
        self._lock = threading.Lock()
        self._issued: dict[str, tuple[Access, datetime]] = {}

    def issue(self, access: Access) -> str:
        """A token that logs in as the given caller."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._issued[digest(token)] = (access, self._clock() + self._valid)
        return token

    def redeem(self, token: str) -> Access | None:
        """Whose token it is, once; none if it is unknown, used or expired."""
        with self._lock:
            access, ends = self._issued.pop(digest(token), (None, None))
        return access if ends is not None and self._clock() < ends else None
