"""axe-core finds no violation on any page, in either theme; the dialogue and the tables work by keyboard."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.server import Server

PAGES = ("", "observation?from=now-7d", "monitor/m?from=now-6h", "billing", "settings", "nowhere")


@pytest.fixture(scope="module")
def ended(server: Server) -> str:
    """A task that ended in part, so that every part of the pages is there."""
    task = server.submit(["hello", "bad @status=400"], metadata={"ds_name": "For the eyes"})
    return str(server.wait(task)["id"])


def violations(page: Page) -> list[str]:
    found = Axe().run(page).response["violations"]
    return [f"{v['id']}: {node['html'][:200]} {node['failureSummary']}" for v in found for node in v["nodes"]]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(open_console: Open, ended: str, theme: str) -> None:
    """On every page, in the dialogue, and on the login page."""
    watched = open_console(theme=theme)
    for path in (*PAGES, f"tasks/{ended}"):
        page = watched.visit(path)
        expect(page.locator("#page .skeleton")).to_have_count(0)
        page.wait_for_load_state("networkidle")
        assert violations(page) == [], path
    page = watched.visit("")
    page.get_by_role("button", name="Create Batch Task").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("API key")).to_be_visible()
    assert violations(page) == []


def test_the_dialogue_works_by_keyboard(open_console: Open) -> None:
    """Enter opens it on its first field, Escape closes it, and one stands where one stood."""
    page = open_console().page
    button = page.get_by_role("button", name="Create Batch Task")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Task name")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


def test_tables_are_sorted_and_scrolled_by_keyboard(open_console: Open, ended: str) -> None:
    """A title is a link, a table that scrolls takes the focus."""
    page = open_console(width=390).visit("observation?from=now-7d")
    page.get_by_role("link", name="Tokens").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Tokens")).to_have_attribute("aria-sort", "descending")
    table = page.get_by_role("group", name="All models")
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("element => element.scrollLeft > 0", arg=table.element_handle())
