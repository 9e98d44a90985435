"""Host names and their addresses: a look-up that never ends keeps nobody waiting but those who want this very name."""

import asyncio
import socket
from contextlib import suppress
from ipaddress import ip_address
from threading import Thread
from typing import TypeAlias

Found: TypeAlias = list[str] | OSError
"""Addresses, or why there are none."""


class Names:
    """The addresses of one host. Belongs to the dispatch loop.

    Each look-up has a thread of its own, one at a time, shared by all who ask meanwhile: the loop's own resolver has
    two for the whole process, and two names without a name server would be enough to stop every other one.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._asked: asyncio.Future[Found] | None = None
        self._good: str | None = None

    @property
    def asked(self) -> bool:
        """Whether a look-up is under way."""
        return self._asked is not None

    async def addresses(self) -> list[str]:
        """Where to connect to, the one that was reached last first; an address needs no look-up."""
        if _is_address(self._host):
            return [self._host]
        if self._asked is None:
            self._asked = self._ask()
        found = await asyncio.shield(self._asked)
        if isinstance(found, OSError):
            raise found
        return sorted(found, key=lambda address: address != self._good)

    def reached(self, address: str) -> None:
        """This one answers: it is tried first from here on."""
        self._good = address

    def _ask(self) -> asyncio.Future[Found]:
        asked = look_up(self._host, self._port)
        asked.add_done_callback(self._answered)
        return asked

    def _answered(self, _: asyncio.Future[Found]) -> None:
        self._asked = None


def look_up(host: str, port: int) -> asyncio.Future[Found]:
    """The addresses of a host, or why there are none, told to the loop that runs.

    In a daemon thread of its own, since nothing can end a look-up, and the service must be able to.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Found] = loop.create_future()

    def tell(found: Found) -> None:
        if not future.done():
            future.set_result(found)

    def ask() -> None:
        found = _addresses(host, port)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, found)

    Thread(target=ask, name=f"name-{host}", daemon=True).start()
    return future


def _addresses(host: str, port: int) -> Found:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return OSError(f"the host name {host!r} was not found: {error}")
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
