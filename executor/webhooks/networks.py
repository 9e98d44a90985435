"""Where notifications may go. Users choose the addresses, and the service stands inside the operator's network."""

import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Any, TypeAlias

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_NAT64 = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as an IPv6 network's translator takes them (RFC 6052)."""


class NotAllowed(OSError):
    """An address that notifications must not go to."""

    def __init__(self, address: Address) -> None:
        super().__init__(
            errno.EACCES,
            f"{address} is not a public address; the operator may allow its network in [webhooks] allow_networks",
        )


def allowed(address: Address, networks: tuple[Network, ...]) -> bool:
    """Whether an address is public or in one of the networks, and so is every address that it stands for."""
    return all(_allowed(one, networks) for one in _meant(address))


def guarded_socket(networks: tuple[Network, ...]) -> Callable[[Any], socket.socket]:
    """Makes sockets for resolved addresses, and raises `NotAllowed` for others.

    The check is of the very address that is connected to: a name that resolves anew to another one changes nothing.
    """

    def make(resolved: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        family, kind, protocol, _, target = resolved
        address = ipaddress.ip_address(str(target[0]).partition("%")[0])
        if not allowed(address, networks):
            raise NotAllowed(address)
        return socket.socket(family, kind, protocol)

    return make


def _allowed(address: Address, networks: tuple[Network, ...]) -> bool:
    if any(address in network for network in networks if network.version == address.version):
        return True
    return address.is_global and not address.is_multicast


def _meant(address: Address) -> Iterator[Address]:
    """The address itself, or the IPv4 address within it that traffic ends at."""
    if isinstance(address, IPv4Address):
        yield address
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
        return
    yield address
    if address.sixtofour is not None:
        yield address.sixtofour
    if address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
