"""The real service, a scripted upstream, and Debian's Chromium before the console."""

import json
import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from openai import ConflictError
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.watched import Watched
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE_MS = 30_000
"""Two cores may have much else to do."""
SLOW = float(os.environ.get("SLOW_BROWSER", "0"))
"""How many times slower the browser is to be; each answer takes as many tenths of a second more."""
Open = Callable[..., Watched]


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="session")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One service for all browser tests; each makes tasks of its own."""
    with Server(
        tmp_path_factory.mktemp("console"), upstream.url, timeout=30, executor="shutdown_grace_seconds = 1"
    ) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def nothing_left(server: Server, upstream: Upstream) -> Iterator[None]:
    """What a file's tests left running is over before those of the next one look at figures."""
    yield
    client = server.client()
    going = {"status": "validating,in_progress,finalizing,cancelling"}
    left = [batch.id for batch in client.batches.list(limit=100, extra_query=going)]
    for task_id in left:
        with suppress(ConflictError):  # it has just ended
            client.batches.cancel(task_id)
    upstream.stop()  # lets go what hangs there
    upstream.start()
    for task_id in left:
        server.wait(task_id)


@pytest.fixture(scope="module")
def alone(server: Server) -> str:
    """A workspace with a success and a failure, in which no other test's task ends while its figures are compared."""
    workspace = post(server, "/v1/workspaces", {"name": "Alone"})["id"]
    key = post(server, f"/v1/workspaces/{workspace}/keys", {"name": "alone"})["secret"]
    server.wait(server.submit(["each page", "bad @status=400"], key))
    return workspace


def slow(page: Page) -> None:
    """As on a bad day, if that is asked for: it shows races of the console, and tests that don't wait for what they look at."""
    if not SLOW:
        return
    devtools = page.context.new_cdp_session(page)
    devtools.send("Emulation.setCPUThrottlingRate", {"rate": SLOW})
    devtools.send("Network.enable")
    conditions = {"offline": False, "latency": SLOW * 100, "downloadThroughput": -1, "uploadThroughput": -1}
    devtools.send("Network.emulateNetworkConditions", conditions)


@pytest.fixture
def open_console(chromium: Browser, server: Server, nothing_left: None) -> Iterator[Open]:
    """Opens a browser of one's own, signed in with a key; at the end nothing may have gone wrong in it."""
    opened: list[Watched] = []

    def open_(key: str | None = ADMIN_KEY, *, width: int = 1280, theme: str = "light") -> Watched:
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=theme, accept_downloads=True
        )
        context.set_default_timeout(PATIENCE_MS)
        watched = Watched(context.new_page(), server.url)
        opened.append(watched)
        slow(watched.page)
        if key is not None:
            watched.sign_in(key)
        return watched

    yield open_
    for watched in opened:
        watched.page.context.close()
        assert watched.wrong == []


@pytest.fixture
def page(open_console: Open) -> Page:
    """The admin's browser, on the list of tasks."""
    return open_console().page


def post(server: Server, path: str, body: dict[str, object]) -> dict[str, str]:
    """A POST of the admin's that must succeed."""
    asked = urllib.request.Request(
        server.url + path,
        json.dumps(body).encode(),
        {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(asked) as reply:
        return dict(json.load(reply))


@pytest.fixture(scope="module")
def tenant(server: Server) -> dict[str, str]:
    """A workspace with a key of its own."""
    workspace = post(server, "/v1/workspaces", {"name": "Tenant"})["id"]
    key = post(server, f"/v1/workspaces/{workspace}/keys", {"name": "k"})
    return {"workspace": workspace, "key": key["secret"], "key_id": key["id"]}
