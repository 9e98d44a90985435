"""Ports of the test's own, so that tests may run side by side."""

import socket

_RESERVED: list[socket.socket] = []
"""Bound, but listening to nobody: a port stays ours between a stop and the next start."""


def reserved_port() -> int:
    """A port that no other process is given as long as this one lives; a service of ours may listen there."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _RESERVED.append(held)
    port: int = held.getsockname()[1]
    return port
