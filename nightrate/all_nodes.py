"""Statistics, statements and exports of this node and of all nodes that share its lake."""

from dataclasses import dataclass

from metering.exports import Exports
from metering.lake.nodes import OfNodes
from metering.lake.tables import LakeTables
from metering.statements import Statements
from metering.statistics import Statistics
from nightrate.services import Services


@dataclass(frozen=True, slots=True)
class AllNodes:
    """Each as the routes ask for it."""

    statistics: OfNodes[Statistics]
    statements: OfNodes[Statements]
    exports: OfNodes[Exports]


def all_nodes(services: Services) -> AllNodes:
    """Wires them; the lake is looked for when it is asked for."""
    statistics, statements, exports = services.statistics, services.books.statements, services.exports
    settings, clock = services.settings, services.clock
    if settings.storage.lake is None:
        return AllNodes(OfNodes(statistics), OfNodes(statements), OfNodes(exports))
    tables = LakeTables(settings.storage)
    return AllNodes(
        # Made anew for each answer: it keeps hours that are over, and to them another node may still add.
        OfNodes(statistics, lambda: Statistics(tables, settings.statistics, clock)),
        OfNodes(statements, lambda: Statements(tables, settings.billing)),
        OfNodes(exports, lambda: Exports(tables, settings.billing, clock)),
    )
