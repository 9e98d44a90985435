from collections.abc import Iterator

import pytest

from tests.server import Server


@pytest.fixture(autouse=True)
def _no_survivors(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A service that a failed test left behind would slow down all that follow."""
    started: list[Server] = []
    start = Server.start

    def remembered(self: Server, **how: object) -> Server:
        started.append(self)
        return start(self, **how)  # type: ignore[arg-type]

    monkeypatch.setattr(Server, "start", remembered)
    yield
    for server in started:
        if server.alive:
            server.kill()
