"""What a page's browser asks the server, without a browser: Dash's two callbacks, written as it writes them."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import requests

from dashboard.drawing import HEAD
from dashboard.filters import PREFIX, Address
from dashboard.views import view_of
from metering.access import ADMIN
from tests.server import Server

LOOK = "..page.children...moment.data.."
DRAW = '..{"key":["MATCH"],"part":"live"}.tree...{"key":["MATCH"],"part":"seen"}.data..'


def look(path: str) -> dict[str, Any]:
    """The question for a page's frame."""
    pathname, _, search = f"{PREFIX}/{path}".partition("?")
    address = [_of("url", "pathname", pathname), _of("url", "search", f"?{search}" if search else "")]
    return {
        "output": LOOK,
        "outputs": [_of("page", "children"), _of("moment", "data")],
        "inputs": [*address, _of("redraw", "data", None), _of("beat", "data", None)],
        "changedPropIds": ["url.pathname"],
        "state": [_of("moment", "data", None)],
    }


def draw(path: str, key: str) -> dict[str, Any]:
    """The question for a section of a page."""
    place, seen = {"key": key, "part": "live"}, {"key": key, "part": "seen"}
    moment = {"href": f"{PREFIX}/{path}", "now": datetime.now(UTC).isoformat(), "version": ""}
    return {
        "output": DRAW,
        "outputs": [_of(place, "tree"), _of(seen, "data")],
        "inputs": [_of("moment", "data", moment)],
        "changedPropIds": ["moment.data"],
        "state": [_of(place, "id", place), _of(seen, "data", None)],
    }


def _of(identity: Any, name: str, *value: Any) -> dict[str, Any]:
    return {"id": identity, "property": name, **({"value": value[0]} if value else {})}


def questions(path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All that an admin's page asks, by what is drawn of the answer."""
    yield "frame", look(path)
    for key in (HEAD, *view_of(Address.of_href(f"{PREFIX}/{path}"), ADMIN).sections):
        yield key, draw(path, key)


def answer(server: Server, session: requests.Session, question: dict[str, Any]) -> bytes:
    """What Dash is told."""
    reply = session.post(f"{server.url}{PREFIX}/_dash-update-component", json=question, timeout=60)
    assert reply.status_code == 200, (reply.status_code, json.dumps(question), reply.text)
    return reply.content
