"""What intake has to know of the workspace that a file or task belongs to."""

import json
from dataclasses import dataclass

from metering.access import Access
from metering.errors import Forbidden, NotFound
from metering.store import Reader


@dataclass(frozen=True, slots=True)
class Owner:
    """A workspace, as far as it decides about files and tasks."""

    id: str
    disabled: bool
    currency: str | None
    allowed_models: frozenset[str] | None
    """None means all."""


def owner_of(reader: Reader, workspace_id: str) -> Owner:
    """The workspace of that id; an unknown one is `NotFound`."""
    row = reader.one("owners.one", id=workspace_id)
    if row is None:
        raise NotFound("workspace", workspace_id, param="workspace_id")
    models = row["allowed_models"]
    allowed = None if models is None else frozenset(json.loads(models))
    return Owner(row["id"], row["disabled"], row["currency"], allowed)


def enabled_owner(reader: Reader, access: Access, workspace_id: str | None) -> Owner:
    """The workspace in which the caller makes something new; a disabled one is `Forbidden`."""
    owner = owner_of(reader, access.home(workspace_id))
    if owner.disabled:
        raise Forbidden(f"The workspace {owner.id!r} is disabled; an admin can enable it.")
    return owner
