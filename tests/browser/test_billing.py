"""The Billing page: the statement is the API's, every export can be had, a budget gives notice."""

import json
import re
import urllib.request
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, post
from tests.server import ADMIN_KEY, Server


@dataclass(frozen=True)
class Billed:
    """A workspace in which no other test's task ends while its figures are compared, and the month of its charges."""

    workspace: str
    period: str

    @property
    def asked(self) -> str:
        return f"period={self.period}&workspace_id={self.workspace}"

    @property
    def page(self) -> str:
        return f"billing?month={self.period}&workspace={self.workspace}"


@pytest.fixture(scope="module")
def billed(server: Server) -> Billed:
    """Two keys of it were charged."""
    workspace = post(server, "/v1/workspaces", {"name": "Billed"})["id"]
    for name in ("one", "two"):
        key = post(server, f"/v1/workspaces/{workspace}/keys", {"name": name})["secret"]
        server.wait(server.submit([f"{n} @in=900000 @out=1000" for n in range(3)], key))
    charges = server.get(f"/v1/billing/charges?workspace_id={workspace}")["data"]
    return Billed(workspace, charges[0]["period"])


def test_the_statement_is_the_api_s(open_console: Open, server: Server, billed: Billed) -> None:
    """Its exact amount, rounding and payable stand on the page, and that it is a draft."""
    (one,) = server.get(f"/v1/billing/statements?{billed.asked}")["data"]
    page = open_console().visit(f"billing?month={billed.period}")
    row = page.locator(f'[data-id="statement {billed.workspace} USD"]')
    expect(row).to_contain_text("Draft")
    for field in ("exact_amount", "rounding", "payable"):
        assert row.locator(f'[data-field="{field}"]').get_attribute("data-value") == one[field]


def test_a_statement_is_followed_to_its_charges(open_console: Open, server: Server, billed: Billed) -> None:
    """The line, the entries that it sums and their sum have the same figures; each entry leads to its task."""
    page = open_console().visit(billed.page)
    lines = page.get_by_role("region", name="Lines of the draft")
    line = lines.locator("tr[data-id]").first
    figures = {
        name: line.locator(f'[data-field="{name}"]').get_attribute("data-value")
        for name in ("quantity", "list_amount", "discount_amount", "amount")
    }
    line.get_by_role("link", name="Charges of line 1").click()
    ledger = page.get_by_role("region", name="Ledger")
    expect(ledger).to_contain_text("only of the line")
    total = ledger.locator('[data-id="sum USD"]')
    for name, value in figures.items():
        expect(total.locator(f'[data-field="{name}"]')).to_have_attribute("data-value", str(value))
    charge_ids = ledger.locator('[data-id^="chg_"]').evaluate_all("rows => rows.map(row => row.dataset.id)")
    over_http = server.get(f"/v1/billing/charges?{billed.asked}&limit=1000")["data"]
    listed = {row["charge_id"]: row for row in over_http}
    assert sum(listed[one]["quantity"] for one in charge_ids) == int(str(figures["quantity"]))
    ledger.locator("a").filter(has_text="batch_").first.click()
    follow_to_the_result(page, server)


def follow_to_the_result(page: Page, server: Server) -> None:
    """From a task's bill to the calls that an entry counts, and to the line of the result file."""
    entry = page.get_by_role("region", name="Bill").locator('[data-id^="chg_"]').first
    quantity = entry.locator('[data-field="quantity"]').get_attribute("data-value")
    sku = str(entry.locator('[data-field="sku"]').get_attribute("data-value"))
    entry.get_by_role("link", name="Calls").click()
    calls = page.get_by_role("region", name="Calls", exact=True).first
    expect(calls).to_contain_text("only those of tier")
    total = calls.locator(f'[data-id="sum of calls"] [data-field="{sku}"]')
    expect(total).to_have_attribute("data-value", str(quantity))
    call = calls.locator('[data-outcome="succeeded"]').first
    tokens = int(str(call.locator(f'[data-field="{sku}"]').get_attribute("data-value")))
    task_id, _, line_no = str(call.get_attribute("data-id")).partition(":")
    call.get_by_role("button", name=f"Answer to line {line_no}").click()
    dialog = page.locator("#line")
    expect(dialog.get_by_role("heading")).to_contain_text("of the result file")
    line = json.loads(dialog.locator("pre").inner_text())
    usage = {"input_tokens": "prompt_tokens", "output_tokens": "completion_tokens"}[sku]
    assert line["response"]["body"]["usage"][usage] == tokens
    number = int(re.findall(r"line (\d+) of", dialog.get_by_role("heading").inner_text())[0])
    output = server.get(f"/v1/batches/{task_id}")["output_file_id"]
    assert json.loads(server.get_bytes(f"/v1/files/{output}/content").splitlines()[number - 1]) == line
    dialog.get_by_role("button", name="Close").click()
    call.get_by_role("button", name=f"Request of line {line_no}").click()
    expect(dialog.locator("pre")).to_contain_text(line["custom_id"])
    dialog.get_by_role("button", name="Close").click()


def test_spend_by_key_adds_up(open_console: Open, server: Server, billed: Billed) -> None:
    """The keys' amounts are the API's; list price, charged and saved stand beside each other as picture and table."""
    rows = server.get(f"/v1/billing/summary?{billed.asked}&group_by=workspace,api_key")["data"]
    assert len(rows) == 2
    page = open_console().visit(billed.page)
    shown = page.get_by_role("region", name="By API key").locator("tr[data-id]")
    expect(shown).to_have_count(len(rows))
    amounts = shown.locator('[data-field="amount"]').evaluate_all("cells => cells.map(c => c.dataset.value)")
    assert sorted(amounts) == sorted(row["amount"] for row in rows)
    picture = page.get_by_role("region", name="Charged and saved per day")
    expect(picture.locator("[role=img]")).to_have_attribute("aria-label", re.compile("saved between 0 and"))
    picture.get_by_role("link", name="Table: Charged and saved per day").click()
    head = page.get_by_role("region", name="Charged and saved per day").locator("th")
    expect(head).to_have_text(["Day", "Real-time price", "Charged", "Saved"])


def test_the_statement_can_be_printed(open_console: Open, server: Server, billed: Billed) -> None:
    """As a page of its own, the same as over HTTP."""
    page = open_console().visit(billed.page)
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Print statement").click()
    paper = opened.value
    expect(paper.get_by_role("heading")).to_have_text("Statement draft")
    assert paper.locator("script, link, img").count() == 0
    path = f"/v1/billing/statements?{billed.asked}&format=html"
    assert server.get(path).count("<section>") == paper.locator("section").count() == 1
    paper.emulate_media(media="print")
    paper.set_viewport_size({"width": 703, "height": 900})  # A4 between its margins
    assert paper.locator("table").evaluate("table => table.getBoundingClientRect().right") <= 703
    paper.close()


def test_every_export_can_be_downloaded(open_console: Open, billed: Billed) -> None:
    """Each link of the panel gives a file of the shown month."""
    page = open_console().visit(f"billing?month={billed.period}")
    links = page.get_by_role("region", name="Exports").get_by_role("link")
    expect(links.first).to_be_visible()
    hrefs = links.evaluate_all("links => links.map(link => link.href)")
    assert len(hrefs) == 19
    for href in hrefs:
        answer = page.request.get(href)
        assert (answer.status, bool(answer.headers["x-nightrate-sha256"])) == (200, True), href


def test_a_budget_that_is_nearly_used_gives_notice(
    open_console: Open, server: Server, billed: Billed
) -> None:
    """From 80 % on the page says so; without a budget it says nothing."""
    watched = open_console()
    (total,) = server.get(f"/v1/billing/summary?{billed.asked}")["totals"]
    patch(server, billed.workspace, budget=f"{float(total['amount']) * 1.1:.6f}")
    page = watched.visit(billed.page)
    expect(page.locator(".banner[role=note]")).to_contain_text("budget")
    patch(server, billed.workspace, budget=None)
    page = watched.visit(billed.page)
    expect(page.get_by_role("region", name="Ledger")).to_be_visible()
    expect(page.locator(".banner[role=note]")).to_have_count(0)


def patch(server: Server, workspace: str, **changes: object) -> None:
    """Sets fields of a workspace."""
    request = urllib.request.Request(
        f"{server.url}/v1/workspaces/{workspace}",
        json.dumps(changes).encode(),
        {"authorization": f"Bearer {ADMIN_KEY}", "content-type": "application/json"},
        method="PATCH",
    )
    urllib.request.urlopen(request, timeout=30).close()


def test_a_month_that_is_none_is_said_once(open_console: Open, server: Server) -> None:
    """By the first section; the others keep still, nothing is logged, and another month can be chosen."""
    page = open_console().visit("billing?month=2026-13")
    page.wait_for_load_state("networkidle")
    expect(page.get_by_role("alert")).to_have_text(
        ["'2026-13' is not a month. Write YYYY-MM, for instance 2026-03."]
    )
    expect(page.get_by_label("Month")).to_have_value("2026-13")
    page.get_by_label("Month").select_option(f"{datetime.now(UTC):%Y-%m}")
    expect(page.get_by_role("region", name="Exports")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    assert "could not draw" not in server.log.read_text()
