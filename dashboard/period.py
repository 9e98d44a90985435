"""The filter of a period: presets that stay relative, two ends to the second within the window, and a zone."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dash import html

from dashboard import parts, writing
from dashboard.filters import PRESETS, PeriodView
from dashboard.parts import Part
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.errors import InvalidParameter
from metering.ranges import window_opens

CUSTOM = "custom"
ZONES = (
    "UTC", "browser", "America/Los_Angeles", "America/New_York", "America/Sao_Paulo", "Asia/Dubai", "Asia/Kolkata",
    "Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Australia/Sydney", "Europe/Berlin", "Europe/London",
)  # fmt: skip


def period_fields(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> list[Part]:
    """Presets, the two ends to the second, and the zone in which they are read."""
    zone = zone_or_chosen(viewer, view)
    opens = window_opens(viewer.now, zone, services.statistics_options.window_days)
    bounds = {"min": local(opens, zone), "max": local(viewer.now, zone)}
    start, end = ends(viewer, view, zone)
    presets = [*PRESETS, (CUSTOM, "Custom" if _absolute(view) else f"{view.start} to {view.end}")]
    return [
        parts.choice(
            "Period", "", presets, view.preset or CUSTOM, **parts.data(preset=view.preset or CUSTOM)
        ),
        html.Div(
            [
                parts.entry("From", "from", start, size="moment", kind="datetime-local", step="1", **bounds),
                parts.entry("To", "to", end, size="moment", kind="datetime-local", step="1", **bounds),
            ],
            className="ends-of",
            hidden=bool(view.preset),
            **parts.data(ends=""),
        ),
        parts.entry("Zone", "zone", view.zone, size="zone", hint="UTC", list="zones"),
        html.Datalist([html.Option(value=name) for name in ZONES], id="zones"),
    ]


def _absolute(view: PeriodView) -> bool:
    return bool(view.preset) or not view.start.startswith("now")


def zone_or_chosen(viewer: Viewer, view: PeriodView) -> ZoneInfo:
    """The zone of a view; the viewer's if that is none, which the figures then say."""
    try:
        return viewer.zone(view.zone)
    except InvalidParameter:
        return viewer.zone()


def ends(viewer: Viewer, view: PeriodView, zone: ZoneInfo) -> tuple[str, str]:
    """Both ends as the fields hold them; nothing for what can't be read."""
    try:
        start, end = view.bounds(viewer.now, zone)
    except InvalidParameter:
        return "", ""
    return local(start, zone), local(min(end, viewer.now), zone)


def local(moment: datetime, zone: ZoneInfo) -> str:
    """A moment as a field of date and time holds it: in the zone and without it."""
    return moment.astimezone(zone).replace(tzinfo=None, microsecond=0).isoformat()


def told(viewer: Viewer, view: PeriodView, compared: bool) -> html.P:
    """The exact period in words, and what the changes on the cards are measured against."""
    zone = viewer.zone(view.zone)
    start, end = view.bounds(viewer.now, zone)
    end = min(end, viewer.now)
    text = f"{writing.moment(start, zone)} – {writing.moment(end, zone)} ({zone.key})"
    before = f", compared with the {span(end - start)} before" if compared else ""
    return html.P(text + before, className="note period")


@contextmanager
def in_words(services: ConsoleServices, viewer: Viewer, view: PeriodView) -> Iterator[None]:
    """Says of a period that can't be shown what can, in the words and the zone of the filters."""
    try:
        yield
    except InvalidParameter as fault:
        if fault.param not in ("start", "end"):
            raise
        zone, days = viewer.zone(view.zone), services.statistics_options.window_days
        opens, (start, _) = window_opens(viewer.now, zone, days), view.bounds(viewer.now, zone)
        what = (
            "ends before it begins"
            if fault.param == "end"
            else f"begins more than {days} days ago"
            if start < opens
            else "begins in the future"
        )
        allowed = f"{writing.moment(opens, zone)} to now, {writing.moment(viewer.now, zone)} ({zone.key})"
        message = f"The period {what}. The allowed range is from {allowed}."
        raise InvalidParameter(message, param=fault.param) from None


def span(long: timedelta) -> str:
    """How long a period is, in the largest whole unit."""
    seconds = round(long.total_seconds()) + (round(long.total_seconds()) % 60 == 59)
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            return unit if seconds == size else writing.plural(seconds // size, unit)
    return "same time"
