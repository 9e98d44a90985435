"""What keeps the console to those who may use it: cookie, other sites, the policy of its pages, users' texts as text."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import Open, post
from tests.browser.signed import signed_in
from tests.browser.watched import Watched
from tests.server import ADMIN_KEY, Server, request
from tests.upstream import Upstream

EVIL = "<img src=x onerror=window.owned=1>"
POLICY_BROKEN = """
window.broken = [];
addEventListener("securitypolicyviolation", event => window.broken.push(event.violatedDirective + " " + event.blockedURI));
"""


def cookie_of(server: Server, **headers: str) -> str:
    """What a browser is told to keep when it signs in."""
    reply = requests.post(
        f"{server.url}/console/login",
        {"api_key": ADMIN_KEY},
        headers=headers,
        allow_redirects=False,
        timeout=30,
    )
    assert reply.status_code == 303
    return reply.headers["set-cookie"]


def try_to_guess(server: Server, address: str, key: str = "sk-nr-guess") -> int:
    """The status of a login by way of a proxy that tells the browser's address."""
    return requests.post(
        f"{server.url}/console/login",
        {"api_key": key},
        headers={"X-Forwarded-For": address},
        allow_redirects=False,
        timeout=30,
    ).status_code


@pytest.fixture(scope="module")
def strict(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A service that is public by https and believes no proxy."""
    told = {
        "NIGHTRATE_SERVER__PUBLIC_URL": "https://batch.example",
        "NIGHTRATE_SERVER__TRUSTED_PROXIES": "[]",
    }
    with Server(tmp_path_factory.mktemp("strict"), upstream.url, environment=told) as server:
        yield server


# -- the session's cookie and the login ------------------------------------------------------------


def test_no_script_and_no_other_site_gets_the_cookie(server: Server) -> None:
    """And only the console's own paths."""
    parts = cookie_of(server).split("; ")
    assert {"HttpOnly", "SameSite=Lax", "Path=/console"} <= set(parts)
    assert "Secure" not in parts  # without TLS it would not come back
    assert ADMIN_KEY not in parts[0]


def test_behind_tls_the_cookie_is_for_tls_alone(server: Server, strict: Server) -> None:
    """Told by a proxy that may tell it, or by the public address."""
    assert "Secure" in cookie_of(server, **{"X-Forwarded-Proto": "https"}).split("; ")
    assert "Secure" in cookie_of(strict).split("; ")


def test_guesses_are_counted_by_the_browser_behind_a_proxy(server: Server) -> None:
    """Who guesses has to wait, with the right key too; others behind the same proxy don't."""
    assert [try_to_guess(server, "203.0.113.7") for _ in range(11)] == [401] * 10 + [429]
    assert try_to_guess(server, "203.0.113.7", ADMIN_KEY) == 429
    assert try_to_guess(server, "203.0.113.8", ADMIN_KEY) == 303
    # A proxy adds what it saw to what it was told: the last that is no proxy counts.
    assert try_to_guess(server, "198.51.100.1, 203.0.113.7", ADMIN_KEY) == 429


def test_of_ipv6_a_customer_s_network_is_counted(server: Server) -> None:
    """Who has one has billions of addresses."""
    assert [try_to_guess(server, f"2001:db8:1:2::{n:x}") for n in range(11)] == [401] * 10 + [429]
    assert try_to_guess(server, "2001:db8:1:3::1", ADMIN_KEY) == 303


def test_who_is_no_trusted_proxy_can_not_say_who_it_is(strict: Server) -> None:
    """Another address each time helps nothing."""
    assert [try_to_guess(strict, f"203.0.113.{n}") for n in range(11)] == [401] * 10 + [429]


def test_a_key_of_one_s_own_does_not_buy_more_guesses(server: Server, tenant: dict[str, str]) -> None:
    """A login that succeeds takes back no failure."""
    for _ in range(2):
        assert [try_to_guess(server, "203.0.113.9") for _ in range(5)] == [401] * 5
        try_to_guess(server, "203.0.113.9", tenant["key"])
    assert try_to_guess(server, "203.0.113.9") == 429


# -- other sites -----------------------------------------------------------------------------------

CHANGES = (
    "/login",
    "/logout",
    "/_dash-update-component",
    "/do/workspaces",
    "/do/tasks",
    "/do/check",
    "/do/preview",
)
FOREIGN = (
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.test"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.test"},
    {"Origin": "null"},
)


@pytest.mark.parametrize("headers", FOREIGN)
def test_another_site_s_posts_are_refused(server: Server, headers: dict[str, str]) -> None:
    """With the cookie too, which a browser would not even send."""
    session = signed_in(server, ADMIN_KEY)
    for path in CHANGES:
        reply = session.post(f"{server.url}/console{path}", json={"name": "x"}, headers=headers, timeout=30)
        assert reply.status_code == 403, path
    assert session.get(f"{server.url}/console/_dash-layout", timeout=30).status_code == 200


ATTACK = """
<form method="post" action="{url}/console/logout"><button>Win a prize</button></form>
<script>
  window.done = Promise.all(["/_dash-update-component", "/do/workspaces"].map(path =>
    fetch("{url}/console" + path, {{ method: "POST", mode: "no-cors", credentials: "include", body: '{{"name": "stolen"}}' }}).catch(() => 0)));
</script>
"""


def test_a_page_of_another_site_can_do_nothing_in_a_session(chromium: Browser, server: Server) -> None:
    """A real browser with a session there: what it sends changes nothing, a form logs nobody out."""
    context = chromium.new_context()
    watched = Watched(context.new_page(), server.url)
    watched.sign_in(ADMIN_KEY)
    before = len(server.get("/v1/workspaces")["data"])

    def attack(route: Route) -> None:
        route.fulfill(content_type="text/html", body=ATTACK.format(url=server.url))

    context.route("http://evil.test/", attack)
    page = context.new_page()
    page.goto("http://evil.test/")
    page.evaluate("window.done")
    with page.expect_navigation() as gone:
        page.get_by_role("button", name="Win a prize").click()
    assert gone.value.status == 403
    assert len(server.get("/v1/workspaces")["data"]) == before
    expect(watched.visit("settings").locator("h1")).to_have_text("Settings")
    context.close()


# -- users' texts, and what a page may run ----------------------------------------------------------


@pytest.fixture(scope="module")
def marked(server: Server) -> dict[str, str]:
    """A workspace in which every text that a user can choose is a picture that runs a script."""
    workspace = post(server, "/v1/workspaces", {"name": EVIL})["id"]
    key = post(server, f"/v1/workspaces/{workspace}/keys", {"name": EVIL})
    client = server.client(key["secret"])
    lines = b"".join(
        request(n, prompt).replace(f'"r{n}"'.encode(), f'"{EVIL} {n}"'.encode())
        for n, prompt in enumerate([EVIL, f"{EVIL} @status=400 @says"], 1)
    )
    made = {"ds_name": EVIL, "ds_description": EVIL, EVIL: EVIL}
    tasks = {}
    for name, content in (("ended", lines), ("refused", lines + f"{{{EVIL}\n".encode())):
        file = client.files.create(file=(f"{EVIL}.jsonl", content), purpose="batch")
        batch = client.batches.create(
            input_file_id=file.id,
            endpoint="/v1/chat/completions",
            completion_window="24h",
            metadata=made,
        )
        tasks[name] = batch.id
        server.wait(batch.id)
    return {"workspace": workspace, "key": key["secret"], **tasks}


def seen(page: Page) -> None:
    """Waits until all of the page is there, and holds that no text of it became more than a text."""
    page.wait_for_load_state("networkidle")
    expect(page.locator("#page .skeleton")).to_have_count(0)
    assert page.locator('img[src="x"]').count() == 0
    assert page.evaluate("window.owned") is None
    assert page.evaluate("window.broken") == []


def test_no_text_of_a_user_is_ever_html(open_console: Open, server: Server, marked: dict[str, str]) -> None:
    """Names of workspaces, keys, tasks and files, custom ids, errors of a model: each is read as it was written."""
    watched = open_console()
    watched.page.context.add_init_script(POLICY_BROKEN)
    space, ended, refused = marked["workspace"], marked["ended"], marked["refused"]
    shows = {
        "": f'tr[data-id="{ended}"] [data-field="name"], tr[data-id="{ended}"] [data-field="model"]',
        f"?search={quote(EVIL)}": f'tr[data-id="{refused}"] [data-field="name"]',
        f"?workspace={space}": f'tr[data-id="{ended}"] [data-field="model"]',
        f"tasks/{ended}": (
            "h1, .of-facts dd, [data-field=custom_id], [data-field=examples], [data-field=error_code]"
        ),
        f"tasks/{refused}": "h1",
        "observation?from=now-1h": "select[name=workspace]",
        f"monitor/m?from=now-1h&workspace={space}": "[data-field=error_code]",
        "billing": "[data-field=workspace_id], [data-field=api_key_id]",
        f"billing?workspace={space}": "[data-field=workspace_id], [data-field=api_key_id]",
        f"settings?workspace={space}": f'tr[data-id="{space}"] [data-field="name"], h2',
    }
    for path, selector in shows.items():
        page = watched.visit(path)
        seen(page)
        for one in selector.split(", "):
            expect(page.locator(one).filter(has_text=EVIL).first, path).to_be_attached()
    page = watched.visit(f"tasks/{ended}")
    page.get_by_role("button", name="Answer to line 2").click()
    expect(page.locator("#line pre")).to_contain_text(EVIL)
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Clone").click()
    opened = page.get_by_role("dialog", name="Clone task")
    expect(opened.get_by_label("Task name")).to_have_value(EVIL + " (copy)")
    expect(opened).to_contain_text(f"{EVIL}.jsonl")
    seen(page)
    paper = watched.page.context.new_page()
    paper.goto(f"{server.url}/console/print/statements?period={month_of(server, space)}&workspace={space}")
    expect(paper.locator("section")).to_contain_text(EVIL)
    assert paper.locator("img").count() == 0
    paper.close()


def month_of(server: Server, workspace: str) -> str:
    """The month in which it was charged."""
    return str(server.get(f"/v1/billing/charges?workspace_id={workspace}")["data"][0]["period"])


def test_the_dialogues_show_texts_as_texts(
    open_console: Open, marked: dict[str, str], tmp_path: Path
) -> None:
    """A file's name, its faults, the cells of a table, and the question before a task is cancelled."""
    watched = open_console(marked["key"])
    watched.page.context.add_init_script(POLICY_BROKEN)
    page = watched.visit("")
    expect(page.locator(".foot")).to_contain_text(EVIL)
    bad, table = tmp_path / f"{EVIL}.jsonl", tmp_path / f"{EVIL}.csv"
    bad.write_text(EVIL)
    table.write_text(f"key,{EVIL}\n1,{EVIL}\n")
    page.get_by_role("button", name="Create Batch Task").click()
    opened = page.get_by_role("dialog", name="Create Batch Task")
    opened.get_by_label("Data file").set_input_files(bad)
    expect(opened.locator("[data-chosen]")).to_contain_text(EVIL)
    opened.get_by_role("button", name="Check").click()
    expect(opened.get_by_role("status").locator("code").first).to_have_text(EVIL)
    opened.get_by_label("Data file").set_input_files(table)
    expect(opened.locator("[data-preview]")).to_contain_text(EVIL)
    seen(page)


def test_every_page_keeps_a_strict_policy(open_console: Open, server: Server, marked: dict[str, str]) -> None:
    """Scripts of this host alone, none within a page, none made of a text; and no chart needs more."""
    watched = open_console()
    watched.page.context.add_init_script(POLICY_BROKEN)
    page = watched.page
    policies: dict[str, str] = {}
    page.on("response", lambda r: policies.update({r.url: r.headers.get("content-security-policy", "")}))
    for path in (f"tasks/{marked['ended']}", "monitor/m?from=now-6h&precision=minute", "billing"):
        page = watched.visit(path)
        seen(page)
        for plot in page.locator("[role=img]").all():
            plot.scroll_into_view_if_needed()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("window.broken") == [], path
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert page.evaluate("window.broken") == []
    for path in (
        "",
        "tasks/none",
        "observation",
        "settings",
        "nowhere",
        "download/files/none",
        "print/statements",
    ):
        reply = signed_in(server, ADMIN_KEY).get(f"{server.url}/console/{path}", timeout=30)
        policies[path] = reply.headers["content-security-policy"]
    assert len(policies) > 20
    for url, policy in policies.items():
        rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
        assert rules["default-src"] == "'none'", url
        assert re.fullmatch(r"'self'( 'sha256-[A-Za-z0-9+/=]+')*", rules["script-src"]), url
        assert (rules["connect-src"], rules["base-uri"], rules["frame-ancestors"]) == (
            "'self'",
            "'none'",
            "'none'",
        )
