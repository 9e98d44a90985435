"""Sessions of the console: who gets in, how long, and what a browser is told."""

import gzip
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from werkzeug.test import Client

from dashboard.app import console
from dashboard.services import ConsoleServices
from executor.models import ModelCatalog
from executor.options import LimitOptions
from metering.access import ADMIN, Access
from metering.options import BillingOptions, StatisticsOptions

WORKSPACE = Access(workspace_id="ws_1", key_id="key_1")
KEYS = {"sk-admin": ADMIN, "sk-own": WORKSPACE}


class Moved:
    """A clock that the test moves, keys that it revokes, and links that work once."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, tzinfo=UTC)
        self.revoked: set[Access] = set()
        self.tokens = {"once": ADMIN}

    def services(self) -> ConsoleServices:
        nothing: Any = SimpleNamespace()
        workspace = SimpleNamespace(id="ws_1", name="Search", disabled=False)
        spaces: Any = SimpleNamespace(
            get=lambda _: workspace, list=lambda **_: SimpleNamespace(data=[workspace])
        )
        return ConsoleServices(
            files=nothing,
            batches=nothing,
            catalog=ModelCatalog([]),
            outbox=nothing,
            statistics=nothing,
            glance=nothing,
            ledger=nothing,
            prices=nothing,
            exports=nothing,
            statements=nothing,
            budgets=nothing,
            unbilled=nothing,
            calls=nothing,
            audit=nothing,
            workspaces=spaces,
            limits=LimitOptions(),
            billing=BillingOptions(),
            statistics_options=StatisticsOptions(),
            clock=lambda: self.now,
            authenticate=KEYS.get,
            still_valid=lambda access: access not in self.revoked,
            redeem_login_token=lambda token: self.tokens.pop(token, None),
            live=lambda _: None,
            busy=lambda: False,
            revision=lambda: 0,
            upstreams_up=dict,
            session_secret="a secret of the test",
            version="1",
            data_folder="data",
        )


@pytest.fixture
def moved() -> Moved:
    return Moved()


@pytest.fixture
def client(moved: Moved) -> Client:
    """Speaks to the app as the front door mounts it: below /console."""
    return Client(console(moved.services()))


def ask(client: Client, path: str, method: str = "GET", **more: Any) -> Any:
    return client.open(path, method=method, base_url="http://console.test/console", **more)


def sign_in(client: Client, key: str = "sk-admin", **more: Any) -> Any:
    return ask(client, "/login", "POST", data={"api_key": key, **more.pop("data", {})}, **more)


HTML = {"Accept": "text/html"}


def test_a_page_without_a_session_leads_to_the_login_and_back(client: Client) -> None:
    """The address is kept for afterwards; what is no page is refused."""
    away = ask(client, "/billing?month=2026-11", headers=HTML)
    assert away.status_code == 303
    assert away.location == "/console/login?next=%2Fbilling%3Fmonth%3D2026-11"
    back = sign_in(client, data={"next": "/billing?month=2026-11"})
    assert back.location == "/console/billing?month=2026-11"
    assert ask(client, "/billing").status_code == 200


def test_nothing_is_served_without_a_session(client: Client) -> None:
    """Neither layouts nor callbacks, downloads or actions."""
    for path in (
        "/_dash-layout",
        "/_dash-dependencies",
        "/download/sample.jsonl",
        "/download/exports/charges",
    ):
        assert ask(client, path).status_code == 401
    for path in ("/_dash-update-component", "/do/tasks", "/do/workspaces"):
        assert ask(client, path, "POST", json={}).status_code == 401


def test_the_cookie_is_for_the_console_alone_and_hidden_from_scripts(client: Client) -> None:
    """HttpOnly, SameSite=Lax, below /console, and without the key."""
    cookie = sign_in(client, "sk-own").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/console" in cookie
    assert "sk-own" not in cookie


def test_a_wrong_key_is_told_so(client: Client) -> None:
    """And opens nothing."""
    answer = sign_in(client, "sk-wrong")
    assert answer.status_code == 401
    assert "not known" in answer.text
    assert ask(client, "/_dash-layout").status_code == 401


def test_guessing_is_stopped(client: Client, moved: Moved) -> None:
    """After ten failures even the right key has to wait, five minutes later it is taken."""
    for _ in range(10):
        sign_in(client, "sk-guess")
    assert sign_in(client).status_code == 429
    moved.now += timedelta(minutes=5, seconds=1)
    assert sign_in(client).status_code == 303


def test_another_host_is_never_led_to(client: Client) -> None:
    """`next` stays within the console."""
    for target in ("//evil.test/", "https://evil.test/", "/\\evil.test"):
        assert sign_in(client, data={"next": target}).location == "/console/"


def test_the_printed_link_works_once(client: Client, moved: Moved) -> None:
    """Its token does not stay in the address; a second browser is sent to the login."""
    first = ask(client, "/login?token=once", headers=HTML)
    assert (first.status_code, first.location) == (303, "/console/")
    assert ask(client, "/").status_code == 200
    assert ask(client, "/?token=once", headers=HTML).location == "/console/"
    other = Client(console(moved.services()))
    assert ask(other, "/login?token=once", headers=HTML).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
    ],
)
def test_another_site_can_do_nothing(client: Client, headers: dict[str, str]) -> None:
    """Neither sign in nor act in a session."""
    assert sign_in(client, headers=headers).status_code == 403
    sign_in(client)
    assert ask(client, "/do/workspaces", "POST", json={"name": "x"}, headers=headers).status_code == 403
    assert ask(client, "/logout", "POST", headers=headers).status_code == 403


def test_a_revoked_key_ends_its_sessions(client: Client, moved: Moved) -> None:
    """At the next request."""
    sign_in(client, "sk-own")
    assert ask(client, "/_dash-layout").status_code == 200
    moved.revoked.add(WORKSPACE)
    assert ask(client, "/_dash-layout").status_code == 401


def test_signing_out_ends_the_session(client: Client) -> None:
    """In this browser."""
    sign_in(client)
    assert ask(client, "/logout", "POST").location == "/console/login"
    assert ask(client, "/_dash-layout").status_code == 401


def test_what_is_the_admin_s_is_refused_to_a_workspace_s_key(client: Client) -> None:
    """Whatever the page shows."""
    sign_in(client, "sk-own")
    for path in ("/do/workspaces", "/do/workspaces/ws_1/keys", "/do/workspaces/ws_1/disable"):
        assert ask(client, path, "POST", json={"name": "x"}).status_code == 403
    assert "Settings" not in ask(client, "/").text


def test_the_browser_is_told_to_trust_nobody_else(client: Client) -> None:
    """A strict policy on each answer; scripts of this host and Dash's own inline one by its hash."""
    sign_in(client)
    for path in ("/", "/login", "/_dash-layout"):
        headers = ask(client, path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe-eval" not in policy
        assert "script-src 'self' 'sha256-" in policy
        assert "unsafe-inline" not in policy.split("style-src")[0]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cache-Control"] == "no-store"


def test_a_workspace_s_name_is_text(moved: Moved) -> None:
    """Never HTML, in the frame too."""
    services = moved.services()
    services.workspaces.get("ws_1").name = "<img src=x onerror=alert(1)>"
    client = Client(console(services))
    sign_in(client, "sk-own")
    page = ask(client, "/").text
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page


def test_scripts_are_sent_compressed(moved: Moved) -> None:
    """For who takes it; Plotly's is some megabytes otherwise, and may be kept by the browser."""
    browser = Client(console(moved.services()))
    plain = browser.get("/assets/console.js")
    small = browser.get("/assets/console.js", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert small.headers["Content-Encoding"] == "gzip"
    assert small.headers["Vary"] == "Accept-Encoding"
    assert gzip.decompress(small.data) == plain.data
    assert len(small.data) * 2 < len(plain.data)
    assert browser.get("/assets/console.js", headers={"Accept-Encoding": "gzip"}).data == small.data
