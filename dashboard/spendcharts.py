"""Pictures of what a month came to, day by day: by model, and list price beside charged and saved. Pure."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from dashboard import figures, writing
from dashboard.charts import cost_chart, sentence
from dashboard.figures import Series
from dashboard.parts import Chart
from dashboard.reading import Json
from dashboard.theme import Theme

SAVED_COLOR = 4
"""The theme's colour of what was saved."""


def spend_charts(
    rows: Sequence[Json], month: str, today: date, zone: ZoneInfo, theme: Theme
) -> list[tuple[Chart, Chart]]:
    """Two charts a currency, of sums by day and model."""
    days = days_of(month, today)
    times = [datetime(d.year, d.month, d.day, tzinfo=zone) for d in days]
    drawn = []
    for currency in sorted({r["currency"] for r in rows}):
        own = [r for r in rows if r["currency"] == currency]
        cost = cost_chart(currency, times, by_day(own, days), theme)
        drawn.append((cost, savings_chart(currency, times, days, own, theme)))
    return drawn


def days_of(month: str, today: date) -> list[date]:
    """The days of a month, up to today if it runs."""
    first = date(int(month[:4]), int(month[5:7]), 1)
    following = (first + timedelta(days=32)).replace(day=1)
    last = min(following, today + timedelta(days=1))
    return [first + timedelta(days=n) for n in range((last - first).days)] or [first]


def by_day(rows: Sequence[Json], days: Sequence[date]) -> dict[str, list[Decimal]]:
    """Amounts of one currency by model, one for each day."""
    found: Mapping[tuple[str, str], Decimal] = {(r["model"], r["day"]): Decimal(r["amount"]) for r in rows}
    models = sorted({model for model, _ in found})
    return {m: [found.get((m, d.isoformat()), Decimal(0)) for d in days] for m in models}


def savings_chart(
    currency: str, times: Sequence[datetime], days: Sequence[date], rows: Sequence[Json], theme: Theme
) -> Chart:
    """Charged and saved on top of each other: together they are the real-time price."""
    fields = (("charged", "amount", theme.series[0]), ("saved", "discount_amount", theme.series[SAVED_COLOR]))
    series = [
        Series(
            name,
            [float(value) for value in values],
            color,
            exact=[f"{currency} {writing.exact(value)}" for value in values],
        )
        for name, values, color in ((name, _daily(rows, field, days), color) for name, field, color in fields)
    ]
    return Chart(
        key=f"saved-{currency}",
        title="Charged and saved per day",
        note=f"{currency}, of real time{_outside(rows, days, currency)}",
        sentence=sentence(f"Charged and saved per day in {currency}", series, times, ""),
        figure=figures.stacked_bars(times, series, theme),
        legend=tuple((s.name, s.color, "") for s in series),
        columns=("Day", "Real-time price", "Charged", "Saved"),
        rows=tuple(
            (day.isoformat(), *[writing.exact(value) for value in values])
            for day, *values in zip(
                days,
                *[_daily(rows, field, days) for field in ("list_amount", "amount", "discount_amount")],
                strict=True,
            )
        ),
    )


def _daily(rows: Sequence[Json], field: str, days: Sequence[date]) -> list[Decimal]:
    sums = dict.fromkeys((day.isoformat() for day in days), Decimal(0))
    for row in rows:
        if row["day"] in sums:
            sums[row["day"]] += Decimal(row[field])
    return list(sums.values())


def _outside(rows: Sequence[Json], days: Sequence[date], currency: str) -> str:
    """Corrections of earlier months are of this month's bill, but of none of its days."""
    within = {day.isoformat() for day in days}
    other = sum((Decimal(r["amount"]) for r in rows if r["day"] not in within), Decimal(0))
    return (
        f"; corrections of earlier months, {currency} {writing.exact(other)}, are not drawn" if other else ""
    )
