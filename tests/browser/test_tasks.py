"""Tasks in the console: made, watched, cancelled, understood."""

import re
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from scripts.scenes import settle
from tests.browser.conftest import Open
from tests.browser.watched import until
from tests.server import Server, request

EVIL = "<img src=x onerror=\"document.title='owned'\">"


def create(page: Page, name: str, file: Path) -> None:
    page.get_by_role("button", name="Create Batch Task").click()
    dialogue = page.get_by_role("dialog", name="Create Batch Task")
    dialogue.get_by_label("Task name").fill(name)
    dialogue.get_by_label("Data file").set_input_files(file)
    dialogue.get_by_role("button", name="Create", exact=True).click()


def test_from_the_sample_file_to_its_bill(page: Page, server: Server, tmp_path: Path) -> None:
    """Download, create, watch it without reloading, and read a bill that is the API's, to the last digit."""
    with page.expect_download() as saved:
        page.get_by_role("button", name="Download sample file").first.click()
    sample = tmp_path / "sample.jsonl"
    saved.value.save_as(sample)
    create(page, "From the sample", sample)
    row = page.locator("tr[data-id]", has_text="From the sample")
    expect(row.locator(".pill")).to_have_text("Completed")
    task_id = row.get_attribute("data-id")
    assert (row.get_attribute("data-status"), row.get_attribute("data-completed")) == ("completed", "5")
    row.get_by_role("link", name="View Results").click()
    expect(page.locator("h1")).to_have_text("From the sample")
    batch = server.get(f"/v1/batches/{task_id}")
    charged = page.locator('[data-metric="amount"]').get_attribute("data-value")
    assert charged == batch["nightrate"]["amount"]
    lines = server.get(f"/v1/billing/charges?task_id={task_id}")["data"]
    for line in lines:
        cell = page.locator(f'[data-id="{line["charge_id"]}"] [data-field="amount"]')
        assert cell.get_attribute("data-value") == line["amount"]
    with page.expect_download() as result:
        page.get_by_role("link", name="Download result file").click()
    assert len(result.value.path().read_text().splitlines()) == 5


def test_a_refused_file_says_what_is_wrong_and_where(
    open_console: Open, server: Server, tmp_path: Path
) -> None:
    """On hover in the list, line by line on its page, and never as HTML."""
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(request(1, "good") + b"{nope\n" + request(1, "twice"))
    watched = open_console()
    create(watched.page, EVIL, bad)
    row = watched.page.locator("tr[data-id]", has_text=EVIL)
    expect(row.locator(".pill")).to_have_text("Failed")
    assert "line 2" in (row.locator(".pill").get_attribute("title") or "")
    row.get_by_role("link", name="View Errors").click()
    expect(watched.page.locator("h1")).to_have_text(EVIL)
    codes = watched.page.locator('[data-field="code"]')
    expect(codes).to_have_text(["invalid_json_line", "duplicate_custom_id"])
    expect(watched.page.locator('[data-field="line"]')).to_have_text(["2", "3"])
    watched.page.get_by_role("button", name="Show line 2").click()
    expect(watched.page.get_by_role("dialog", name="Line 2").locator("pre")).to_have_text("{nope")
    watched.page.keyboard.press("Escape")
    assert watched.page.locator("main img").count() == 0
    assert "owned" not in watched.page.title().removeprefix(EVIL)


def test_a_line_that_comes_late_is_not_read_as_another(page: Page, server: Server) -> None:
    """Who goes on to the next line before the first is there reads the next one."""
    task = server.wait(server.submit_lines([b"{first\n", b"{second\n"]))["id"]
    held: list[Route] = []
    page.route("**/read/tasks/*/lines/1", lambda route: held.append(route))
    page.goto(f"{server.url}/console/tasks/{task}")
    page.get_by_role("button", name="Show line 1").click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Show line 2").click()
    shown = page.locator("#line pre")
    expect(shown).to_have_text("{second")
    with page.expect_response("**/read/tasks/*/lines/1"):
        held.pop().continue_()
    page.wait_for_timeout(300)  # nothing tells that it was passed over
    expect(shown).to_have_text("{second")


def test_cancelling_asks_first(page: Page, server: Server) -> None:
    """Keep running changes nothing; Cancel Task stops it, and the list shows it without a reload."""
    task_id = server.submit(["@hang"] * 3, metadata={"ds_name": "To be cancelled"})
    row = page.locator(f'tr[data-id="{task_id}"]')
    row.get_by_role("button", name="Cancel Task").click()
    asked = page.get_by_role("alertdialog")
    asked.get_by_role("button", name="Keep running").click()
    expect(asked).to_be_hidden()
    assert server.get(f"/v1/batches/{task_id}")["status"] == "in_progress"
    row.get_by_role("button", name="Cancel Task").click()
    asked.get_by_role("button", name="Cancel Task").click()
    expect(row.locator(".pill")).to_have_text("Cancelling")


def test_filters_find_tasks(open_console: Open, server: Server) -> None:
    """By name, by id, by status; the address holds it all."""
    wanted = server.wait(server.submit(["hello"], metadata={"ds_name": "Needle in a haystack"}))["id"]
    server.wait(server.submit(["hello"], metadata={"ds_name": "Hay"}))
    watched = open_console()
    page = watched.page
    page.get_by_label("Search").press_sequentially("needle")
    expect(page.locator("tr[data-id]")).to_have_count(1)
    expect(page.get_by_label("Search")).to_have_value("needle")
    assert "search=needle" in page.url
    expect(watched.visit(f"?search={wanted}").locator("tr[data-id]")).to_have_count(1)
    expect(watched.visit(f"?search={wanted}&status=Failed").locator(".empty")).to_contain_text(
        "No task matches"
    )


def test_a_workspace_s_key_sees_its_own(open_console: Open, server: Server, tenant: dict[str, str]) -> None:
    """No foreign task in the list, by link or in the figures; no settings."""
    foreign = server.wait(server.submit(["hello"], metadata={"ds_name": "Somebody else's"}))["id"]
    own = server.wait(server.submit(["hello"], tenant["key"], metadata={"ds_name": "My own"}))["id"]
    watched = open_console(tenant["key"])
    page = watched.page
    expect(page.locator("tr[data-id]")).to_have_count(1)
    assert page.locator("tr[data-id]").get_attribute("data-id") == own
    assert page.get_by_role("link", name="Settings").count() == 0
    watched.page.goto(f"{server.url}/console/tasks/{foreign}")
    expect(watched.page.get_by_role("alert").first).to_contain_text("No such batch")
    page = watched.visit("observation?workspace=default")
    expect(page.get_by_role("alert").first).to_contain_text("No such workspace")
    expect(watched.visit("observation").locator('[data-metric="calls"]')).to_have_attribute("data-value", "1")
    page.goto(f"{server.url}/console/settings")
    expect(page.locator("h1")).to_have_text("Page not found")


def history_length(page: Page) -> int:
    length: int = page.evaluate("history.length")
    return length


def test_a_search_is_one_step_back(open_console: Open, server: Server) -> None:
    """However slowly it is typed; and Back with the field still in focus leads back, once."""
    server.wait(server.submit(["hello"], metadata={"ds_name": "Quicksilver"}))
    page = open_console().page
    page.get_by_label("Status").select_option("Completed")
    expect(page).to_have_url(re.compile("status=Completed$"))
    before, search = history_length(page), page.get_by_label("Search")
    for part in ("quick", "silver", " "):
        search.press_sequentially(part)
        expect(page).to_have_url(re.compile(f"search={search.input_value().strip()}$"))
        settle(page)
    expect(page).to_have_url(re.compile("search=quicksilver$"))
    expect(search).to_be_focused()
    assert history_length(page) == before + 1
    page.get_by_label("Workspace").select_option("default")
    expect(page).to_have_url(re.compile("workspace=default$"))
    settle(page)
    page.go_back()
    expect(page).to_have_url(re.compile("search=quicksilver$"))
    expect(page.get_by_label("Workspace")).to_have_value("")
    page.go_back()
    expect(search).to_have_value("")
    settle(page)
    assert "search" not in page.url
    assert history_length(page) == before + 2


def test_what_is_typed_while_an_answer_is_on_its_way_stays(open_console: Open, server: Server) -> None:
    """In the field, where one stands, and in the address afterwards."""
    page = open_console().page
    search = page.get_by_label("Search")
    held: list[Route] = []

    def hold(route: Route) -> None:
        if held or "search=slow" not in (route.request.post_data or ""):
            route.continue_()
        else:
            held.append(route)

    page.route("**/_dash-update-component*", hold)
    search.press_sequentially("slow")
    expect(page).to_have_url(re.compile("search=slow$"))
    until(page, lambda: bool(held))
    search.press_sequentially("ly", delay=100)
    held[0].continue_()
    search.press_sequentially(" typed", delay=100)
    expect(search).to_have_value("slowly typed")
    expect(page).to_have_url(re.compile("search=slowly\\+typed$"))
    expect(search).to_be_focused()
    expect(search).to_have_value("slowly typed")
