"""The connection string of the lake's catalogue, a PostgreSQL."""

import re
from collections.abc import Mapping

_PASSWORD = re.compile(r"(password\s*=\s*)('(?:[^'\\]|\\.)*'|\S+)|(?<=://)([^@/\s]*)(?=@)", re.IGNORECASE)


def conninfo(given: str, timeout_seconds: int) -> str:
    """The connection string with limits on what the network may take; what it says itself holds."""
    limits: Mapping[str, int] = {
        "connect_timeout": timeout_seconds,
        "keepalives_idle": timeout_seconds,
        "keepalives_interval": timeout_seconds,
        "keepalives_count": 3,
        "tcp_user_timeout": timeout_seconds * 1000,
    }
    missing = [f"{name}={value}" for name, value in limits.items() if name not in given]
    if "://" in given:
        return given + ("&" if "?" in given else "?") + "&".join(missing)
    return " ".join([given, *missing])


def without_password(text: str) -> str:
    """The same text with no password of a connection string in it."""
    return _PASSWORD.sub(lambda found: f"{found[1] or ''}…", text)
