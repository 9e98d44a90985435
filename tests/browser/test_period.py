"""The period of Model observation and Monitor: presets stay relative, ends are exact to the second, links hold it all."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from scripts.scenes import settle
from tests.browser.conftest import Open
from tests.server import Server


@pytest.fixture(scope="module")
def ended(server: Server) -> datetime:
    """When a task ended."""
    task = server.wait(server.submit(["to be found"]))
    return datetime.fromtimestamp(task["nightrate"]["ended_at"], UTC)


def query(page: Page) -> dict[str, str]:
    return {k: v[0] for k, v in parse_qs(urlsplit(page.url).query).items()}


def test_a_preset_stays_relative(open_console: Open, ended: datetime) -> None:
    """In the link, through a change of another filter, a sort and a reload."""
    page = open_console().visit("observation")
    page.get_by_label("Period").select_option(label="Last 7 days")
    expect(page).to_have_url(re.compile("from=now-7d"))
    page.get_by_label("Workspace").select_option(label="Default Workspace")
    expect(page).to_have_url(re.compile("workspace=default"))
    page.get_by_role("link", name="Tasks", exact=True).click()
    expect(page.get_by_role("columnheader", name="Tasks")).to_have_attribute("aria-sort", "descending")
    page.reload()
    expect(page.get_by_label("Period")).to_have_value("now-7d")
    assert query(page) == {"from": "now-7d", "zone": "UTC", "workspace": "default", "sort": "-tasks"}
    page.locator('[data-id="m"]').get_by_role("link", name="Monitor").click()
    expect(page.locator("h1")).to_have_text("m")
    assert query(page)["from"] == "now-7d"


def test_the_two_ends_are_asked_for_as_long_as_custom_is_chosen(open_console: Open, ended: datetime) -> None:
    """Another preset takes them away, the one of before too; so does Back."""
    page = open_console().visit("observation?from=now-6h")
    preset, first = page.get_by_label("Period"), page.get_by_label("From", exact=True)
    preset.select_option(label="Custom")
    expect(first).to_be_focused()
    preset.select_option(label="Last 6 hours")
    expect(first).to_be_hidden()
    preset.select_option(label="Last 24 hours")
    expect(page).to_have_url(re.compile("from=now-24h"))
    settle(page)
    preset.select_option(label="Custom")
    expect(first).to_be_visible()
    page.go_back()
    expect(preset).to_have_value("now-6h")
    expect(first).to_be_hidden()


def opens() -> str:
    """The first moment that may be asked for."""
    return f"{datetime.now(UTC) - timedelta(days=15):%Y-%m-%dT00:00:00}"


def test_two_ends_are_exact_to_the_second(open_console: Open, ended: datetime) -> None:
    """The very second in which a task ended has it, the one before has not; the fields know the window."""
    before = opens()
    page = open_console().visit("observation")
    page.get_by_label("Period").select_option(label="Custom")
    first = page.get_by_label("From", exact=True)
    assert first.get_attribute("min") in {before, opens()}  # a day may have begun meanwhile
    second = ended.replace(microsecond=0)
    first.fill(f"{second - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}")
    page.get_by_label("To", exact=True).fill(f"{second:%Y-%m-%dT%H:%M:%S}")
    page.keyboard.press("Enter")
    expect(page.locator(".period")).to_contain_text(f"{second:%H:%M:%S} (UTC)")
    settle(page)
    calls = page.locator('[data-metric="calls"]')
    within = int(calls.get_attribute("data-value") or "")
    page.get_by_label("To", exact=True).fill(f"{second - timedelta(seconds=1):%Y-%m-%dT%H:%M:%S}")
    page.keyboard.press("Enter")
    expect(page.locator(".period")).to_contain_text(f"{second - timedelta(seconds=1):%H:%M:%S} (UTC)")
    expect(calls).not_to_have_attribute("data-value", str(within))


def test_a_zone_is_that_of_the_fields_and_of_the_link(open_console: Open, ended: datetime) -> None:
    """And the one of the navigation is that of all other times."""
    page = open_console().visit("observation?from=now-6h&zone=Asia/Tokyo")
    expect(page.locator(".period")).to_contain_text("(Asia/Tokyo)")
    page.get_by_label("Times in").select_option("America/New_York")
    page.get_by_role("link", name="Batch inference").click()
    expect(page.locator("h1")).to_have_text("Batch inference")  # models are rows with names, too
    page.locator("tr[data-id] .name a").first.click()
    expect(page.get_by_role("region", name="Timeline")).to_contain_text("America/New_York")


def test_a_zone_that_is_none_is_explained(open_console: Open) -> None:
    """The filters stay usable."""
    page = open_console().visit("observation?zone=Middle-earth/Shire")
    expect(page.get_by_role("alert")).to_have_count(1)
    expect(page.get_by_role("alert")).to_contain_text("Middle-earth/Shire")
    page.get_by_label("Zone", exact=True).fill("UTC")
    page.keyboard.press("Enter")
    expect(page.locator('[data-metric="calls"]')).to_be_visible()


def test_all_columns_and_the_file_are_the_api_s(open_console: Open, server: Server, alone: str) -> None:
    """Every figure of the statistics is a column that can be sorted by, and a field of the CSV file."""
    page = open_console().visit(f"observation?workspace={alone}")
    page.get_by_role("link", name="All columns").click()
    listed = server.get(f"/v1/statistics?workspace_id={alone}")["data"]
    (row,) = [r for r in listed if r["model"] == "m"]
    shown = page.locator('[data-id="m"]')
    expect(shown.locator('[data-field="p99_duration_ms"]')).to_be_visible()
    for field in ("succeeded", "input_tokens", "unmetered", "p99_duration_ms"):
        value = shown.locator(f'[data-field="{field}"]').get_attribute("data-value")
        assert float(value or "") == pytest.approx(row[field]), field
    with page.expect_download() as saved:
        page.get_by_role("link", name="CSV: All models").click()
    head, *lines = saved.value.path().read_text().splitlines()
    assert head.split(",")[:4] == ["model", "workspace_id", "currency", "calls"]
    assert len(lines) == len(listed)
