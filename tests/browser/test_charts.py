"""Charts and figures over time: zoom, trends, and money that can be read."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from dashboard.charts import SKETCHES
from scripts.scenes import settle
from tests.browser.conftest import Open
from tests.browser.watched import stand_still
from tests.server import Server


@pytest.fixture(scope="module")
def ended(server: Server) -> str:
    """A task that ended lately, so that no chart is empty."""
    return str(server.wait(server.submit([f"chart {n}" for n in range(4)]))["id"])


def test_dragging_over_a_chart_makes_that_the_period(open_console: Open, ended: str) -> None:
    """The link follows, all charts and cards with it; Back returns to the whole."""
    page = open_console().visit("monitor/m?from=now-6h&precision=minute")
    settle(page)
    plot = page.locator(".js-plotly-plot").first
    expect(plot).to_be_visible()
    expect(plot).to_have_attribute("data-follows", "yes")
    area = plot.locator(".draglayer .nsewdrag").first
    stand_still(page)
    while (box := area.bounding_box()) is None:  # it has none while the chart is drawn again
        page.wait_for_timeout(50)
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


def test_hover_tells_exact_values(open_console: Open, server: Server, alone: str) -> None:
    """Of every series at that moment; percentiles have bands between them, and no chart is wider than its panel."""
    now = datetime.now(
        UTC
    )  # a period of fixed ends, so that what is pointed at does not move on with the time
    span = f"from={now - timedelta(hours=1):%Y-%m-%dT%H:%M:%S}&to={now:%Y-%m-%dT%H:%M:%S}"
    page = open_console().visit(f"monitor/m?{span}&zone=UTC&precision=minute&workspace={alone}")
    panel = page.get_by_role("region", name="Calls", exact=True)
    bar = panel.locator(".trace.bars").first.locator("path").last
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    told = panel.locator(".hoverlayer")
    expect(told).to_contain_text(re.compile(r"\d{1,2} \w{3} \d{4}, \d\d:\d\d.*succeeded : \d+.*failed : \d+"))
    asked = f"start={now.timestamp() - 3600:.0f}&interval=minute&workspace_id={alone}"
    points = server.get(f"/v1/statistics/m/trend?{asked}")["data"]
    (shown,) = re.findall(r"succeeded : ([\d,]+?)failed", told.text_content() or "")
    assert int(shown.replace(",", "")) in {point["succeeded"] for point in points}
    duration = page.get_by_role("region", name="Call duration", exact=True)
    duration.scroll_into_view_if_needed()
    expect(duration.locator(".js-plotly-plot")).to_be_visible()
    bands = "plot => plot.data.filter(trace => trace.fill === 'toself').length"
    assert duration.locator(".plot").evaluate(bands) == 2
    inside = "panels => panels.every(p => [...p.querySelectorAll('svg')].every(s => s.getBoundingClientRect().right <= p.getBoundingClientRect().right))"
    assert page.locator(".panel.chart").evaluate_all(inside)


def test_every_chart_is_a_table_and_a_file(open_console: Open, ended: str) -> None:
    """With the same rows and the API's names; the table writes times and figures as people read them."""
    page = open_console().page
    for sketch in SKETCHES:
        page.goto(page.url.partition("/console/")[0] + f"/console/monitor/m?from=now-1h&table={sketch.key}")
        table = page.get_by_role("region", name=sketch.title, exact=True).get_by_role("table")
        columns = ["Time", *[field for field, *_ in sketch.lines]]
        expect(table.locator("th")).to_have_text(columns)
        expect(table.locator("tbody td").first).to_have_text(re.compile(r"\d{1,2} \w{3} \d{4}, \d\d:\d\d"))
        href = page.get_by_role("link", name=f"CSV: {sketch.title}", exact=True).get_attribute("href")
        lines = page.request.get(page.url.partition("/console/")[0] + str(href)).text().splitlines()
        assert lines[0] == ",".join(columns)
        assert len(lines) - 1 == table.locator("tbody tr").count()


def test_a_chart_s_head_is_within_its_panel(open_console: Open, ended: str) -> None:
    """At 390 pixels too, where its note gives way."""
    page = open_console(width=390).visit("monitor/m?from=now-1h")
    expect(page.locator(".panel.chart")).to_have_count(len(SKETCHES))
    out = "panels => panels.filter(p => [...p.querySelectorAll('.hd *')].some(e => e.getBoundingClientRect().right > p.getBoundingClientRect().right)).map(p => p.ariaLabel)"
    assert page.locator(".panel.chart").evaluate_all(out) == []


def test_a_period_without_calls_is_said_once(open_console: Open, ended: str) -> None:
    """Not by each of a dozen charts; a longer period is a click away."""
    page = open_console().visit("monitor/m?from=now-1s")
    expect(page.get_by_text("No task of m ended in this period")).to_have_count(1)
    expect(page.get_by_role("region", name="Calls", exact=True)).to_be_hidden()
    page.get_by_role("link", name="Look at the last 15 days").click()
    expect(page).to_have_url(re.compile("from=now-15d"))
    expect(page.locator('[data-metric="calls"]')).to_be_visible()
    expect(page.get_by_role("region", name="Calls", exact=True)).to_be_visible()
