"""Settings, for the admin: workspaces, their terms and keys, models with their upstreams and prices."""

from collections.abc import Mapping, Sequence
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.filters import PREFIX, Address
from dashboard.paging import paged
from dashboard.parts import Column
from dashboard.reading import workspaces_of
from dashboard.services import ConsoleServices
from dashboard.upstreams import upstreams
from dashboard.viewer import Viewer
from dashboard.workspace import keys, terms
from metering.access import DEFAULT_WORKSPACE
from metering.errors import NotFound

COLUMNS = (
    Column("Workspace"),
    Column("Currency"),
    Column("Budget this month", number=True),
    Column("Models"),
    Column("State"),
    Column("Actions", number=True),
)


def head(_: ConsoleServices, viewer: Viewer, __: Address) -> list[Any]:
    """The page's name."""
    viewer.access.require_admin()
    return [parts.head("Settings", "Workspaces own keys, files, tasks and charges.")]


def workspaces(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """All workspaces, and the form that makes one."""
    viewer.access.require_admin()
    every, budgets = workspaces_of(services, viewer.access), budget_words(services, viewer)
    shown, ways = paged("the workspaces", every, address)
    rows = [_row(services, w, budgets.get(w.id), address) for w in shown]
    body = [parts.table("Workspaces", COLUMNS, rows), *ways]
    form = parts.small_form(
        f"{PREFIX}/do/workspaces", "Create workspace", parts.entry("Name", "name", "", maxLength="100")
    )
    return [parts.panel("Workspaces", [*body, form], classes="tight")]


def budget_words(services: ConsoleServices, viewer: Viewer) -> Mapping[str, str]:
    """What is used of each budget, by workspace."""
    return {
        use.workspace_id: f"{writing.money(use.used, use.currency)} of {writing.money(use.budget)}"
        for use in services.budgets.uses(viewer.access)
    }


def _row(services: ConsoleServices, workspace: Any, budget: str | None, address: Address) -> html.Tr:
    models = workspace.allowed_models
    offered = "all" if models is None else ", ".join(models) or "none"
    state = html.Span(
        "Disabled" if workspace.disabled else "Active", className="pill" if workspace.disabled else "pill ok"
    )
    usual = services.billing.currency or "the model’s"
    chosen = workspace.id == chosen_workspace(address)
    manage = parts.turn(
        "Manage",
        address,
        {"workspace": workspace.id},
        **{"aria-label": f"Manage {workspace.name}"},
        **({"aria-current": "true"} if chosen else {}),
    )
    name = [
        html.Div(workspace.name, className="name"),
        html.Div(workspace.id, className="id"),
    ]
    return parts.row(
        workspace.id,
        [
            parts.cell("name", name, workspace.name),
            parts.cell(
                "currency", workspace.currency or html.Span(usual, className="note"), workspace.currency
            ),
            parts.cell(
                "budget", budget or html.Span("none", className="note"), workspace.budget, number=True
            ),
            parts.cell("allowed_models", html.Div(offered, className="cut")),
            parts.cell("disabled", state, workspace.disabled),
            parts.cell("actions", [manage, " ", _switch(workspace)], number=True, classes="last"),
        ],
        "chosen" if chosen else "",
    )


def _switch(workspace: Any) -> html.Button:
    if workspace.disabled:
        ask, because, yes = f"Enable {workspace.name}?", "Its keys work again.", "Enable"
    else:
        because = "Its keys are refused from now on, and its running tasks are cancelled."
        ask, yes = f"Disable {workspace.name}?", "Disable"
    does = f"{PREFIX}/do/workspaces/{workspace.id}/{yes.lower()}"
    asked = parts.data(ask=ask, because=because, yes=yes, no="Leave it", does=does)
    named = {"aria-label": f"{yes} {workspace.name}"}
    return html.Button(yes, className="link", type="button", **asked, **named)


def chosen_workspace(address: Address) -> str:
    """The workspace that is managed."""
    return address.get("workspace", DEFAULT_WORKSPACE)


def _chosen(services: ConsoleServices, viewer: Viewer, address: Address) -> Any | None:
    viewer.access.require_admin()
    try:
        return services.workspaces.get(chosen_workspace(address))
    except NotFound:
        return None


def keys_of_chosen(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """The keys of the workspace that is managed."""
    workspace = _chosen(services, viewer, address)
    return (
        [keys(services, viewer, workspace)]
        if workspace is not None
        else [parts.problem("There is no such workspace.")]
    )


def terms_of_chosen(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """What can be set of the workspace that is managed."""
    workspace = _chosen(services, viewer, address)
    return [terms(services, workspace)] if workspace is not None else []


def models(services: ConsoleServices, viewer: Viewer, address: Address) -> list[Any]:
    """Every model with its upstreams and its price."""
    viewer.access.require_admin()
    return [upstreams(services, address)]


def about(services: ConsoleServices, _: Viewer, __: Address) -> list[Any]:
    """What runs here, and where its data lies."""
    said: Sequence[Any] = [
        "Nightrate ",
        services.version,
        "; the data lies in ",
        html.Code(services.data_folder),
    ]
    return [html.P(said, className="note")]


SECTIONS = {
    "workspaces": workspaces,
    "keys": keys_of_chosen,
    "terms": terms_of_chosen,
    "upstreams": models,
    "about": about,
}
