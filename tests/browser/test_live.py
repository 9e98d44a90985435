"""What a page does by itself: it follows what happens, and costs next to nothing while nothing does."""

import json
from contextlib import suppress

import pytest
from playwright.sync_api import Error, Page, Response, Route, expect

from scripts.scenes import settle
from tests.browser.asked import answer, look
from tests.browser.conftest import Open
from tests.browser.signed import signed_in
from tests.browser.watched import HIDE, stand_still, until
from tests.held import held
from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

MOST_BYTES = 100_000
SHORT_BYTES = 60
"""What says that nothing changed."""


def answers(page: Page) -> list[bytes]:
    """The bodies of a page's callbacks, from now on."""
    got: list[bytes] = []

    def note(answer: Response) -> None:
        if "_dash-update-component" in answer.url and answer.status == 200:
            with suppress(Error):  # the page was left before it was read
                got.append(answer.body())

    page.on("response", note)
    return got


@pytest.fixture(scope="module")
def ended(server: Server) -> str:
    """A task that ended, so that there is something to show."""
    return str(server.wait(server.submit([f"live {n}" for n in range(3)]))["id"])


def test_a_list_follows_a_task_to_its_end(open_console: Open, server: Server, upstream: Upstream) -> None:
    """Appears, goes on and ends without a reload."""
    page = open_console().page
    page.evaluate("window.still_here = true")
    with held(upstream, "followed"):
        task_id = server.submit(["quick", "followed"], metadata={"ds_name": "Followed"})
        row = page.locator(f'tr[data-id="{task_id}"]')
        expect(row.locator(".pill")).to_have_text("Executing")
    expect(row.locator(".pill")).to_have_text("Completed")
    expect(row.locator('[data-field="request_counts"]')).to_contain_text("2 / 2")
    assert page.evaluate("window.still_here")


def test_no_answer_is_large_and_an_idle_page_is_told_nothing(open_console: Open, ended: str) -> None:
    """Below 100 kB each; what looks again while nothing changed gets a few bytes."""
    page = open_console().page
    got = answers(page)
    for path in (
        "",
        f"tasks/{ended}",
        "observation?from=now-15d&columns=all",
        "monitor/m?from=now-24h&precision=minute",
        "settings",
    ):
        page.goto(page.url.partition("/console/")[0] + f"/console/{path}")
        page.wait_for_load_state("networkidle")
    assert max(map(len, got)) < MOST_BYTES
    page.get_by_role("link", name="Batch inference").click()
    expect(page.locator("h1")).to_have_text("Batch inference")
    page.wait_for_load_state("networkidle")
    got.clear()  # what another test left running may still end
    until(page, lambda: len(got) >= 2 and max(map(len, got[-2:])) < SHORT_BYTES)


def test_a_hidden_tab_asks_for_nothing(open_console: Open, ended: str) -> None:
    """Neither one that was left nor one that was opened behind; it looks at once when it is seen again."""
    page = open_console().page
    page.wait_for_load_state("networkidle")
    stand_still(page)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(3_000)
    assert asked == []
    page.evaluate(HIDE, False)
    until(page, lambda: bool(asked))


def test_a_step_that_comes_with_a_look_is_answered(server: Server, ended: str) -> None:
    """As one that comes alone, though nothing changed."""
    session, question = signed_in(server, ADMIN_KEY), look("settings")
    moment = json.loads(answer(server, session, question))["response"]["moment"]["data"]
    question["state"][0]["value"] = moment
    for together in (["redraw.data"], ["beat.data", "redraw.data"]):
        told = json.loads(answer(server, session, {**question, "changedPropIds": together}))
        assert told["response"]["moment"]["data"]["href"] == moment["href"]


def test_a_page_that_has_its_answer_is_read_at_once(open_console: Open, ended: str) -> None:
    """It fades while another view is long on its way, and is in full contrast the moment that this one is there."""
    page = open_console().visit("observation")
    page.wait_for_load_state("networkidle")
    page.evaluate(
        """() => new MutationObserver(([change]) => {
            if (!change.target.ariaBusy) window.read = getComputedStyle(change.target).opacity
        }).observe(document.querySelector("#page"), { attributes: true, attributeFilter: ["aria-busy"] })"""
    )
    page.route("**/_dash-update-component*", lambda _: None)
    page.get_by_label("Period").select_option("now-6h")
    expect(page.locator("#page")).to_have_css("opacity", "0.55")
    page.unroute("**/_dash-update-component*")  # lets go on what was held
    expect(page.locator("#page")).not_to_have_attribute("aria-busy", "true")
    assert page.evaluate("window.read") == "1"


def test_a_view_in_which_nothing_is_another_is_read_too(open_console: Open, ended: str) -> None:
    """No part of the page changes by the step, nor by itself later."""
    page = open_console().visit("settings")
    settle(page)
    stand_still(page)
    page.evaluate("nightrate.go('/console/settings?nothing=asks+for+this')")
    expect(page.locator("#page")).not_to_have_attribute("aria-busy", "true")


SLOW = """() => {
    const ask = window.fetch, shown = () => document.querySelector(".period").textContent, before = shown();
    window.fetch = async (...asked) => {
        const answer = await ask(...asked);
        await new Promise(done => setTimeout(done, 300));
        return answer;
    };
    new MutationObserver(([change]) => {
        if (!change.target.ariaBusy) window.told ??= shown() !== before
    }).observe(document.querySelector("#page"), { attributes: true, attributeFilter: ["aria-busy"] });
}"""


def test_a_page_is_busy_until_it_is_drawn(open_console: Open, ended: str) -> None:
    """On a machine that takes long between an answer and what is made of it, no old figure passes for a new one."""
    page = open_console().visit("observation")
    page.wait_for_load_state("networkidle")
    expect(page.locator(".period")).to_be_visible()
    page.evaluate(SLOW)
    page.get_by_label("Period").select_option("now-6h")
    expect(page.locator("#page")).to_have_attribute("aria-busy", "true")
    expect(page.locator("#page")).not_to_have_attribute("aria-busy", "true")
    assert page.evaluate("window.told")


def test_a_section_that_fails_leaves_the_rest(open_console: Open, ended: str) -> None:
    """The page stays, says that it may be old, and mends itself when the service answers again."""
    watched = open_console()
    page = watched.page
    broken = {"is": True}

    def route(route: Route) -> None:
        asks = route.request.post_data or ""
        if broken["is"] and '"key":"models"' in asks:
            route.fulfill(status=200, json={"multi": True, "response": {}})
        else:
            route.continue_()

    page.route("**/_dash-update-component*", route)
    page = watched.visit("observation")
    expect(page.locator('[data-metric="calls"]')).to_be_visible()
    expect(page.locator('[data-id="m"]')).to_have_count(0)
    broken["is"] = False
    page.get_by_label("Period").select_option("now-6h")
    expect(page.locator('[data-id="m"]')).to_be_visible()


def test_a_page_without_its_service_says_so(open_console: Open, ended: str) -> None:
    """What was there stays, under a line that it may be old; the line goes when the service is back."""
    watched = open_console()
    page = watched.page
    row = page.locator(f'tr[data-id="{ended}"]')
    expect(row).to_be_visible()
    page.route("**/_dash-update-component*", lambda route: route.fulfill(status=503))
    expect(page.locator("#stale")).to_be_visible()
    expect(row).to_be_visible()
    page.unroute("**/_dash-update-component*")
    expect(page.locator("#stale")).to_be_hidden()
    assert watched.wrong
    watched.wrong.clear()  # that it did not answer was the point
