"""The Billing page: the statement is the API's, every export can be had, a budget gives notice."""

import json
import urllib.request
from datetime import UTC, datetime

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.server import ADMIN_KEY, Server


def patch_default(server: Server, **changes: object) -> None:
    """Sets fields of the default workspace."""
    request = urllib.request.Request(
        f"{server.url}/v1/workspaces/default",
        json.dumps(changes).encode(),
        {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"},
        method="PATCH",
    )
    urllib.request.urlopen(request, timeout=10).close()


@pytest.fixture(scope="module")
def period(server: Server) -> str:
    """The month in which a task was charged."""
    server.wait(server.submit([f"{n} @in=900000 @out=1000" for n in range(3)]))
    return f"{datetime.now(UTC):%Y-%m}"


def test_the_statement_is_the_api_s(open_console: Open, server: Server, period: str) -> None:
    """Its exact amount, rounding and payable stand on the page, and that it is a draft."""
    (one,) = server.get(f"/v1/billing/statements?period={period}&workspace_id=default")["data"]
    page = open_console().visit("billing")
    row = page.locator('[data-id="statement default USD"]')
    expect(row).to_contain_text("Draft")
    for field in ("exact_amount", "rounding", "payable"):
        assert row.locator(f'[data-field="{field}"]').get_attribute("data-value") == one[field]


def test_every_export_can_be_downloaded(open_console: Open, period: str) -> None:
    """Each link of the panel gives a file of the shown month."""
    page = open_console().visit(f"billing?month={period}")
    links = page.get_by_role("region", name="Exports").get_by_role("link")
    expect(links.first).to_be_visible()
    hrefs = links.evaluate_all("links => links.map(link => link.href)")
    assert len(hrefs) == 19
    for href in hrefs:
        answer = page.request.get(href)
        assert (answer.status, bool(answer.headers["x-nightrate-sha256"])) == (200, True), href


def test_a_budget_that_is_nearly_used_gives_notice(open_console: Open, server: Server, period: str) -> None:
    """From 80 % on the page says so; without a budget it says nothing."""
    watched = open_console()
    charged = float(
        server.get(f"/v1/billing/summary?period={period}&group_by=workspace")["data"][0]["amount"]
    )
    patch_default(server, budget=f"{charged * 1.1:.6f}")
    try:
        page = watched.visit("billing")
        expect(page.locator(".banner[role=note]")).to_contain_text("budget")
    finally:
        patch_default(server, budget=None)
    page = watched.visit("billing")
    expect(page.get_by_role("region", name="Ledger")).to_be_visible()
    expect(page.locator(".banner[role=note]")).to_have_count(0)
