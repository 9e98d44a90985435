"""A service with much behind it: 10,000 tasks are found, and no answer grows with them."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.asked import answer, questions
from tests.browser.conftest import PATIENCE_MS
from tests.browser.crowded import REFUSED, TASKS, crowded
from tests.browser.signed import signed_in
from tests.browser.watched import Watched
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

MOST_BYTES = 100_000
ALL = TASKS + REFUSED
LAST = -(-ALL // 20)


@pytest.fixture(scope="module")
def crowd(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with crowded(tmp_path_factory.mktemp("crowd"), upstream.url) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def page(chromium: Browser, crowd: Server) -> Iterator[Page]:
    """The admin's browser on the list of tasks."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    watched = Watched(context.new_page(), crowd.url)
    watched.sign_in(ADMIN_KEY)
    yield watched.page
    context.close()
    assert watched.wrong == []


def test_no_answer_of_any_page_is_large(crowd: Server) -> None:
    """Below 100 kB each, unpacked, with long lists of everything."""
    session = signed_in(crowd, ADMIN_KEY)
    task = crowd.get("/v1/batches?limit=1&status=completed")["data"][0]["id"]
    refused = crowd.get("/v1/batches?limit=1&status=failed")["data"][0]["id"]
    pages = (
        "",
        f"?page={LAST}",
        f"tasks/{task}",
        f"tasks/{refused}",
        "observation?from=now-15d",
        "observation?from=now-15d&columns=all&open=model-3",
        "monitor/model-3?from=now-15d",
        "monitor/model-3?from=now-24h&precision=minute",
        "monitor/model-3?from=now-24h&precision=minute&table=calls",
        "billing",
        "billing?statement=ws_3:CNY",
        "billing?workspace=ws_3",
        "settings",
        "settings?workspace=ws_3",
        "nowhere",
    )
    sizes = {
        (path, key): len(answer(crowd, session, question))
        for path in pages
        for key, question in questions(path)
    }
    assert {asked: size for asked, size in sizes.items() if size >= MOST_BYTES} == {}
    listed = [sizes["billing", "billing-entries"], sizes[f"tasks/{task}", "calls"], sizes["", "tasks"]]
    assert min(listed) > MOST_BYTES / 4, "there is much to be shown"


def shown(page: Page) -> list[str]:
    """The ids of the tasks on the page."""
    ids: list[str] = page.locator("tr[data-id]").evaluate_all("rows => rows.map(row => row.dataset.id)")
    return ids


def test_ten_thousand_tasks_are_paged_searched_and_filtered(page: Page, crowd: Server) -> None:
    """First and last page, a name, an id, a status, a workspace; each is a link that a reload and Back lead to."""
    places = page.locator(".pages .note")
    expect(places).to_have_text(f"1–20 of {ALL:,}")
    newest = shown(page)
    assert newest == [task["id"] for task in crowd.get("/v1/batches?limit=20")["data"]]
    page.get_by_role("link", name="Older tasks").click()
    expect(places).to_have_text(f"21–40 of {ALL:,}")
    assert not set(shown(page)) & set(newest)
    page.goto(f"{crowd.url}/console/?page={LAST}")
    expect(places).to_have_text(f"{ALL - 19:,}–{ALL:,} of {ALL:,}")
    oldest = shown(page)
    assert len(oldest) == 20
    expect(page.get_by_role("link", name="Older tasks")).to_have_count(0)
    page.get_by_role("link", name="Newer tasks").click()
    expect(page).to_have_url(re.compile(f"page={LAST - 1}$"))
    page.go_back()
    expect(places).to_have_text(f"{ALL - 19:,}–{ALL:,} of {ALL:,}")
    page.reload()
    expect(places).to_have_text(f"{ALL - 19:,}–{ALL:,} of {ALL:,}")
    assert shown(page) == oldest
    search = page.get_by_label("Search task name or ID")
    search.press_sequentially(oldest[0][6:20])
    expect(page.locator("tr[data-id]")).to_have_count(1)
    assert (shown(page), "page=" in page.url) == ([oldest[0]], False)
    search.fill("run 1000")
    expect(page.locator("tr[data-id]")).to_have_count(2)  # 1000 and 10000
    search.fill("")
    expect(places).to_have_text(f"1–20 of {ALL:,}")
    page.get_by_label("Status").select_option("Failed")
    expect(places).to_have_text(f"1–20 of {REFUSED:,}")
    page.get_by_label("Workspace").select_option("ws_3")
    filtered = crowd.get("/v1/batches?limit=100&status=failed&workspace_id=ws_3")["data"]
    expect(places).to_have_text(f"1–20 of {len(filtered)}")
    assert shown(page) == [task["id"] for task in filtered[:20]]
    page.go_back()
    expect(places).to_have_text(f"1–20 of {REFUSED:,}")
    expect(page.get_by_label("Workspace")).to_have_value("")
    page.go_back()
    expect(places).to_have_text(f"1–20 of {ALL:,}")
    expect(page.get_by_label("Status")).to_have_value("")
