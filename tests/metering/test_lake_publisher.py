"""What a node publishes stands in the lake once, whatever happens on the way. Over a real PostgreSQL."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from metering.connection import DUCKDB_VERSION
from metering.failures import LakeFailed, LakeRefused
from metering.lake.extensions import ExtensionsMissing, extension_files
from metering.lake.publisher import Publisher
from tests.metering.lakes import Node, Shared
from tests.postgres import Postgres

TABLES = ("task_rollups", "task_errors", "charges", "request_events", "price_versions", "statements")


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> Iterator[Shared]:
    lake = Shared(tmp_path_factory.mktemp("shared"), postgres.database())
    yield lake
    lake.close()


_names = (f"n{number}" for number in count())


@pytest.fixture
def node(tmp_path: Path, lake: Shared) -> Iterator[Node]:
    """Another one for each test, with tasks of its own."""
    node = Node(tmp_path / "a", lake, next(_names))
    yield node
    node.close()


def assert_whole(*nodes: Node) -> None:
    """What the lake has of these nodes is what they have, row for row."""
    names = ", ".join(f"'{node.name}'" for node in nodes)
    for table in TABLES:
        here = [(node.name, *row) for node in nodes for row in node.rows(f"FROM {table}")]
        there = nodes[0].lake.find(f"FROM {table} WHERE node IN ({names})")
        assert sorted(map(repr, there)) == sorted(map(repr, here)), table


def test_what_ended_is_in_the_lake(node: Node) -> None:
    """Rollups, errors, charges and events of ended tasks, with the node's name; a second round adds nothing."""
    for number in range(3):
        node.end(number, calls=20)
    assert node.publisher.publish().tasks == 3
    assert node.publisher.publish().tasks == 0
    assert_whole(node)
    there = node.lake.find(f"SELECT count(*), sum(amount) FROM charges WHERE node = '{node.name}'")
    assert there == node.rows("SELECT count(*), sum(amount) FROM charges")


def test_tasks_that_end_at_one_moment_are_published_whenever_they_come(node: Node) -> None:
    """A clock that was set back gives many tasks one moment: none is left out, none comes twice."""
    node.end(1)
    node.publisher.publish()
    for number in (2, 3):
        node.end_now(number)
        assert node.publisher.publish().tasks == 1
    assert node.another().publish().tasks == 0
    assert_whole(node)


def test_a_correction_follows_what_it_corrects(tmp_path: Path, lake: Shared) -> None:
    """However small the rounds are, no round shows a correction without its original; the sums end equal."""
    node = Node(tmp_path / "a", lake, next(_names), lake_events_at_once=3)
    for number in range(3):
        node.end(number)
        node.correct(number)
    waiting = 1
    while waiting:
        waiting = node.publisher.publish().waiting
        alone = "SELECT count(*) FROM charges WHERE corrects NOT IN (SELECT charge_id FROM charges)"
        assert lake.find(alone) == [(0,)]
    assert_whole(node)
    node.close()


class Stopped(Exception):
    """As if the process ended here."""


@pytest.mark.parametrize("place", ["publication.compared", "publication.added", "publication.stored"])
def test_a_round_that_breaks_off_leaves_all_or_nothing(node: Node, place: str) -> None:
    """Wherever it ends, the next start publishes what is missing and nothing else."""

    def reached(name: str) -> None:
        if name == place:
            raise Stopped

    for number in range(3):
        node.end(number, calls=20)
    with pytest.raises(Stopped):
        node.another(reached=reached).publish()
    assert node.another().publish().tasks == (0 if place == "publication.stored" else 3)
    assert_whole(node)


def overtaken(other: Publisher) -> Callable[[str], None]:
    """Lets another round be done between a round's rows and its commit."""

    def reached(name: str) -> None:
        if name == "publication.added":
            other.publish()

    return reached


def test_two_rounds_of_one_node_at_once(node: Node) -> None:
    """A round that hung and comes through late is refused if the next one was done meanwhile."""
    for number in range(3):
        node.end(number, calls=20)
    late = node.another(reached=overtaken(node.another()))
    with pytest.raises(LakeFailed, match="conflict"):
        late.publish()
    assert node.another().publish().tasks == 0
    assert_whole(node)


def test_two_nodes_share_a_lake(tmp_path: Path, lake: Shared) -> None:
    """They publish at once, and the lake holds both, told apart by the node."""
    first, second = (Node(tmp_path / name, lake, name) for name in (next(_names), next(_names)))
    for node in (first, second):
        node.end(1, calls=20)
        node.correct(1)
    first.another(reached=overtaken(second.publisher)).publish()
    second.end(2)
    first.end(2)
    first.another(reached=overtaken(second.publisher)).publish()
    assert_whole(first, second)
    for node in (first, second):
        node.close()


def test_a_data_folder_that_was_put_back(tmp_path: Path, node: Node) -> None:
    """A node that was restored from an older state publishes what ended since, though the lake was further."""
    node.end(1)
    ahead = Node(tmp_path / "ahead", node.lake, node.name)
    ahead.clock.advance(hours=2)
    ahead.end("gone")
    assert ahead.publisher.publish().tasks == 1
    node.end(2)
    assert node.publisher.publish().tasks == 2
    found = node.lake.find(f"SELECT task_id FROM task_rollups WHERE node = '{node.name}' ORDER BY 1")
    assert found == [(f"{node.name}_{task}",) for task in (1, 2, "gone")]
    ahead.close()


def test_upkeep_changes_no_row(node: Node) -> None:
    """Small files are merged while nodes go on publishing."""
    for number in range(2):
        node.end(number, calls=20)
        node.publisher.publish()
    assert node.lake.find("CALL ducklake_merge_adjacent_files('lake')")
    node.end(2, calls=20)
    assert node.publisher.publish().tasks == 1
    assert_whole(node)


def test_a_lake_of_another_zone_is_refused(node: Node) -> None:
    """Months that begin at other hours can't be summed."""
    node.publisher.publish()
    with pytest.raises(LakeRefused, match=r"Asia/Shanghai.*billing\.timezone"):
        Publisher(node.store, node.lake, node.options, "Asia/Shanghai", "b", node.clock).publish()


def test_a_lake_that_is_lost_gets_everything_again(node: Node, postgres: Postgres, tmp_path: Path) -> None:
    """What was published is known by the lake alone: another one gets it all, and while it is down nothing is lost."""
    node.end(1)
    node.publisher.publish()
    node.lake = Shared(tmp_path / "another", postgres.database())
    publisher = node.another()
    assert publisher.publish().tasks == 1
    node.end(2)
    postgres.stop()
    try:
        for _ in range(2):
            with pytest.raises(LakeFailed):
                publisher.publish()
    finally:
        postgres.start()
    assert publisher.publish().tasks == 1
    assert_whole(node)
    node.lake.close()


def test_no_password_is_told(tmp_path: Path) -> None:
    """A message about a catalogue that is not there names it without the password."""
    for catalogue in ("host=127.0.0.1 port=1 password=secret1", "postgresql://me:secret1@127.0.0.1:1/lake"):
        lake = Shared(tmp_path, catalogue)
        with pytest.raises(LakeFailed) as failed:
            lake.cursor()
        assert "127.0.0.1" in str(failed.value)
        assert "secret1" not in str(failed.value)
        lake.close()


def test_extensions_that_are_missing_are_named() -> None:
    """With what installs them."""
    with pytest.raises(ExtensionsMissing, match=r"ducklake.*postgres-scanner.*httpfs.*nightrate\[lake\]"):
        extension_files("v0.0.1", "s3://bucket/")
    assert len(extension_files(DUCKDB_VERSION, "/srv/lake")) == 2


def test_the_lakes_tables_are_a_nodes(node: Node) -> None:
    """Each has the columns of the node's own table, and the node."""
    node.publisher.publish()
    kinds = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = '{}' AND {} ORDER BY column_index"
    for table in TABLES:
        here = node.rows(kinds.format(table, "database_name = 'nightrate'"))
        there = node.lake.find(kinds.format(table, "database_name = 'lake'"))
        assert there == [("node", "VARCHAR"), *here], table
