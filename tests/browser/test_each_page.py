"""What holds of each page alike: its figures are the API's, they follow what happens, and a view is a link."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.held import held
from tests.server import Server
from tests.upstream import Upstream


@pytest.fixture(scope="module")
def ended(server: Server) -> str:
    """A task with a success and a failure."""
    return str(server.wait(server.submit(["each page", "bad @status=400"]))["id"])


def test_monitor_s_figures_are_the_api_s(open_console: Open, server: Server, alone: str) -> None:
    """Its cards those of the model's sums, its failures those of the errors."""
    (row,) = server.get(f"/v1/statistics?model=m&workspace_id={alone}")["data"]
    failures = server.get(f"/v1/statistics/m/errors?workspace_id={alone}")["data"]
    assert (row["calls"], len(failures)) == (2, 1)
    page = open_console().visit(f"monitor/m?workspace={alone}")
    for metric in ("calls", "failure_rate", "p95_duration_ms", "total_tokens", "rate_limited"):
        shown = page.locator(f'[data-metric="{metric}"]').get_attribute("data-value")
        assert float(shown or "nan") == pytest.approx(row[metric]), metric
    calls = page.locator('tbody [data-field="calls"]')
    expect(calls).to_have_count(len(failures))
    values = calls.evaluate_all("cells => cells.map(cell => Number(cell.dataset.value))")
    assert values == [failure["calls"] for failure in failures]


def test_billing_s_figures_are_the_api_s(open_console: Open, server: Server, alone: str) -> None:
    """Charged, list price, saved and tokens of the month."""
    month = server.get(f"/v1/billing/charges?workspace_id={alone}")["data"][0]["period"]
    (total,) = server.get(f"/v1/billing/summary?period={month}&workspace_id={alone}")["totals"]
    page = open_console().visit(f"billing?month={month}&workspace={alone}")
    for metric in ("amount", "list_amount", "discount_amount"):
        shown = page.locator(f'.cards [data-metric="{metric}"]').get_attribute("data-value")
        assert shown == total[metric], metric
    tokens = page.locator('[data-metric="billed_tokens"]').get_attribute("data-value")
    assert int(tokens or "") == total["input_tokens"] + total["output_tokens"]


def a_metric(name: str) -> Callable[[Page], str | None]:
    return lambda page: page.locator(f'[data-metric="{name}"]').first.get_attribute("data-value")


FOLLOW = {
    "observation": a_metric("calls"),
    "monitor/m?from=now-1h": a_metric("calls"),
    "billing": a_metric("billed_tokens"),
}


@pytest.mark.parametrize("path", FOLLOW)
def test_a_page_follows_what_happens(open_console: Open, server: Server, ended: str, path: str) -> None:
    """A task that ends meanwhile is on it, without a reload."""
    page = open_console().visit(path)
    before = FOLLOW[path](page)
    page.evaluate("window.still_here = true")
    server.wait(server.submit([f"seen on {path}"]))
    for _ in range(300):
        if FOLLOW[path](page) != before:
            break
        page.wait_for_timeout(100)
    assert int(FOLLOW[path](page) or 0) > int(before or 0)
    assert page.evaluate("window.still_here")


def test_the_page_of_a_task_follows_it_to_its_end(
    open_console: Open, server: Server, upstream: Upstream
) -> None:
    """Status and bill come by themselves."""
    with held(upstream, "to its end"):
        task = server.submit(["quick", "to its end"])
        page = open_console().visit(f"tasks/{task}")
        expect(page.locator(f'[data-id="{task}"]')).to_have_attribute("data-status", "in_progress")
        expect(page.get_by_role("region", name="Bill")).to_have_count(0)
    expect(page.get_by_role("region", name="Bill")).to_be_visible()
    expect(page.locator(f'[data-id="{task}"]')).to_have_attribute("data-status", "completed")


CHOICES = {
    "observation": ("Workspace", "default"),
    "monitor/m": ("Precision", "minute"),
    "billing": ("Model", "m"),
}


@pytest.mark.parametrize("path", CHOICES)
def test_a_view_is_a_link(open_console: Open, ended: str, path: str) -> None:
    """A filter is in the address; reload and a second browser show the same, Back what was before."""
    label, value = CHOICES[path]
    page = open_console().visit(path)
    field = page.get_by_label(label)
    before = field.input_value()
    field.select_option(value)
    expect(page).to_have_url(re.compile(f"={value}(&|$)"))
    page.reload()
    expect(field).to_have_value(value)
    other = open_console().visit(page.url.partition("/console/")[2])
    expect(other.get_by_label(label)).to_have_value(value)
    page.go_back()
    expect(field).to_have_value(before)


def test_the_managed_workspace_is_a_link(open_console: Open, tenant: dict[str, str]) -> None:
    """Of Settings too."""
    page = open_console().visit("settings")
    page.get_by_role("link", name="Manage Tenant").first.click()
    expect(page.get_by_role("region", name="Keys of Tenant").first).to_be_visible()
    page.reload()
    expect(page.get_by_role("region", name="Keys of Tenant").first).to_be_visible()
    page.go_back()
    expect(page.get_by_role("region", name="Keys of Default Workspace")).to_be_visible()


@pytest.mark.parametrize(
    ("path", "key"), [("billing", "billing-totals"), ("settings", "workspaces"), ("monitor/m", "monitored")]
)
def test_a_section_that_can_not_be_drawn_leaves_the_rest(
    open_console: Open, ended: str, path: str, key: str
) -> None:
    """Of each page; the others are there."""
    watched = open_console()
    watched.page.route(
        "**/_dash-update-component*",
        lambda route: (
            route.fulfill(status=200, json={"multi": True, "response": {}})
            if f'"key":"{key}"' in (route.request.post_data or "")
            else route.continue_()
        ),
    )
    page = watched.visit(path)
    expect(page.locator(f"#page .skeleton:not(.of-{key})")).to_have_count(0)
    expect(page.locator(f".skeleton.of-{key}")).to_have_count(1)
    assert page.locator(".panel").count() >= 2
