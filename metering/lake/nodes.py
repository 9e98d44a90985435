"""The same service over this node and over all nodes of its lake, and which of them a caller means."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from metering.access import Access
from metering.errors import InvalidParameter

T = TypeVar("T")

THIS, ALL = "this", "all"
NODES = (THIS, ALL)


@dataclass(frozen=True, slots=True)
class OfNodes(Generic[T]):
    """What is asked `nodes=this` or `nodes=all`."""

    own: T
    of_all: Callable[[], T] | None = None
    """Makes the one over the lake; none where there is no lake."""

    def of(self, access: Access, nodes: str | None) -> T:
        """The service that is meant; only the admin may ask about all nodes."""
        if nodes in (None, THIS):
            return self.own
        if nodes != ALL:
            raise InvalidParameter("nodes must be this or all.", param="nodes")
        access.require_admin()
        if self.of_all is None:
            raise InvalidParameter(
                "This node knows of no others: it has no lake that they share (storage.lake).",
                param="nodes",
                code="no_lake",
            )
        return self.of_all()
