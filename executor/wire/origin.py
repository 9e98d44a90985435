"""Where an upstream is: what of its URL the connection needs, and what each request's head says. Pure."""

import ssl
from base64 import b64encode
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

import certifi

_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """A host and port, with or without encryption."""

    host: str
    port: int
    encrypted: bool


def origin_of(url: str) -> Origin:
    """The host and port of a URL."""
    parts = urlsplit(url)
    host = (
        (parts.hostname or "").encode("idna").decode() if not _is_address(parts.hostname) else parts.hostname
    )
    return Origin(host or "", parts.port or _PORTS[parts.scheme], parts.scheme == "https")


def head_of(url: str, method: str, path: str, api_key: str | None) -> bytes:
    """A request's line and headers, but for its length: `path` is appended to the URL's own.

    A key that would break the header, or one outside of Latin-1, raises `ValueError`.
    """
    parts, origin = urlsplit(url), origin_of(url)
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    if origin.port != _PORTS[parts.scheme]:
        host = f"{host}:{origin.port}"
    lines = [
        f"{method} {parts.path.rstrip('/')}{path} HTTP/1.1",
        f"host: {host}",
        "user-agent: nightrate",
        "accept: application/json, text/event-stream",
        "accept-encoding: identity",
    ]
    if api_key:
        lines.append(f"authorization: Bearer {api_key}")
    elif parts.username:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        lines.append(f"authorization: Basic {b64encode(user.encode()).decode()}")
    if any(character in line for line in lines for character in "\r\n\0"):
        raise ValueError("the upstream's URL or key holds a line break, which no header can carry")
    return "\r\n".join(lines).encode("latin-1")


def sendable(api_key: str) -> bool:
    """Whether a header can carry this key."""
    return api_key.isprintable() and all(ord(character) < 256 for character in api_key)


def without_user_info(url: str) -> str:
    """The URL as it may be shown: without name and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def tls_context() -> ssl.SSLContext:
    """Trusts what the system trusts (or `SSL_CERT_FILE` names) and the public authorities of `certifi`."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context


def _is_address(host: str | None) -> bool:
    return host is None or ":" in host or host.isascii()
