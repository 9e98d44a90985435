"""Settings, for the admin: workspaces and their keys, models and their upstreams."""

from typing import Any

from dash import dcc, html

from dashboard import parts, writing
from dashboard.filters import PREFIX, Address
from dashboard.parts import Column
from dashboard.reading import workspaces_of
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer

KEY_COLUMNS = (
    Column("Key"),
    Column("Begins with"),
    Column("Created", number=True),
    Column("State"),
    Column("Actions", number=True),
)
MODEL_COLUMNS = (
    Column("Model"),
    Column("Endpoints"),
    Column("Upstream"),
    Column("Health"),
    Column("At once", number=True),
)
MOST_KEYS = 1000


def head(_: ConsoleServices, __: Viewer, ___: Address) -> list[Any]:
    """Name, and the forms that make something; they stand still while the lists are drawn again."""
    return [parts.head("Settings", "Workspaces own keys, files, tasks and charges."), _new_workspace()]


def _new_workspace() -> html.Section:
    field = html.Label(["Name", dcc.Input(id={"field": "new-workspace"}, name="name", maxLength=100)])
    form = [field, html.Button("Create workspace", type="submit", className="btn"), _problem()]
    body = html.Form(form, className="inline", **parts.data(action=f"{PREFIX}/do/workspaces"))
    return parts.panel("New workspace", body)


def _problem() -> html.P:
    return html.P(className="problem", role="alert", hidden=True, **parts.data(problem=""))


def live(services: ConsoleServices, viewer: Viewer, _: Address) -> list[Any]:
    """The lists."""
    viewer.access.require_admin()
    spaces = [_workspace(services, viewer, w) for w in workspaces_of(services, viewer.access)]
    return [
        html.H2("Workspaces and keys"),
        *spaces,
        html.H2("Models and upstreams"),
        _models(services),
        _about(services),
    ]


def _workspace(services: ConsoleServices, viewer: Viewer, workspace: Any) -> html.Section:
    keys = services.workspaces.keys(workspace.id, limit=MOST_KEYS).data
    rows = [_key_row(viewer, workspace, key) for key in keys]
    table = (
        parts.table(f"Keys of {workspace.name}", KEY_COLUMNS, rows) if rows else parts.empty("No keys yet")
    )
    facts = [workspace.id, workspace.currency, "disabled" if workspace.disabled else None]
    if workspace.allowed_models is not None:
        facts.append("models: " + (", ".join(workspace.allowed_models) or "none"))
    note = " · ".join(f for f in facts if f)
    return parts.panel(workspace.name, [table, _new_key(workspace)], _switch(workspace), note=note)


def _new_key(workspace: Any) -> html.Form:
    field = dcc.Input(id={"field": f"new-key {workspace.id}"}, name="name", maxLength=100)
    return html.Form(
        [
            html.Label(["Key name", field]),
            html.Button("Create key", type="submit", className="btn"),
            _problem(),
        ],
        className="inline",
        **parts.data(action=f"{PREFIX}/do/workspaces/{workspace.id}/keys"),
    )


def _switch(workspace: Any) -> html.Button:
    if workspace.disabled:
        ask, because, yes = f"Enable {workspace.name}?", "Its keys work again.", "Enable"
    else:
        because = "Its keys are refused from now on, and its running tasks are cancelled."
        ask, yes = f"Disable {workspace.name}?", "Disable"
    does = f"{PREFIX}/do/workspaces/{workspace.id}/{yes.lower()}"
    asked = parts.data(ask=ask, because=because, yes=yes, no="Leave it", does=does)
    return html.Button(yes, className="link", type="button", **asked)


def _key_row(viewer: Viewer, workspace: Any, key: Any) -> html.Tr:
    zone = viewer.zone()
    expired = key.expires_at is not None and key.expires_at <= viewer.now
    state = "Revoked" if key.revoked_at else "Expired" if expired else "Active"
    asked = parts.data(
        ask=f"Revoke the key “{key.name}”?",
        because="Who uses it is refused at once. Its tasks go on.",
        yes="Revoke",
        no="Keep it",
        does=f"{PREFIX}/do/workspaces/{workspace.id}/keys/{key.id}/revoke",
    )
    revoke = html.Button("Revoke", className="link", type="button", **asked) if state == "Active" else None
    return parts.row(
        key.id,
        [
            parts.cell("name", html.Span(key.name, className="strong")),
            parts.cell("prefix", html.Code(f"{key.prefix}…")),
            parts.cell(
                "created_at",
                writing.moment(key.created_at, zone),
                key.created_at,
                number=True,
                classes="note",
            ),
            parts.cell("state", html.Span(state, className="pill ok" if state == "Active" else "pill")),
            parts.cell("actions", revoke, number=True),
        ],
    )


def _models(services: ConsoleServices) -> html.Section:
    health = services.upstreams_up()
    rows = []
    for name in services.catalog.allowed(None):
        options = services.catalog.get(name)
        assert options is not None
        places = [up for (model, up) in health if model == name] or ["built in"]
        rows += [
            _upstream_row(options, place, health.get((name, place), 1), first=not n)
            for n, place in enumerate(places)
        ]
    table = parts.table("Models and their upstreams", MODEL_COLUMNS, rows)
    return html.Section(table, className="panel", **{"aria-label": "Models and upstreams"})


def _upstream_row(options: Any, place: str, up: int, *, first: bool) -> html.Tr:
    word = html.Span("Answers" if up else "Outage", className="pill ok" if up else "pill no")
    free = html.Span(" free", className="note") if options.free else None
    return parts.row(
        options.name if first else None,
        [
            parts.cell("model", [html.Span(options.name, className="strong"), free] if first else ""),
            parts.cell("endpoints", ", ".join(options.endpoints) if first else "", classes="note"),
            parts.cell("upstream", html.Code(place)),
            parts.cell("upstream_up", word, up),
            parts.cell(
                "max_concurrency", writing.count(options.max_concurrency) if first else "", number=True
            ),
        ],
    )


def _about(services: ConsoleServices) -> html.P:
    return html.P(
        ["Nightrate ", services.version, "; the data lies in ", html.Code(services.data_folder)],
        className="note",
    )
