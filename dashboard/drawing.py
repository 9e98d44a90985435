"""How a page is drawn: first its frame, then each section by a callback of its own, again when something changed."""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from dash import dcc, html
from dash._utils import to_json

from dashboard import parts
from dashboard.component import Tree, tree
from dashboard.filters import Address
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from dashboard.views import View, view_of
from metering.errors import Refused

log = logging.getLogger("nightrate.console")
HEAD = "head"
FAILED = "This could not be shown just now. It is tried again by itself; the log says why."
LATEST = timedelta(minutes=2)
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A section as it was drawn, as plain values, and what tells it from another drawing."""

    tree: list[Any]
    digest: str


def moment_of(services: ConsoleServices, viewer: Viewer, address: Address, *, asked: bool) -> Json:
    """What all sections of a page are drawn by: one place, one moment, one state of the data.

    `asked`: by a step of the viewer's own rather than by the page's looking; then what they did just now is in it.
    """
    return {
        "href": address.href,
        "path": address.path,
        "now": viewer.now.isoformat(),
        "version": view_of(address, viewer.access).version(services, viewer, asked),
    }


def frame(address: Address, view: View) -> html.Div:
    """A page before its sections are drawn; the browser reads from it how often to look."""
    slots = {key: slot(key) for key in view.sections}
    return html.Div(
        [slot(HEAD), *view.frame(slots)], key=address.path, **parts.data(page="", every=view.every_ms)
    )


def slot(key: str) -> html.Div:
    """The place of a section, with a breathing block of about its size until it is there.

    A section is drawn again as another value of a component that stays, since children that Dash is told anew
    are new elements: then what somebody types there, and where they stand, would be lost.
    """
    waiting = html.Div(className=f"skeleton of-{key}", **{"aria-hidden": "true"})
    live = html.Div(Tree(id={"part": "live", "key": key}, tree=tree(waiting)), className=f"slot of-{key}")
    return html.Div([live, dcc.Store(id={"part": "seen", "key": key})], className="place")


def at_moment(viewer: Viewer, moment: Json) -> Viewer:
    """The viewer at the moment of a page, which is told by the browser: only one that was just now is taken."""
    try:
        told = datetime.fromisoformat(str(moment["now"]))
        near = timedelta() <= viewer.now - told < LATEST
    except (ValueError, TypeError, KeyError):
        return viewer
    return replace(viewer, now=told, version=str(moment.get("version", ""))) if near else viewer


def section(services: ConsoleServices, viewer: Viewer, moment: Json, key: str) -> Drawn | None:
    """A section of the page of a moment; none if that page has none of this name."""
    address, at = Address.of_href(str(moment["href"])), at_moment(viewer, moment)
    view = view_of(address, viewer.access)
    draw = view.head if key == HEAD else view.sections.get(key)
    if draw is None:
        return None
    try:
        return _remembered(services, at, address, key, lambda: _drawn(draw(services, at, address)))
    except Refused as refused:
        return _drawn([parts.problem(refused.message)])
    except Exception:
        log.exception("the console could not draw %s", address.path)
        return _drawn([parts.problem(FAILED, **parts.data(again=""))])


def _remembered(
    services: ConsoleServices, at: Viewer, address: Address, key: str, draw: Callable[[], Drawn]
) -> Drawn:
    """A second console that shows the same is told the same."""
    if not at.version:
        return draw()
    known = ("drawn", key, address.href, at.version, at.access, at.theme.name, at.zone_name, at.browser_zone)
    return services.recall.once(known, draw)


def _drawn(children: list[Any]) -> Drawn:
    told = tree(children)
    return Drawn(told, hashlib.sha256(to_json(told).encode()).hexdigest()[:16])
