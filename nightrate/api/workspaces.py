"""`/v1/workspaces…`: workspaces and their keys. All of it is the admin's (SPEC §3.4)."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict

from nightrate.auth import ADMIN_TAG
from nightrate.workspaces import Key, Workspace, Workspaces

T = TypeVar("T", bound="_Listed")

WorkspaceId = Annotated[str, Path(max_length=100, examples=["default"])]
KeyId = Annotated[str, Path(max_length=100)]
Limit = Annotated[int, Query(ge=1, le=1000)]
After = Annotated[str | None, Query(max_length=100, description="the id of the last row of the page before")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class WorkspaceChanges(_Body):
    """What can be set of a workspace; fields that are left out stay as they are."""

    name: str = ""
    disabled: bool = False
    currency: str | None = None
    budget: Decimal | None = None
    allowed_models: list[str] | None = None
    webhook_url: str | None = None


class NewWorkspace(_Body):
    """A new workspace."""

    name: str
    currency: str | None = None
    budget: Decimal | None = None
    allowed_models: list[str] | None = None
    webhook_url: str | None = None


class NewKey(_Body):
    """A new key; `expires_at` as Unix seconds or ISO 8601 with zone."""

    name: str
    expires_at: AwareDatetime | None = None


class _Listed(BaseModel):
    id: str


class WorkspaceReply(_Listed):
    """A workspace; `webhook_secret` stands only in the reply to the call that set `webhook_url`."""

    object: Literal["workspace"] = "workspace"
    name: str
    disabled: bool
    currency: str | None
    budget: str | None
    allowed_models: list[str] | None
    webhook_url: str | None
    created_at: int
    webhook_secret: str | None = None


class KeyReply(_Listed):
    """A key; `secret` stands only in the reply to the call that made it."""

    object: Literal["api_key"] = "api_key"
    workspace_id: str
    name: str
    prefix: str
    created_at: int
    expires_at: int | None
    revoked_at: int | None
    secret: str | None = None


class ListReply(BaseModel, Generic[T]):
    """A page of a list."""

    object: Literal["list"] = "list"
    data: list[T]
    has_more: bool
    first_id: str | None
    last_id: str | None


def router(workspaces: Workspaces) -> APIRouter:
    """The routes, over the given service."""
    routes = APIRouter(prefix="/v1/workspaces", tags=[ADMIN_TAG])

    @routes.post("", summary="Make a workspace")
    def create_workspace(body: NewWorkspace) -> WorkspaceReply:
        return _workspace(*workspaces.create(**body.model_dump(exclude_unset=True)))

    @routes.get("", summary="List workspaces")
    def list_workspaces(limit: Limit = 100, after: After = None) -> ListReply[WorkspaceReply]:
        page = workspaces.list(limit=limit, after=after)
        return _list([_workspace(workspace) for workspace in page.data], page.has_more)

    @routes.get("/{workspace_id}", summary="One workspace")
    def get_workspace(workspace_id: WorkspaceId) -> WorkspaceReply:
        return _workspace(workspaces.get(workspace_id))

    @routes.patch("/{workspace_id}", summary="Change a workspace")
    def change_workspace(workspace_id: WorkspaceId, body: WorkspaceChanges) -> WorkspaceReply:
        return _workspace(*workspaces.change(workspace_id, body.model_dump(exclude_unset=True)))

    @routes.post("/{workspace_id}/keys", summary="Make a key")
    def create_key(workspace_id: WorkspaceId, body: NewKey) -> KeyReply:
        return _key(*workspaces.create_key(workspace_id, body.name, body.expires_at))

    @routes.get("/{workspace_id}/keys", summary="List a workspace's keys")
    def list_keys(workspace_id: WorkspaceId, limit: Limit = 100, after: After = None) -> ListReply[KeyReply]:
        page = workspaces.keys(workspace_id, limit=limit, after=after)
        return _list([_key(key) for key in page.data], page.has_more)

    @routes.delete("/{workspace_id}/keys/{key_id}", summary="Revoke a key")
    def revoke_key(workspace_id: WorkspaceId, key_id: KeyId) -> KeyReply:
        return _key(workspaces.revoke_key(workspace_id, key_id))

    return routes


def _list(data: list[T], has_more: bool) -> ListReply[T]:
    ids = [row.id for row in data]
    return ListReply(
        data=data, has_more=has_more, first_id=ids[0] if ids else None, last_id=ids[-1] if ids else None
    )


def _seconds(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.astimezone(UTC).timestamp())


def _workspace(workspace: Workspace, webhook_secret: str | None = None) -> WorkspaceReply:
    values: dict[str, Any] = {
        name: getattr(workspace, name) for name in ("id", "name", "disabled", "currency", "webhook_url")
    }
    return WorkspaceReply(
        **values,
        budget=None if workspace.budget is None else format(_plain(workspace.budget), "f"),
        allowed_models=None if workspace.allowed_models is None else list(workspace.allowed_models),
        created_at=int(workspace.created_at.timestamp()),
        webhook_secret=webhook_secret,
    )


def _plain(amount: Decimal) -> Decimal:
    """Without the zeros that the column's fixed scale adds."""
    return amount.quantize(Decimal(1)) if amount == amount.to_integral_value() else amount.normalize()


def _key(key: Key, secret: str | None = None) -> KeyReply:
    return KeyReply(
        id=key.id,
        workspace_id=key.workspace_id,
        name=key.name,
        prefix=key.prefix,
        created_at=int(key.created_at.timestamp()),
        expires_at=_seconds(key.expires_at),
        revoked_at=_seconds(key.revoked_at),
        secret=secret,
    )
