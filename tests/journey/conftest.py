"""One real service a file, and a good task beside every test that sends it something bad."""

from collections.abc import Iterator

import pytest

from tests.journey.neighbour import Neighbour
from tests.server import Server
from tests.upstream import Upstream

FILE_BYTES = 64_000_000
SMALL = f"[limits]\nresponse_bytes = 1000000\nfile_bytes = {FILE_BYTES}\n"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def server(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    with Server(folder, upstream.url, timeout=2, executor="max_attempts = 2", more=SMALL) as server:
        yield server
    assert "Traceback" not in server.log.read_text()


@pytest.fixture
def beside(server: Server) -> Iterator[None]:
    """A good task that runs meanwhile: it completes, with the right counts and bill, in the same process."""
    process = server.process
    neighbour = Neighbour.moves_in(server)
    yield
    neighbour.is_undisturbed()
    assert server.process is process
    assert server.status("/readyz") == 200
