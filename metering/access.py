"""Who is asking, and what they may see (SPEC §2.7)."""

from dataclasses import dataclass

from metering.errors import Forbidden, NotFound

DEFAULT_WORKSPACE = "default"


@dataclass(frozen=True, slots=True)
class Access:
    """A caller whose key was checked. The admin sees every workspace, anyone else their own."""

    workspace_id: str | None
    """None for the admin."""
    key_id: str | None
    """None for the admin key."""

    @property
    def is_admin(self) -> bool:
        """Whether every workspace may be seen."""
        return self.workspace_id is None

    def require_admin(self) -> None:
        """Refuses everyone but the admin."""
        if not self.is_admin:
            raise Forbidden("This needs the admin key; a workspace's key may not do it.")

    def visible(self, asked: str | None = None) -> str | None:
        """The workspace to filter by, None for all. A workspace's key that names another gets 404."""
        if self.workspace_id is None:
            return asked
        if asked not in (None, self.workspace_id):
            raise NotFound("workspace", str(asked), param="workspace_id")
        return self.workspace_id

    def home(self, asked: str | None = None) -> str:
        """The workspace in which something new is made."""
        return self.visible(asked) or DEFAULT_WORKSPACE


ADMIN = Access(workspace_id=None, key_id=None)
