"""What every page of the console keeps: its name, its manners, its themes and widths."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.server import ADMIN_KEY, Server

PAGES = {
    "": "Batch inference",
    "observation?from=now-7d": "Model observation",
    "monitor/m": "m",
    "billing": "Billing",
    "settings": "Settings",
    "nowhere": "Page not found",
}


@pytest.fixture(scope="module")
def ended(server: Server) -> str:
    """A task that ended, so that no page is empty."""
    return str(
        server.wait(server.submit(["hello", "bad @status=400"], metadata={"ds_name": "For the pages"}))["id"]
    )


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_in_every_look(open_console: Open, ended: str, width: int, theme: str) -> None:
    """Its name as the one h1, no error, nothing from another host, no sideways scrolling, each id once."""
    watched = open_console(width=width, theme=theme)
    for path, name in {**PAGES, f"tasks/{ended}": "For the pages"}.items():
        page = watched.visit(path)
        expect(page.locator("h1")).to_have_text(name)
        expect(page).to_have_title(f"{name} · Nightrate")
        page.wait_for_load_state("networkidle")
        assert watched.too_wide() == 0, path
        ids = page.locator("[data-id]").evaluate_all("rows => rows.map(row => row.dataset.id)")
        assert len(ids) == len(set(ids)), path


FIELDS = {
    "": ("Workspace", "Status", "Search task name or ID"),
    "observation?from=now-7d": ("Inference type", "Period", "Workspace", "Zone"),
    "monitor/m": ("Inference type", "Period", "Precision", "Workspace", "Zone"),
    "billing": ("Month", "Workspace", "Model"),
}


def test_each_name_leads_to_one_field(
    open_console: Open, server: Server, ended: str, tenant: dict[str, str]
) -> None:
    """Programs and screen readers find a field by its name, and nothing else by it."""
    server.wait(server.submit(["another workspace's"], tenant["key"]))
    watched = open_console()
    for path, names in FIELDS.items():
        page = watched.visit(path)
        page.wait_for_load_state("networkidle")
        for name in names:
            assert page.get_by_label(name).count() == 1, (path, name, page.get_by_label(name).all())


def test_links_lead_on_without_a_reload_and_back(open_console: Open, ended: str) -> None:
    """Navigation, the Back key and a reload show the same view."""
    page = open_console().page
    page.evaluate("window.still_here = true")
    page.get_by_role("navigation", name="Main").get_by_role("link", name="Billing").click()
    expect(page.locator("h1")).to_have_text("Billing")
    expect(page.locator("nav [aria-current=page]")).to_have_text("Billing")
    page.go_back()
    expect(page.locator("h1")).to_have_text("Batch inference")
    assert page.evaluate("window.still_here")
    page.get_by_label("Status").select_option("Failed")
    expect(page).to_have_url(re.compile(r"\?status=Failed$"))
    page.reload()
    expect(page.get_by_label("Status")).to_have_value("Failed")
    page.go_back()
    expect(page.get_by_label("Status")).to_have_value("")
    expect(page.locator(f'[data-id="{ended}"]')).to_be_visible()


def test_the_theme_is_the_system_s_until_one_is_chosen(open_console: Open) -> None:
    """And the choice is remembered."""
    page = open_console(theme="dark").page
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.get_by_role("button", name="Light theme").click()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.reload()
    expect(page.get_by_role("button", name="Dark theme")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_the_keyboard_reaches_the_content(open_console: Open) -> None:
    """The first key stroke offers to skip the navigation."""
    page = open_console().page
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_a_wrong_key_is_told_so(open_console: Open, server: Server) -> None:
    """On the login page, and nothing opens."""
    page = open_console(None).page
    page.goto(f"{server.url}/console/billing")
    page.get_by_label("API key").fill("sk-nr-wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("not known")
    page.get_by_label("API key").fill(ADMIN_KEY)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("h1")).to_have_text("Billing")


def test_figures_are_those_of_the_api(open_console: Open, server: Server, alone: str) -> None:
    """Cards and cells carry the API's exact values; Monitor is one click away."""
    answer = server.get(f"/v1/statistics?workspace_id={alone}")
    page = open_console().visit(f"observation?workspace={alone}")
    for metric in ("calls", "failed", "total_tokens", "avg_duration_ms"):
        card = page.locator(f'[data-metric="{metric}"]')
        assert float(card.get_attribute("data-value") or "") == pytest.approx(answer["totals"][metric]), (
            metric
        )
    charged = page.locator('[data-metric="amount"]').get_attribute("data-value")
    assert charged == answer["totals"]["amounts"][0]["amount"]
    row = page.locator('[data-id="m"]')
    assert row.locator('[data-field="calls"]').get_attribute("data-value") == str(answer["data"][0]["calls"])
    row.get_by_role("link", name="Monitor").click()
    expect(page.locator("h1")).to_have_text("m")
    expect(page.locator('[data-field="status_code"]')).to_have_text("400")


def test_a_chart_is_a_table_and_a_file_too(open_console: Open, ended: str) -> None:
    """For those who can't see it, and for those who go on with it."""
    watched = open_console()
    expect(watched.visit("monitor/m?from=now-1h").locator(".js-plotly-plot").first).to_be_visible()
    last = datetime.now(UTC).replace(second=0)
    span = f"from={last - timedelta(minutes=59):%Y-%m-%d %H:%M:%S}&to={last:%Y-%m-%d %H:%M}:59"
    page = watched.visit(f"monitor/m?{span}&zone=UTC&precision=minute")
    chart = page.get_by_role("region", name="Calls", exact=True)
    with page.expect_download() as saved:
        chart.get_by_role("link", name="CSV").click()
    lines = saved.value.path().read_text().splitlines()
    assert lines[0] == "Time,succeeded,failed"
    assert len(lines) == 61
    chart.get_by_role("link", name="Table").click()
    expect(chart.locator("tbody tr")).to_have_count(60)
    assert "table=calls" in page.url


def test_a_range_that_is_not_allowed_is_explained(open_console: Open) -> None:
    """Where it was asked for, with the allowed range; the filters stay usable."""
    page = open_console().visit("observation?from=2020-01-01")
    told = r"begins more than 15 days ago. The allowed range is from \d+ \w{3} \d{4}, 00:00:00 to now"
    expect(page.get_by_role("alert")).to_have_text(re.compile(told))
    page.get_by_label("Period").select_option(label="Last 7 days")
    expect(page).to_have_url(re.compile("from=now-7d"))
    expect(page.locator('[data-metric="calls"]')).to_be_visible()
