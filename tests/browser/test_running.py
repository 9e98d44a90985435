"""A running task in the list and on its page: how fast it goes, when it ends, why it waits."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.server import Server
from tests.upstream import Upstream


def test_a_running_task_tells_its_pace(open_console: Open, server: Server) -> None:
    """Processed of total with a bar, requests a second, and when it ends if that goes on; its page the same."""
    task = server.submit([f"number {n} @latency=0.5" for n in range(1, 5001)])
    page = open_console().page
    row = page.locator(f'tr[data-id="{task}"]')
    cell = row.locator('[data-field="request_counts"]')
    expect(cell).to_contain_text(re.compile(r"\d+ / 5,000"))
    expect(cell).to_contain_text(re.compile(r"[\d.]+/s · ends about \d\d:\d\d"))
    bar = cell.get_by_role("progressbar")
    assert 0 < int(bar.get_attribute("aria-valuenow") or "") < 5000
    before = int(row.get_attribute("data-completed") or "")
    expect(row).not_to_have_attribute("data-completed", str(before))
    row.locator(".name a").click()
    expect(page.locator('[data-metric="requests_per_second"]')).to_be_visible()
    expect(page.locator('[data-metric="estimated_end_at"]')).to_have_text(re.compile(r"\d\d:\d\d"))
    server.client().batches.cancel(task)


def test_why_a_task_waits_is_said(open_console: Open, server: Server, upstream: Upstream) -> None:
    """In the list and on its page, since when, and what happens next; it goes on when the upstream is back."""
    server.wait(server.submit(["before"]))
    upstream.stop()
    try:
        task = server.submit(["waits"])
        page = open_console().page
        row = page.locator(f'tr[data-id="{task}"]')
        expect(row).to_contain_text(re.compile(r"waits: outage since \d\d:\d\d"))
        page = open_console().visit(f"tasks/{task}")
        note = page.get_by_role("note")
        expect(note).to_contain_text("Waits: outage")
        expect(note).to_contain_text("It is probed until it does; nothing counts as failed meanwhile.")
    finally:
        upstream.start()
    expect(page.locator(f'[data-id="{task}"]')).to_have_attribute("data-completed", "1")
    expect(note).to_have_count(0)
