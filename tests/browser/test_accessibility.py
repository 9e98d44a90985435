"""axe-core finds no violation on any page or in any of its states; all of it works by keyboard and on a phone."""

import re
from collections.abc import Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from scripts.scenes import Scene, blank_scenes, found, open_scene, scenes
from tests.browser.conftest import PATIENCE_MS, Open
from tests.browser.watched import Watched
from tests.held import held
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

LOOKS = (("light", 1280), ("dark", 390))
GROUPS = {"tasks": 3, "task-": 5, "create": 4, "observation": 3, "monitor": 4, "billing": 3, "": 8}
"""Scenes by how their names begin, and how many there are at least; those that begin otherwise under no name."""


@pytest.fixture(scope="module")
def every(server: Server) -> Iterator[list[Scene]]:
    """All that a service can show: a task runs, one ended in part, one was refused, one was cancelled."""
    server.wait(server.submit(["hello", *["bad @status=400"] * 3], metadata={"ds_name": "For the eyes"}))
    server.wait(server.submit_lines([b"{nope\n"]))
    # More than are asked at once, so that neither comes to an end of its own while it is looked at.
    stopped, running = (server.submit(["quick", *["slow @latency=25"] * n]) for n in (30, 3000))
    for task in (stopped, running):
        server.until(lambda task=task: server.get(f"/v1/batches/{task}")["request_counts"]["completed"], bool)
    server.client().batches.cancel(stopped)
    server.wait(stopped)
    has = found(server.url, ADMIN_KEY)
    assert all((has.running, has.faulty, has.refused, has.stopped, has.models))
    yield scenes(has)
    server.client().batches.cancel(running)


def of_group(every: list[Scene], group: str) -> list[Scene]:
    def named(scene: Scene) -> str:
        return next((g for g in GROUPS if scene.name.startswith(g)), "")

    return [scene for scene in every if named(scene) == group]


def faults(page: Page) -> list[str]:
    """What axe-core finds, and whether the page is wider than its window."""
    found = Axe().run(page).response["violations"]
    told = [f"{v['id']}: {n['html'][:200]} {n['failureSummary']}" for v in found for n in v["nodes"]]
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    return [*told, *([f"{wide} px too wide"] if wide > 0 else [])]


def looked_at(
    chromium: Browser, url: str, look: tuple[str, int], wanted: list[Scene], key: str = ADMIN_KEY
) -> dict[str, list[str]]:
    """The faults of each scene."""
    theme, width = look
    told: dict[str, list[str]] = {}
    for signed_in in {scene.signed_in for scene in wanted}:
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        context.set_default_timeout(PATIENCE_MS)
        if signed_in:
            Watched(context.new_page(), url).sign_in(key)
        for scene in (scene for scene in wanted if scene.signed_in == signed_in):
            page = context.new_page()
            open_scene(page, url, scene)
            told[scene.name] = faults(page)
            page.close()
        context.close()
    return told


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def test_axe_finds_nothing(
    chromium: Browser, server: Server, every: list[Scene], look: tuple[str, int], group: str
) -> None:
    """On every page and in every state of it: dialogues, drill-down, nothing there, a failed section, no service."""
    told = looked_at(chromium, server.url, look, of_group(every, group))
    assert len(told) >= GROUPS[group]
    assert {name: found for name, found in told.items() if found} == {}


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: f"{look[0]}-{look[1]}")
def test_axe_finds_nothing_where_nothing_is(
    chromium: Browser, server: Server, tenant: dict[str, str], look: tuple[str, int]
) -> None:
    """A workspace that has not begun yet: each page says what is missing."""
    wanted = blank_scenes(found(server.url, tenant["key"]))
    told = looked_at(chromium, server.url, look, wanted, tenant["key"])
    assert {name: found for name, found in told.items() if found} == {}


def test_the_dialogue_works_by_keyboard(open_console: Open) -> None:
    """Enter opens it on its first field, Tab stays within, Escape closes it, and one stands where one stood."""
    page = open_console().page
    button = page.get_by_role("button", name="Create Batch Task")
    button.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Task name")).to_be_focused()
    where = "document.activeElement.closest('dialog') ? 'in' : document.activeElement === document.body ? 'browser' : 'out'"
    stood = set()
    for _ in range(25):
        page.keyboard.press("Tab")
        stood.add(page.evaluate(where))
    assert "in" in stood
    assert "out" not in stood
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(button).to_be_focused()


@pytest.fixture
def by_keyboard(server: Server, upstream: Upstream) -> Iterator[str]:
    """A task that runs until it is cancelled."""
    with held(upstream, "by keyboard"):
        yield server.submit(["by keyboard"], metadata={"ds_name": "By keyboard"})


def test_a_task_is_cancelled_by_keyboard(open_console: Open, server: Server, by_keyboard: str) -> None:
    """From the skip link to the row, the question stands on its mild answer, and the focus survives the live list."""
    task = by_keyboard
    page = open_console().page
    row = page.locator(f'tr[data-id="{task}"]')
    expect(row.locator(".pill")).to_have_text("Executing")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    at_it = "task => Boolean(document.activeElement.closest(`tr[data-id='${task}']`)) && document.activeElement.localName === 'button'"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(at_it, task):
            break
    page.keyboard.press("Enter")
    question = page.get_by_role("alertdialog")
    expect(question.get_by_role("button", name="Keep running")).to_be_focused()
    page.keyboard.press("Escape")
    expect(question).to_be_hidden()
    expect(row.get_by_role("button", name="Cancel Task")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(question.get_by_role("button", name="Cancel Task")).to_be_focused()
    page.keyboard.press("Enter")
    expect(row.locator(".pill")).to_have_text("Stopped")
    assert server.get(f"/v1/batches/{task}")["status"] == "cancelled"


def test_what_somebody_stands_on_stays_what_it_says(
    open_console: Open, server: Server, upstream: Upstream
) -> None:
    """Though buttons come and go beside it when the task ends."""
    with held(upstream, "stood on"):
        task = server.submit(["at once", "stood on"])
        page = open_console().visit(f"tasks/{task}")
        expect(page.locator(f'[data-id="{task}"]')).to_have_attribute("data-completed", "1")
        page.get_by_role("button", name="Clone").focus()
        expect(page.get_by_role("button", name="Partial results")).to_be_visible()
    expect(page.locator(f'[data-id="{task}"]')).to_have_attribute("data-status", "completed")
    expect(page.get_by_role("button", name="Partial results")).to_have_count(0)
    expect(page.get_by_role("button", name="Clone")).to_be_focused()


def test_filters_are_chosen_by_keyboard(open_console: Open) -> None:
    """A select is changed by its arrow keys, the link follows, and the focus stays on it."""
    page = open_console().visit("observation?from=now-24h")
    period = page.get_by_label("Period")
    period.focus()
    page.keyboard.press("ArrowDown")
    expect(page).to_have_url(re.compile("from=now-3d"))
    expect(period).to_be_focused()
    expect(period).to_have_value("now-3d")


def test_tables_are_sorted_and_scrolled_by_keyboard(open_console: Open, every: list[Scene]) -> None:
    """A title is a link, a table that scrolls takes the focus."""
    page = open_console(width=390).visit("observation?from=now-7d")
    page.get_by_role("link", name="Tokens").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("columnheader", name="Tokens")).to_have_attribute("aria-sort", "descending")
    table = page.get_by_role("group", name="All models")
    table.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("element => element.scrollLeft > 0", arg=table.element_handle())


@pytest.mark.parametrize(("wish", "moves"), [("reduce", False), ("no-preference", True)])
def test_less_motion_is_respected(chromium: Browser, server: Server, wish: str, moves: bool) -> None:
    """Nothing breathes, fades or glides where that is wished."""
    context = chromium.new_context(reduced_motion=wish)
    page = context.new_page()
    Watched(page, server.url).sign_in(ADMIN_KEY)
    breathes, fades, glides = page.evaluate(
        """() => {
          const block = document.createElement("div");
          block.className = "skeleton";
          document.body.append(block);
          const style = element => getComputedStyle(element), page = document.querySelector("#page");
          page.ariaBusy = "true";
          return [style(block).animationName !== "none", style(page).transitionDuration !== "0s",
                  style(document.documentElement).scrollBehavior === "smooth"];
        }"""
    )
    assert (breathes, fades, glides) == (moves,) * 3
    context.close()
