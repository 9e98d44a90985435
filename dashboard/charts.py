"""The charts of Monitor and Billing: which fields of the services' rows each shows. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from dashboard import figures, writing
from dashboard.figures import Series
from dashboard.parts import Chart
from dashboard.theme import Theme

Json = Mapping[str, Any]
Scale = Callable[[Any], float | None]


def plain(value: Any) -> float | None:
    """A figure as it is."""
    return None if value is None else float(value)


def seconds(value: Any) -> float | None:
    """Milliseconds as seconds."""
    return None if value is None else float(value) / 1000


def percent(value: Any) -> float | None:
    """A share of one as per cent."""
    return None if value is None else float(value) * 100


@dataclass(frozen=True, slots=True)
class Sketch:
    """What a chart of Monitor shows: (field, name, colour's place in the theme or 'bad', dash)."""

    key: str
    group: Literal["calls", "performance"]
    title: str
    note: str
    lines: tuple[tuple[str, str, int | str, str], ...]
    scale: Scale = plain
    unit: str = ""
    bars: bool = False
    bands: bool = False
    blank: str = "No calls in this period"


_PERCENTILES = (
    ("avg", "average", 4, "dashdot"),
    ("p50", "p50", 0, "solid"),
    ("p95", "p95", 2, "dash"),
    ("p99", "p99", 3, "dot"),
)


def _spread(field: str) -> tuple[tuple[str, str, int | str, str], ...]:
    return tuple((f"{short}_{field}", name, color, dash) for short, name, color, dash in _PERCENTILES)


_NO_STREAM = "No streamed calls in this period"
SKETCHES = (
    Sketch(
        "calls", "calls", "Calls", "by outcome",
        (("succeeded", "succeeded", 0, ""), ("failed", "failed", "bad", "")), bars=True,
    ),
    Sketch(
        "failure_rate", "calls", "Failure rate", "per cent of calls",
        (("failure_rate", "failure rate", "bad", ""),), percent, " %", bars=True, blank="No call failed in this period",
    ),
    Sketch(
        "tokens", "calls", "Tokens", "of metered calls",
        (("input_tokens", "input", 1, ""), ("output_tokens", "output", 5, "")), bars=True,
    ),
    Sketch(
        "token_parts", "calls", "Cached and reasoning tokens", "",
        (("cached_input_tokens", "cached input", 6, ""), ("reasoning_tokens", "reasoning", 3, "")), bars=True,
        blank="No cached or reasoning tokens in this period",
    ),
    Sketch(
        "tokens_per_request", "calls", "Tokens per request", "average",
        (("avg_tokens_per_request", "tokens per request", 6, "solid"),),
    ),
    Sketch(
        "limits", "calls", "Rate limits and filters", "calls",
        (("rate_limited", "with a 429", 2, ""), ("content_filtered", "content filtered", 3, "")), bars=True,
        blank="No call was rate limited or filtered",
    ),
    Sketch(
        "duration", "performance", "Call duration", "succeeded calls", _spread("duration_ms"), seconds, " s", bands=True,
        blank="No call succeeded in this period",
    ),
    Sketch(
        "first_token", "performance", "Time to first token", "streamed calls",
        _spread("first_token_ms"), seconds, " s", bands=True, blank=_NO_STREAM,
    ),
    Sketch(
        "throughput", "performance", "Requests per minute", "while tasks ran",
        (("requests_per_minute", "requests per minute", 0, "solid"),),
    ),
    Sketch(
        "token_throughput", "performance", "Tokens per minute", "while tasks ran",
        (("tokens_per_minute", "tokens per minute", 1, "solid"),),
    ),
    Sketch(
        "output_speed", "performance", "Output tokens per second", "of a call",
        (("output_tokens_per_second", "tokens per second", 4, "solid"),),
    ),
    Sketch(
        "token_time", "performance", "Time per output token", "after the first",
        (("avg_time_per_output_token_ms", "time per output token", 6, "solid"),), plain, " ms", blank=_NO_STREAM,
    ),
)  # fmt: skip
"""Every figure of SPEC §6.2 is in one of them."""


BY_KEY = {sketch.key: sketch for sketch in SKETCHES}


def chart_of(sketch: Sketch, points: Sequence[Json], precision: str, theme: Theme) -> Chart:
    """A chart of Monitor for a model's points."""
    times = [datetime.fromisoformat(p["time"]) for p in points]
    series = [
        Series(
            name,
            [sketch.scale(p.get(field)) for p in points],
            theme.bad if color == "bad" else theme.series[int(color)],
            dash or "solid",
            area=len(sketch.lines) == 1,
        )
        for field, name, color, dash in sketch.lines
    ]
    draw = figures.stacked_bars if sketch.bars else figures.bands if sketch.bands else figures.lines
    return Chart(
        key=sketch.key,
        title=sketch.title,
        note=f"{sketch.note}, per {precision}".removeprefix(", "),
        sentence=sentence(sketch.title, series, times, sketch.unit),
        figure=draw(times, series, theme, sketch.unit),
        legend=tuple((s.name, s.color, "" if sketch.bars else s.dash) for s in series),
        columns=("Time", *[field for field, *_ in sketch.lines]),
        blank="" if any(v for s in series for v in s.values) else sketch.blank,
        rows=tuple(
            (t.isoformat(), *[writing.exact(p.get(field)) for field, *_ in sketch.lines])
            for t, p in zip(times, points, strict=True)
        ),
    )


def sentence(title: str, series: Sequence[Series], times: Sequence[datetime], unit: str) -> str:
    """A chart in words, for those who don't see it."""
    if not times:
        return f"{title}: no data."
    found = [(s.name, [v for v in s.values if v is not None]) for s in series]
    told = [f"{name} between {min(v):,.4g}{unit} and {max(v):,.4g}{unit}" for name, v in found if v]
    span = f"{times[0]:%Y-%m-%d %H:%M} – {times[-1]:%Y-%m-%d %H:%M}"
    return f"{title}, {span}: " + ("; ".join(told) if told else "no calls") + "."


def cost_chart(
    currency: str, days: Sequence[datetime], models: Mapping[str, Sequence[Decimal]], theme: Theme
) -> Chart:
    """What was charged a day, by model; past the seventh colour models are summed as other."""
    named = sorted(models, key=lambda m: sum(models[m]), reverse=True)
    shown, rest = named[:7], named[7:]
    columns = {m: models[m] for m in shown}
    if rest:
        columns["other"] = [sum((models[m][i] for m in rest), Decimal(0)) for i in range(len(days))]
    series = [
        Series(
            name,
            [float(v) for v in values],
            theme.series[i],
            exact=[f"{currency} {writing.exact(v)}" for v in values],
        )
        for i, (name, values) in enumerate(columns.items())
    ]
    return Chart(
        key=f"cost-{currency}",
        title="Cost per day",
        note=f"{currency}, by model, by the end of the task",
        sentence=sentence(f"Cost per day in {currency}", series, days, ""),
        figure=figures.stacked_bars(days, series, theme),
        legend=tuple((s.name, s.color, "") for s in series),
        columns=("Day", *columns),
        rows=tuple(
            (f"{day:%Y-%m-%d}", *[writing.exact(values[i]) for values in columns.values()])
            for i, day in enumerate(days)
        ),
    )
