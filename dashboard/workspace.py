"""One workspace in Settings: its keys, and what can be set of it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from dash import html

from dashboard import parts, writing
from dashboard.field import Field
from dashboard.filters import PREFIX
from dashboard.parts import Column
from dashboard.services import ConsoleServices
from dashboard.viewer import Viewer
from metering.errors import InvalidParameter

KEY_COLUMNS = (
    Column("Key"),
    Column("Begins with"),
    Column("Created", number=True),
    Column("Expires", number=True),
    Column("State"),
    Column("Actions", number=True),
)
MOST_KEYS = 100
LIVES = {"": "never", "30": "in 30 days", "90": "in 90 days", "365": "in a year"}
"""Days after which a new key expires, as they are offered."""


def keys(services: ConsoleServices, viewer: Viewer, workspace: Any) -> html.Section:
    """Keys without their secrets, and the form that makes one."""
    page = services.workspaces.keys(workspace.id, limit=MOST_KEYS)
    rows = [_key_row(viewer, workspace, key) for key in page.data]
    title = f"Keys of {workspace.name}"
    table = (
        parts.table(title, KEY_COLUMNS, rows)
        if rows
        else parts.empty("No keys yet", "Its name tells who uses it.")
    )
    form = parts.small_form(
        f"{PREFIX}/do/workspaces/{workspace.id}/keys",
        "Create key",
        parts.entry("Key name", "name", "", maxLength="100"),
        parts.choice("Expires", "days", LIVES.items(), ""),
    )
    note = (
        f"the first {MOST_KEYS}; all are in the API"
        if page.has_more
        else "a secret is shown once, when it is made"
    )
    return parts.panel(title, [table, form], note=note)


def expiry(days: str, now: datetime) -> datetime | None:
    """When a key of so many days expires; none for one that never does."""
    return now + timedelta(days=int(days)) if days and days in LIVES else None


def asked_terms(body: Mapping[str, Any]) -> dict[str, Any]:
    """What a form of `terms` asks for; an empty field means none."""
    given = {name: str(body.get(name, "")).strip() for name in ("name", "currency", "budget", "webhook_url")}
    chosen = body.get("allowed_models", [])
    every = body.get("all_models") == "yes" or not isinstance(chosen, list)
    try:
        budget = Decimal(given["budget"].replace(",", "")) if given["budget"] else None
    except InvalidOperation:
        raise InvalidParameter("Write the budget as an amount, such as 250.00.", param="budget") from None
    return {
        "name": given["name"],
        "currency": given["currency"].upper() or None,
        "budget": budget,
        "webhook_url": given["webhook_url"] or None,
        "allowed_models": None if every else tuple(str(name) for name in chosen),
    }


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
    named = {"aria-label": f"Revoke {key.name}"}
    revoke = (
        html.Button("Revoke", className="link", type="button", **asked, **named)
        if state == "Active"
        else None
    )
    expires = writing.moment(key.expires_at, zone) if key.expires_at else "never"
    return parts.row(
        key.id,
        [
            parts.cell("name", html.Div(key.name, className="name")),
            parts.cell("prefix", html.Code(f"{key.prefix}…")),
            parts.cell(
                "created_at",
                writing.moment(key.created_at, zone),
                key.created_at,
                number=True,
                classes="note",
            ),
            parts.cell("expires_at", expires, key.expires_at, number=True, classes="note"),
            parts.cell("state", html.Span(state, className="pill ok" if state == "Active" else "pill")),
            parts.cell("actions", revoke, number=True, classes="last"),
        ],
    )


def terms(services: ConsoleServices, workspace: Any) -> html.Section:
    """The form of what can be set."""
    budget = "" if workspace.budget is None else writing.exact(Decimal(workspace.budget))
    fields = [
        parts.entry("Workspace name", "name", workspace.name, maxLength="100"),
        parts.entry(
            "Currency",
            "currency",
            workspace.currency or "",
            size="short",
            hint=services.billing.currency or "USD",
            maxLength="3",
        ),
        parts.entry("Budget a month", "budget", budget, size="short", hint="none", inputMode="decimal"),
        parts.entry(
            "Webhook URL",
            "webhook_url",
            workspace.webhook_url or "",
            size="wide",
            hint="https://…",
            kind="url",
        ),
    ]
    form = parts.small_form(
        f"{PREFIX}/do/workspaces/{workspace.id}/change",
        "Save",
        *fields,
        _models(services, workspace),
        many="allowed_models",
    )
    note = "an empty field means none; a currency can't change once there are charges"
    return parts.panel(f"Terms of {workspace.name}", form, note=note)


def _models(services: ConsoleServices, workspace: Any) -> html.Fieldset:
    allowed = workspace.allowed_models
    every = _tick("all_models", "yes", "Every model, also those to come", allowed is None)
    each = [
        _tick("allowed_models", name, name, allowed is None or name in allowed)
        for name in services.catalog.allowed(None)
    ]
    legend = html.Legend("Models that its keys may use")
    return html.Fieldset([legend, every, html.Div(each, className="ticks")], className="models")


def _tick(name: str, value: str, label: str, checked: bool) -> html.Label:
    return html.Label(
        [Field(name=name, type="checkbox", value=value, checked=checked), label], className="tick"
    )
