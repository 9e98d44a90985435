"""The lake read as if it were one node's tables."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from metering.access import ADMIN
from metering.closing import Closing
from metering.lake.tables import LakeTables
from metering.options import BillingOptions
from metering.statements import Statements
from tests.metering.lakes import Node, Shared
from tests.postgres import Postgres

BILLING = BillingOptions()


def test_a_month_that_one_node_has_closed(tmp_path: Path, postgres: Postgres) -> None:
    """Of all nodes it stays a draft without a number; the node's numbered statement is in the lake as it was frozen."""
    lake = Shared(tmp_path, postgres.database())
    closed, still_open = (Node(tmp_path / name, lake, name) for name in "ab")
    exact = []
    for node in (closed, still_open):
        node.store.write(lambda tx, name=node.name: tx.insert("workspaces", [workspace("default", name)]))
        node.end(1, calls=20, failed=3)
        node.correct(1)
        node.clock.now = datetime(2026, 12, 1, 1, tzinfo=UTC)
        node.end("december")
        exact += [one["exact_amount"] for one in Statements(node.store, BILLING).of(ADMIN, "2026-11")]
    statements = Statements(closed.store, BILLING)
    Closing(closed.store, statements, closed.meter, BILLING, closed.clock).close(ADMIN, "2026-11")
    for node, seconds in ((closed, 1), (still_open, 2)):
        node.clock.advance(seconds=seconds)
        node.publisher.publish()

    tables = LakeTables(lake.options)
    [both] = Statements(tables, BILLING).of(ADMIN, "2026-11")
    assert (both["number"], both["status"], both["customer"]) == (None, "draft", "b")
    assert Decimal(both["exact_amount"]) == sum(map(Decimal, exact))
    [own] = statements.of(ADMIN, "2026-11")
    assert lake.find("SELECT node, number, sha256 FROM statements") == [("a", "NR-000001", own["sha256"])]
    for opened in (closed, still_open, tables, lake):
        opened.close()


def workspace(identity: str, name: str) -> dict[str, object]:
    """A row of the table; the node that published last says its name."""
    created = datetime(2026, 1, 1, tzinfo=UTC)
    return {"id": identity, "name": name, "disabled": False, "created_at": created}
