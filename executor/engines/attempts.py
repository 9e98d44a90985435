"""Where the attempts of all models are made; what is decided about them is decided by dispatch alone."""

from collections.abc import Callable
from typing import Protocol

from executor.options import ExecutorOptions, LimitOptions, ModelOptions
from executor.upstream import HttpUpstream, Upstream
from executor.wire.origin import tls_context
from executor.wire.sockets import Sockets, allowed_sockets


class Attempts(Protocol):
    """A place that sends requests to upstreams and tells what came of each."""

    @property
    def trouble(self) -> str | None:
        """Why none can be made now; none if they can."""
        ...

    def upstream(self, model: ModelOptions, url: str, api_key: str | None) -> Upstream:
        """One upstream of a model, as reached from there. Before `start`."""
        ...

    def start(self, changed: Callable[[], None]) -> None:
        """Begins, on the dispatch loop; `changed` is called there whenever `trouble` has changed."""
        ...

    async def stop(self) -> None:
        """Ends; the upstreams are closed by then."""
        ...


class AttemptsHere:
    """On the dispatch loop itself."""

    trouble: str | None = None

    def __init__(self, connections: int, options: ExecutorOptions, limits: LimitOptions) -> None:
        self._options, self._limits = options, limits
        self._tls, self._sockets = tls_context(), Sockets(allowed_sockets(connections))

    def upstream(self, model: ModelOptions, url: str, api_key: str | None) -> Upstream:
        """Its connections are this process' own."""
        return HttpUpstream(
            url,
            api_key,
            response_bytes=self._limits.response_bytes,
            timeout_seconds=model.timeout_seconds,
            connect_timeout_seconds=self._options.connect_timeout_seconds,
            tls=self._tls,
            sockets=self._sockets,
            streams=model.stream,
        )

    def start(self, changed: Callable[[], None]) -> None:
        """Has nothing to begin."""

    async def stop(self) -> None:
        """Has nothing left to end."""
