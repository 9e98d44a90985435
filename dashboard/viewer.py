"""Who looks at a page and how: read from the request, once, at the beginning of each callback and route."""

from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote
from zoneinfo import ZoneInfo

from flask import request

from dashboard.filters import zone_of
from dashboard.services import ConsoleServices
from dashboard.session import current_access
from dashboard.theme import Theme, theme_of
from metering.access import Access
from metering.errors import InvalidParameter


@dataclass(frozen=True, slots=True)
class Viewer:
    """A caller and the way they want to see things."""

    access: Access
    theme: Theme
    zone_name: str
    """The zone chosen last: `UTC`, `browser` or an IANA name."""
    browser_zone: str
    """The IANA name that the browser gave, or nothing."""
    now: datetime
    version: str = ""
    """The state of the data that is looked at; nothing if it isn't known and nothing may be remembered."""

    def zone(self, name: str | None = None) -> ZoneInfo:
        """The zone of a name, by default the chosen one."""
        return zone_of(name or self.zone_name, self.browser_zone)


def current_viewer(services: ConsoleServices) -> Viewer:
    """The viewer of this request, from its session and the cookies of assets/early.js."""
    browser = unquote(request.cookies.get("nightrate_zone", ""))
    chosen = unquote(request.cookies.get("nightrate_chosen_zone", "")) or "UTC"
    try:
        zone_of(chosen, browser)
    except InvalidParameter:
        chosen = "UTC"
    theme = theme_of(request.cookies.get("nightrate_theme"))
    return Viewer(current_access(), theme, chosen, browser, services.clock())
