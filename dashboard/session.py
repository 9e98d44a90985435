"""Who uses the console: login with an API key or the printed link, a signed cookie, and what a browser is told.

The cookie holds the workspace and the key's id, never the key. Each request asks the services whether
that key is still good, so a revoked key ends its sessions.
"""

import math
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Network, ip_address
from urllib.parse import urlencode, urlsplit

from flask import Flask, Request, Response, redirect, render_template, request, session
from flask.sessions import SecureCookieSessionInterface

from dashboard.services import ConsoleServices
from metering.access import Access
from metering.clock import Clock

PREFIX = "/console"
LIFETIME = timedelta(days=7)
OPEN_PATHS = ("/login", "/assets/", "/favicon.ico", "/_favicon.ico")
"""What is served without a session."""
CUSTOMER_BITS = 64


class LoginLimit:
    """Counts failed logins of each address: ten within five minutes, then it has to wait.

    A login that succeeds takes nothing back: who has one key could guess others between two uses of it.
    """

    attempts = 10
    window = timedelta(minutes=5)
    addresses = 10_000

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_seconds(self, address: str) -> int:
        """How long this address has to wait before it may try again; 0: not at all."""
        with self._lock:
            failures = self._recent(address)
            if len(failures) < self.attempts:
                return 0
            return max(1, math.ceil(failures[0] + self.window.total_seconds() - self._now()))

    def failed(self, address: str) -> None:
        """Notes a failed login; the longest silent address is forgotten when there are too many."""
        with self._lock:
            self._recent(address).append(self._now())
            self._failures.move_to_end(address)
            while len(self._failures) > self.addresses:
                self._failures.popitem(last=False)

    def _now(self) -> float:
        return self._clock().timestamp()

    def _recent(self, address: str) -> deque[float]:
        failures = self._failures.setdefault(address, deque(maxlen=self.attempts))
        while failures and failures[0] <= self._now() - self.window.total_seconds():
            failures.popleft()
        return failures


def caller_of(asked: Request) -> str:
    """Whose attempts are counted together: an address, of IPv6 the network that one customer has.

    Behind a proxy of `server.trusted_proxies` it is still the browser's.
    """
    try:
        address = ip_address(asked.remote_addr or "")
    except ValueError:
        return asked.remote_addr or ""
    if isinstance(address, IPv4Address) or address.ipv4_mapped:
        return str(address)
    return str(IPv6Network((address, CUSTOMER_BITS), strict=False))


class Cookies(SecureCookieSessionInterface):
    """The session cookie, which is for TLS alone wherever the browser came by TLS."""

    def get_cookie_secure(self, app: Flask) -> bool:
        """Whether this answer's cookie is `Secure`."""
        return super().get_cookie_secure(app) or request.is_secure


def same_origin(asked: Request) -> bool:
    """Whether a request that changes something comes from the console's own pages.

    A browser says so in Sec-Fetch-Site, an old one at least in Origin; what says neither is no browser.
    """
    site = asked.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site == "same-origin"
    origin = asked.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == asked.host


def current_access() -> Access:
    """The caller of this request, whose session was checked before it."""
    return Access(workspace_id=session["workspace"], key_id=session["key"])


def sessions(server: Flask, services: ConsoleServices, script_hashes: Callable[[], list[str]]) -> None:
    """Puts login, logout, the check of every request and the security headers on the console's server."""
    server.secret_key = services.session_secret
    server.session_interface = Cookies()
    server.config.update(
        SESSION_COOKIE_NAME="nightrate_session",
        SESSION_COOKIE_PATH=PREFIX,
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
        SESSION_COOKIE_SECURE=services.secure,
        PERMANENT_SESSION_LIFETIME=LIFETIME,
        SESSION_REFRESH_EACH_REQUEST=False,
    )
    limit = LoginLimit(services.clock)
    server.context_processor(lambda: {"notice": services.notice})
    server.before_request(lambda: _check(services, limit))
    server.after_request(lambda response: _secured(response, script_hashes))
    server.add_url_rule("/login", "login", lambda: _login_page(services), methods=["GET"])
    server.add_url_rule("/login", "sign_in", lambda: _sign_in(services, limit), methods=["POST"])
    server.add_url_rule("/logout", "logout", _sign_out, methods=["POST"])


def _check(services: ConsoleServices, limit: LoginLimit) -> Response | tuple[str, int] | None:
    if request.method not in ("GET", "HEAD", "OPTIONS") and not same_origin(request):
        return "This request came from another site and was refused.", 403
    if "token" in request.args and request.method == "GET":
        return _take_token(services, limit)
    if request.path.startswith(OPEN_PATHS) or _may_go_on(services):
        return None
    session.clear()
    if request.method == "GET" and "text/html" in request.headers.get("Accept", ""):
        return _redirect(f"{PREFIX}/login", next=request.full_path.rstrip("?"))
    return "The session has ended; sign in again.", 401


def _may_go_on(services: ConsoleServices) -> bool:
    return "workspace" in session and services.still_valid(current_access())


def _take_token(services: ConsoleServices, limit: LoginLimit) -> Response | tuple[str, int]:
    address = caller_of(request)
    if limit.wait_seconds(address):
        return _too_many(limit.wait_seconds(address))
    access = services.redeem_login_token(request.args["token"])
    if access is not None:
        _begin(access)
    elif not _may_go_on(services):
        limit.failed(address)
        return render_template(
            "login.html", error="This link was used already. Sign in with an API key.", next=""
        ), 401
    return _redirect(f"{PREFIX}/")


def _login_page(services: ConsoleServices) -> Response | str:
    if _may_go_on(services):
        return _redirect(f"{PREFIX}/")
    return render_template("login.html", error=None, next=request.args.get("next", ""))


def _sign_in(services: ConsoleServices, limit: LoginLimit) -> Response | tuple[str, int]:
    address = caller_of(request)
    if wait := limit.wait_seconds(address):
        return _too_many(wait)
    access = services.authenticate(request.form.get("api_key", "").strip())
    target = request.form.get("next", "")
    if access is None:
        limit.failed(address)
        error = "This API key is not known, or was revoked. Check that all of it was copied."
        return render_template("login.html", error=error, next=target), 401
    _begin(access)
    # One slash only: "//host" would lead to another host.
    safe = target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"
    return _redirect(PREFIX + safe)


def _too_many(seconds: int) -> tuple[str, int]:
    error = f"Too many attempts. Try again in {math.ceil(seconds / 60)} min."
    return render_template("login.html", error=error, next=""), 429


def _begin(access: Access) -> None:
    session.clear()
    session.permanent = True
    session["workspace"], session["key"] = access.workspace_id, access.key_id


def _sign_out() -> Response:
    session.clear()
    return _redirect(f"{PREFIX}/login")


def _redirect(path: str, **query: str) -> Response:
    answer = redirect(f"{path}?{urlencode(query)}" if query else path, code=303)
    assert isinstance(answer, Response)
    return answer


def _secured(response: Response, script_hashes: Callable[[], list[str]]) -> Response:
    scripts = " ".join(["'self'", *script_hashes()])
    response.headers["Content-Security-Policy"] = (
        # Plotly writes style elements, hence 'unsafe-inline' for styles alone.
        f"default-src 'none'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["X-Frame-Options"] = "DENY"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    response.headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    if not request.path.startswith(("/assets/", "/_dash-component-suites/")):
        response.headers["Cache-Control"] = "no-store"
    return response
