"""Charts and written values."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest
from dash._utils import to_json

from dashboard import writing
from dashboard.charts import BY_KEY, SKETCHES, chart_of, cost_chart
from dashboard.downloads import csv_of
from dashboard.figures import Series, axis_of, lines, lonely, stacked_bars
from dashboard.filters import Address
from dashboard.latency import latency_chart
from dashboard.parts import TABLE_ROWS, chart
from dashboard.theme import DARK, LIGHT

START = datetime(2026, 11, 7, tzinfo=UTC)
HOURS = [START + timedelta(hours=n) for n in range(4)]


def point(at: datetime, **figures: object) -> dict[str, object]:
    fields = {field for sketch in SKETCHES for field, *_ in sketch.lines}
    return {"time": at.isoformat(), **dict.fromkeys(fields), **figures}


def test_even_steps_are_told_by_start_and_step() -> None:
    """So that 1,500 points cost no 1,500 dates; a day of 23 hours is written out."""
    assert axis_of(HOURS) == {"x0": "2026-11-07T00:00:00", "dx": 3_600_000.0}
    zone = ZoneInfo("Europe/Berlin")
    jump = [
        t.astimezone(zone) for t in (START.replace(month=10, day=25) + timedelta(hours=n) for n in range(4))
    ]
    assert "x" in axis_of(jump)


def test_a_lone_point_is_drawn_as_a_dot() -> None:
    """A line through one point shows nothing; a line of many is broken where there was no call."""
    assert lonely([None, 1.0, None, 2.0, 3.0])
    assert not lonely([1.0, 2.0, 3.0, 4.0, None])
    dots = lines(HOURS, [Series("p50", [None, 1.5, None, None], "#112233")], LIGHT, " s")["data"][0]
    assert dots["mode"] == "lines+markers"
    line = lines(HOURS, [Series("p50", [1.0, 2.0, 3.0, 4.0], "#112233")], LIGHT, " s")["data"][0]
    assert (line["mode"], line["connectgaps"]) == ("lines", False)


def test_bars_are_stacked_in_the_theme_s_colours() -> None:
    """The same rows give another picture in the dark."""
    series = [Series("succeeded", [1, 2, 3, 4], DARK.series[0]), Series("failed", [0, 1, 0, 0], DARK.bad)]
    figure = stacked_bars(HOURS, series, DARK)
    assert figure["layout"]["barmode"] == "stack"
    assert [trace["marker"]["color"] for trace in figure["data"]] == [DARK.series[0], DARK.bad]
    assert figure["layout"]["yaxis"]["gridcolor"] == DARK.line


def test_plotly_takes_what_is_made() -> None:
    """Figures are plain values; Plotly's own classes refuse what its browser side would not understand."""
    points = [point(t, calls=2, succeeded=1, failed=1, failure_rate=0.5) for t in HOURS]
    for sketch in SKETCHES:
        figure = chart_of(sketch, points, "hour", LIGHT).figure
        assert all(high < len(figure["data"]) for _, high, _ in figure.pop("bands", []))
        go.Figure(figure)
    go.Figure(cost_chart("USD", [START, HOURS[1]], {"m": [Decimal(1), Decimal(2)]}, DARK).figure)
    go.Figure(latency_chart({700: 3, 800: 1}, DARK).figure)


def test_charts_of_a_period_have_the_same_ends() -> None:
    """So that one moment stands at one place in all of them, whatever each shows."""
    points = [point(t) for t in HOURS]
    ends = {tuple(chart_of(s, points, "hour", LIGHT).figure["layout"]["xaxis"]["range"]) for s in SKETCHES}
    assert ends == {("2026-11-06T23:30:00", "2026-11-07T03:30:00")}


def test_a_chart_of_the_most_points_stays_small() -> None:
    """No answer of the console is larger than 100 kB, with 1,500 points of which none is empty, or as a table."""
    dice = random.Random(7)
    times = [START + timedelta(minutes=n) for n in range(1500)]
    fields = {field for sketch in SKETCHES for field, *_ in sketch.lines}
    points = [{"time": t.isoformat(), **{f: dice.random() * 10_000 for f in fields}} for t in times]
    for sketch in SKETCHES:
        drawn = chart_of(sketch, points, "minute", LIGHT)
        for address in (Address("/monitor/m"), Address("/monitor/m", {"table": sketch.key})):
            assert len(to_json(chart(drawn, address, "/console/x.csv"))) < 100_000, sketch.key
    table = chart(drawn, Address("/monitor/m", {"table": sketch.key, "page": "2"}), "/console/x.csv")
    assert str(to_json(table)).count('"Tr"') == TABLE_ROWS + 1


def test_every_chart_has_a_table_a_sentence_and_a_csv_file() -> None:
    """With the API's field names and its exact values; on hover a measure has six digits."""
    points = [
        point(t, calls=2, succeeded=1, failed=1, failure_rate=0.5, p50_duration_ms=1500.5) for t in HOURS
    ]
    for sketch in SKETCHES:
        drawn = chart_of(sketch, points, "hour", LIGHT)
        assert drawn.sentence.startswith(drawn.title)
        assert len(drawn.rows) == len(HOURS)
        assert csv_of(drawn).count("\r\n") == len(HOURS) + 1
    duration = chart_of(BY_KEY["duration"], points, "hour", LIGHT)
    assert duration.columns[2] == "p50_duration_ms"
    assert duration.rows[0][2] == "1500.5"
    assert duration.figure["data"][1]["y"][0] == 1.5005


def test_a_chart_without_calls_says_so() -> None:
    """Instead of empty axes."""
    assert all(chart_of(s, [point(t) for t in HOURS], "hour", LIGHT).blank for s in SKETCHES)


def test_many_models_are_summed_as_other() -> None:
    """Eight colours are told apart, more are not; the sum of a day stays exact."""
    days = [START, START + timedelta(days=1)]
    models = {f"m{n}": [Decimal(n) / 10**9, Decimal(0)] for n in range(1, 12)}
    chart = cost_chart("USD", days, models, LIGHT)
    assert chart.columns[-1] == "other"
    assert sum(Decimal(v) for v in chart.rows[0][1:]) == Decimal("66") / 10**9


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("214.0749", "214.07"),
        ("0", "0.00"),
        ("0.000123456", "0.00012"),
        ("-0.00009", "-0.000090"),
        ("1038.06", "1,038.06"),
    ],
)
def test_money_is_never_written_as_nothing(amount: str, shown: str) -> None:
    """To the cent, or two figures of what is less than a cent."""
    assert writing.money(amount, "USD") == f"USD\u00a0{shown}"


def test_exact_values_are_never_scientific() -> None:
    """`data-value` is the API's decimal string."""
    assert writing.exact(Decimal("0.000000000000001")) == "0.000000000000001"
    assert writing.exact(Decimal("1E+3")) == "1000"
    assert writing.exact(0) == "0"


def test_written_figures() -> None:
    """As a person reads them; what is missing is a dash."""
    assert writing.count(1204332) == "1,204,332"
    assert writing.compact(812_400_000) == "812.4M"
    assert writing.share(0.004) == "0.40 %"
    told = [writing.duration(ms) for ms in (358, 2310, 180_000, 21_684_000, None)]
    assert told == ["358 ms", "2.31 s", "3.0 min", "6.0 h", "—"]
    assert writing.moment(START, ZoneInfo("Asia/Shanghai")) == "7 Nov 2026, 08:00:00"
    assert writing.size(17_100) == "17.1 kB"
