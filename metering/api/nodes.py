"""The parameter `nodes`, of routes that can answer for all nodes of a lake."""

from typing import Annotated

from fastapi import Query

from metering.lake.nodes import NODES

Nodes = Annotated[
    str | None,
    Query(
        description="The admin's: `all` nodes that publish to this one's lake, as far as they have; else `this` one.",
        json_schema_extra={"enum": list(NODES)},
    ),
]
