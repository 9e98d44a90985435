"""The console as a WSGI app: Dash on its Flask server, to be mounted at /console (ARCHITECTURE, decision 6)."""

from pathlib import Path
from typing import Any
from wsgiref.types import WSGIApplication

from dash import MATCH, Dash, Input, Output, State, ctx, dcc, html, no_update
from flask import Flask, render_template
from markupsafe import Markup

from dashboard.actions import actions
from dashboard.compressed import compressed
from dashboard.downloads import downloads
from dashboard.drawing import Json, frame, moment_of, section
from dashboard.filters import PREFIX, Address
from dashboard.period import ZONES
from dashboard.plot import SCRIPT_PATH, plotly_script
from dashboard.reading import workspaces_of
from dashboard.services import ConsoleServices
from dashboard.session import sessions
from dashboard.viewer import Viewer, current_viewer
from dashboard.views import view_of

HERE = Path(__file__).parent


class ConsoleDash(Dash):  # type: ignore[misc]
    """Dash in the console's own page frame."""

    console_services: ConsoleServices

    def interpolate_index(self, **parts_of_index: str) -> str:
        """The frame around Dash's root: navigation, dialogues and what the caller may see of them."""
        services, viewer = self.console_services, current_viewer(self.console_services)
        access = viewer.access
        spaces = workspaces_of(services, access)
        who = "All workspaces" if access.is_admin else spaces[0].name
        return render_template(
            "shell.html",
            **{name: Markup(text) for name, text in parts_of_index.items()},  # noqa: S704  (made by Dash)
            admin=access.is_admin,
            who=who,
            workspaces=[w for w in spaces if not w.disabled],
            version=services.version,
            plotly=PREFIX + SCRIPT_PATH,
            zone=viewer.zone_name,
            zones=sorted({*ZONES, viewer.zone_name}, key=lambda name: (name not in ZONES[:2], name)),
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
    plotly_script(server)
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
            dcc.Store(id="beat"),
            dcc.Store(id="moment"),
            html.Div(html.Div(className="skeleton"), id="page"),
        ]
    )


def _callbacks(app: Dash, services: ConsoleServices) -> None:
    @app.callback(  # type: ignore[untyped-decorator]
        Output("page", "children"),
        Output("moment", "data"),
        Input("url", "pathname"),
        Input("url", "search"),
        Input("redraw", "data"),
        Input("beat", "data"),
        State("moment", "data"),
    )
    def look(pathname: str | None, search: str | None, _: Any, __: Any, before: Json | None) -> Any:
        viewer, address = current_viewer(services), Address.parse(pathname, search)
        asked = ctx.triggered_prop_ids.keys() != {"beat.data"}  # a look and a step may come together
        now = moment_of(services, viewer, address, asked=asked)
        return news(viewer, address, before or {}, now, forced=asked)

    @app.callback(  # type: ignore[untyped-decorator]
        Output({"part": "live", "key": MATCH}, "tree"),
        Output({"part": "seen", "key": MATCH}, "data"),
        Input("moment", "data"),
        State({"part": "live", "key": MATCH}, "id"),
        State({"part": "seen", "key": MATCH}, "data"),
    )
    def draw(moment: Json | None, place: dict[str, str], seen: str | None) -> Any:
        drawn = section(services, current_viewer(services), moment or {}, place["key"])
        if drawn is None or drawn.digest == seen:
            return no_update, no_update
        return drawn.tree, drawn.digest


def news(viewer: Viewer, address: Address, before: Json, now: Json, *, forced: bool) -> tuple[Any, Any]:
    """A frame if the page is another one, and a moment if there is anything to draw again."""
    same_path = before.get("path") == now["path"]
    if (
        same_path
        and not forced
        and (before.get("href"), before.get("version")) == (now["href"], now["version"])
    ):
        return no_update, no_update
    return no_update if same_path else frame(address, view_of(address, viewer.access)), now
