"""The console as a WSGI app: Dash on its Flask server, to be mounted at /console (ARCHITECTURE, decision 6)."""

import hashlib
import logging
from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

from dash import MATCH, Dash, Input, Output, State, dcc, html, no_update
from dash._utils import to_json
from flask import Flask, render_template
from markupsafe import Markup

from dashboard import parts
from dashboard.actions import actions
from dashboard.compressed import compressed
from dashboard.downloads import downloads
from dashboard.filters import PREFIX, Address
from dashboard.reading import workspaces_of
from dashboard.services import ConsoleServices
from dashboard.session import current_access, sessions
from dashboard.viewer import Viewer, current_viewer
from dashboard.views import View, view_of
from metering.errors import Refused

log = logging.getLogger("nightrate.console")
HERE = Path(__file__).parent


class ConsoleDash(Dash):  # type: ignore[misc]
    """Dash in the console's own page frame."""

    console_services: ConsoleServices

    def interpolate_index(self, **parts_of_index: str) -> str:
        """The frame around Dash's root: navigation, dialogues and what the caller may see of them."""
        services, access = self.console_services, current_access()
        spaces = workspaces_of(services, access)
        who = "All workspaces" if access.is_admin else spaces[0].name
        return render_template(
            "shell.html",
            **{name: Markup(text) for name, text in parts_of_index.items()},  # noqa: S704  (made by Dash)
            admin=access.is_admin,
            who=who,
            workspaces=[w for w in spaces if not w.disabled],
            version=services.version,
            notice=services.notice,
            requests=f"{services.limits.requests_per_file:,}",
            megabytes=services.limits.file_bytes // 1_000_000,
        )


def console(services: ConsoleServices) -> WSGIApplication:
    """The console: mount it at /console. It asks nothing but the given services."""
    server = Flask("dashboard", root_path=str(HERE), static_folder=None)
    app = ConsoleDash(
        name="dashboard",
        server=server,
        routes_pathname_prefix="/",
        requests_pathname_prefix=f"{PREFIX}/",
        assets_folder=str(HERE / "assets"),
        assets_ignore=r"early\.js",
        serve_locally=True,
        suppress_callback_exceptions=True,
        update_title=None,
        title="Nightrate",
        add_log_handler=False,
    )
    app.console_services = services
    app.layout = _layout()
    _callbacks(app, services)
    hashes = list(app.csp_hashes())
    compressed(server)
    sessions(server, services, lambda: hashes)
    downloads(server, services)
    actions(server, services)
    return server.wsgi_app


def _layout() -> html.Div:
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Store(id="redraw"),
            html.Div(html.Div(className="skeleton"), id="page"),
        ]
    )


def _callbacks(app: Dash, services: ConsoleServices) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        Output("page", "children"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("redraw", "data"),
    )
    def page(pathname: str | None, search: str | None, _: Any) -> Any:
        viewer, address = current_viewer(services), Address.parse(pathname, search)
        return whole(services, viewer, address, view_of(address, viewer.access))

    @app.callback(  # type: ignore[untyped-decorator]
        Output({"part": "live", "at": MATCH}, "children"),
        Output({"part": "seen", "at": MATCH}, "data"),
        Input({"part": "beat", "at": MATCH}, "n_intervals"),
        State({"part": "beat", "at": MATCH}, "id"),
        State({"part": "seen", "at": MATCH}, "data"),
        prevent_initial_call=True,
    )
    def again(_: int, beat: dict[str, str], seen: str) -> Any:
        viewer, address = current_viewer(services), Address.of_href(beat["at"])
        return news(drawn(services, viewer, address, view_of(address, viewer.access)), seen)


def whole(services: ConsoleServices, viewer: Viewer, address: Address, view: View) -> list[Any]:
    """A page: what stays, what is drawn again by itself, and the beat of that."""
    here = address.href
    live = drawn(services, viewer, address, view)
    return [
        *_guarded(lambda: view.head(services, viewer, address), address),
        html.Div(live, id={"part": "live", "at": here}),
        dcc.Store(id={"part": "seen", "at": here}, data=digest(live)),
        dcc.Interval(id={"part": "beat", "at": here}, interval=view.every_ms, disabled=not view.every_ms),
    ]


def drawn(services: ConsoleServices, viewer: Viewer, address: Address, view: View) -> list[Any]:
    """The living part of a page, or why it can't be shown."""
    return _guarded(lambda: view.live(services, viewer, address), address)


def news(live: list[Any], seen: str) -> tuple[Any, Any]:
    """What is new since the browser's last picture; nothing if it is the same."""
    now = digest(live)
    return (no_update, no_update) if now == seen else (live, now)


def digest(live: list[Any]) -> str:
    """What tells two drawings apart."""
    return hashlib.sha256(to_json(live).encode()).hexdigest()[:16]


def _guarded(draw: Any, address: Address) -> list[Any]:
    try:
        made: list[Any] = draw()
    except Refused as refused:
        return [parts.problem(refused.message)]
    except Exception:
        log.exception("the console could not draw %s", address.path)
        return [
            parts.problem("This could not be shown just now. It is tried again by itself; the log says why.")
        ]
    return made
