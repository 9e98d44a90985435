"""What the console is given by the front door: workspaces as it sees them, and who may go on with a session."""

from collections.abc import Sequence

from metering.errors import NotFound
from nightrate.workspaces import Key, Workspace, Workspaces

ALL = 100_000


class ConsoleWorkspaces:
    """The workspaces in the console's words (`dashboard.services.Workspaces`)."""

    def __init__(self, workspaces: Workspaces) -> None:
        self._workspaces = workspaces

    def get(self, workspace_id: str) -> Workspace | None:
        """One workspace, or none."""
        try:
            return self._workspaces.get(workspace_id)
        except NotFound:
            return None

    def all(self) -> Sequence[Workspace]:
        """Every workspace, `default` first."""
        return self._workspaces.list(limit=ALL).data

    def create(self, name: str) -> Workspace:
        """Makes a workspace."""
        return self._workspaces.create(name)[0]

    def set_disabled(self, workspace_id: str, disabled: bool) -> None:
        """Refuses or allows a workspace's keys; running tasks of a disabled one are cancelled."""
        self._workspaces.change(workspace_id, {"disabled": disabled})

    def keys(self, workspace_id: str) -> Sequence[Key]:
        """A workspace's keys, the newest first, revoked ones included."""
        return self._workspaces.keys(workspace_id, limit=ALL).data[::-1]

    def create_key(self, workspace_id: str, name: str) -> tuple[Key, str]:
        """Makes a key; the second part is its secret, which can't be read again."""
        return self._workspaces.create_key(workspace_id, name)

    def revoke_key(self, workspace_id: str, key_id: str) -> None:
        """Stops a key for good."""
        self._workspaces.revoke_key(workspace_id, key_id)
