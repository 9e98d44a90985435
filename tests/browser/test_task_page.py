"""One task's page: what it says while the task runs, what came of it, and what can be done about it."""

import json
import re

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.outages import begin, end
from tests.server import Server
from tests.upstream import Upstream


def test_what_failed_is_explained_and_run_again(open_console: Open, server: Server) -> None:
    """Grouped with examples; a retry asks the failed ones alone, and its page leads back."""
    prompts = ["fine", "no @status=400", "neither @status=400", "gone @status=404"]
    task_id = server.wait(server.submit(prompts, metadata={"ds_name": "Partly failed"}))["id"]
    page = open_console().visit(f"tasks/{task_id}")
    failed = page.get_by_role("region", name="Failed calls", exact=True).first
    expect(failed.locator('[data-field="status_code"]')).to_have_text(["400", "404"])
    expect(failed.locator('[data-field="calls"]')).to_have_text(["2", "1"])
    expect(failed.locator('[data-field="examples"]').first).to_contain_text("r2 scripted 400")
    page.get_by_role("button", name="Retry failed").click()
    asked = page.get_by_role("alertdialog")
    expect(asked).to_contain_text("3 requests")
    asked.get_by_role("button", name="Retry failed").click()
    expect(page).not_to_have_url(re.compile(task_id))
    retry_id = page.url.rpartition("/")[2]
    expect(page.locator(f'[data-id="{retry_id}"]')).to_have_attribute("data-total", "3")
    assert server.get(f"/v1/batches/{retry_id}")["nightrate"]["retry_of"] == task_id
    page.get_by_role("link", name=task_id).click()
    expect(page.locator("h1")).to_have_text("Partly failed")


def test_nothing_is_offered_where_nothing_is_left(open_console: Open, server: Server) -> None:
    """No retry of a task that succeeded; its durations are a chart, a table and a file."""
    task_id = server.wait(server.submit([f"hello {n}" for n in range(5)]))["id"]
    page = open_console().visit(f"tasks/{task_id}")
    chart = page.get_by_role("region", name="Call duration", exact=True)
    expect(chart.locator(".js-plotly-plot")).to_be_visible()
    expect(page.get_by_role("button", name="Retry failed")).to_have_count(0)
    expect(page.get_by_role("button", name="Partial results")).to_have_count(0)
    chart.get_by_role("link", name="Table").click()
    expect(chart.get_by_role("link", name="Chart")).to_be_visible()
    calls = chart.locator("tbody td:last-child").all_inner_texts()
    assert sum(map(int, calls)) == 5
    with page.expect_download() as saved:
        chart.get_by_role("link", name="CSV").click()
    assert saved.value.path().read_text().splitlines()[0] == "From ms,To ms,Calls"


def test_results_can_be_had_while_a_task_runs(open_console: Open, server: Server) -> None:
    """Whole lines only, as many as are done; and how fast it goes."""
    prompts = [*[f"quick {n}" for n in range(20)], "no @status=400", "@hang"]
    task_id = server.submit(prompts, metadata={"ds_name": "Still runs"})
    page = open_console().visit(f"tasks/{task_id}")
    here = page.locator(f'[data-id="{task_id}"]')
    expect(here).to_have_attribute("data-completed", "20")
    failed = page.get_by_role("region", name="Failed calls so far")
    expect(failed.locator('[data-field="examples"]')).to_contain_text("r21 scripted 400")
    expect(page.locator('[data-metric="requests_per_second"]')).to_be_visible()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Partial results").click()
    lines = saved.value.path().read_text().splitlines()
    assert sorted(json.loads(line)["custom_id"] for line in lines) == sorted(f"r{n}" for n in range(1, 21))
    server.client().batches.cancel(task_id)


def test_who_was_told_of_the_end(open_console: Open, server: Server) -> None:
    """Of an address only the host is shown, with what came of it and when it is tried again."""
    callback = {"ds_batch_finish_callback": "http://127.0.0.1:9/hook?token=secret"}
    task_id = server.wait(server.submit(["a"], metadata=callback))["id"]
    page = open_console().visit(f"tasks/{task_id}")
    facts = page.get_by_role("region", name="Facts")
    expect(facts).to_contain_text("127.0.0.1 is not a public address; the operator may allow its network")
    expect(facts).to_contain_text(re.compile(r"\d attempts?, the next \d+ \w+ 20\d\d, \d\d:\d\d:\d\d"))
    assert "hook?" not in page.content()


def test_an_outage_is_told_where_the_task_is(open_console: Open, server: Server, upstream: Upstream) -> None:
    """On its page with whom it waits for, in the list, and in Settings; all of it goes when the upstream is back."""
    begin(upstream, "answers 500")
    try:
        task_id = server.submit(["one", "two"], metadata={"ds_name": "Waits for its upstream"})
        page = open_console().visit(f"tasks/{task_id}")
        banner = page.get_by_role("note").filter(has_text="Waits: outage")
        expect(banner).to_contain_text(upstream.url)
        lists = open_console().visit("")
        expect(lists.locator(f'tr[data-id="{task_id}"]')).to_contain_text("waits: outage")
        settings = open_console().visit("settings")
        expect(settings.get_by_role("row").filter(has_text=upstream.url)).to_contain_text("Outage")
    finally:
        end(upstream)
    expect(banner).to_have_count(0)
    expect(page.locator(f'[data-id="{task_id}"]').first).to_have_attribute("data-status", "completed")
