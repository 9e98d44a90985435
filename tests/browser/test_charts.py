"""Charts and figures over time: zoom, trends, and money that can be read."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.server import Server


@pytest.fixture(scope="module")
def ended(server: Server) -> str:
    """A task that ended lately, so that no chart is empty."""
    return str(server.wait(server.submit([f"chart {n}" for n in range(4)]))["id"])


def test_dragging_over_a_chart_makes_that_the_period(open_console: Open, ended: str) -> None:
    """The link follows, all charts and cards with it; Back returns to the whole."""
    page = open_console().visit("monitor/m?from=now-6h&precision=minute")
    plot = page.locator(".js-plotly-plot").first
    expect(plot).to_be_visible()
    expect(plot).to_have_attribute("data-follows", "yes")
    box = plot.locator(".draglayer .nsewdrag").first.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, y, steps=5)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=20\d\d-"))
    query = parse_qs(urlsplit(page.url).query)
    assert query["from"][0] < query["to"][0]
    assert "precision" not in query
    expect(page.get_by_label("From", exact=True)).to_have_value(re.compile(query["from"][0][:16]))
    page.go_back()
    expect(page.get_by_label("Period")).to_have_value("now-6h")
    expect(page.get_by_label("From", exact=True)).to_be_hidden()


def test_each_model_has_a_trend(open_console: Open, ended: str) -> None:
    """A small picture with a sentence for those who don't see it; cards tell the change where there is one."""
    page = open_console().visit("observation?from=now-1h")
    trend = page.locator('[data-id="m"] [data-field="trend"]').get_by_role("img", name="Calls: at most")
    expect(trend).to_be_visible()
    assert trend.locator("polyline").get_attribute("points")


def test_money_axes_have_no_prefixes(open_console: Open, ended: str) -> None:
    """0.00015, not 150µ; and a card's currency and number are on one line."""
    page = open_console().visit("billing")
    ticks = page.locator(".js-plotly-plot .ytick text")
    expect(ticks.first).to_be_visible()
    assert all(re.fullmatch(r"[0-9.,]+", tick) for tick in ticks.all_text_contents())
    amount = page.locator('[data-metric="amount"] .money')
    heights = amount.evaluate("e => [e.getClientRects().length, e.offsetHeight]")
    assert heights[0] == 1
