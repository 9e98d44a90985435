"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.postgres import Postgres

LONGEST_FIRST = ("crash", "browser", "journey", "executor")
"""Rooms of files that take long: begun last, one of them would keep a worker busy when the others are done."""

# No test asserts on a time: on a busy machine an example takes as long as it takes.
settings.register_profile("anywhere", deadline=None)
settings.load_profile("anywhere")
# CI judges a change, so that the same commit gets the same examples there; every other run draws new ones.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sorts whole rooms; within a room the order stays."""
    ranks = {room: rank for rank, room in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.parent.name, len(ranks)))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One server for all tests of a worker; leave it running."""
    with Postgres() as running:
        yield running
