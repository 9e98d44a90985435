"""`nightrate serve`: one process with the web server, the engine and, beside it, the local model's process.

What keeps it from starting is said in one line on standard error: exit code 2 if the settings or the
price book are wrong, 1 if the place is taken (port, data folder). Told to stop, it ends with 0.
"""

import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvicorn

from executor.options import TEST_MODEL, ModelOptions
from metering.access import ADMIN
from metering.prices import PriceBookError
from metering.store import StoreError
from nightrate.app import build
from nightrate.local_model import (
    LocalModel,
    LocalModelProcess,
    WeightsMissing,
    cache_folder,
    fetch_weights,
    free_port,
)
from nightrate.models import configured_models
from nightrate.services import Services
from nightrate.settings import ServerOptions, Settings, SettingsError, load
from nightrate.welcome import welcome

STOPPED, FAILED, WRONG_SETTINGS = 0, 1, 2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_BACKLOG = 2048
_OBJECTS_BEFORE_COLLECTION = 50_000
_SWITCH_SECONDS = 0.0002
log = logging.getLogger("nightrate.serve")


class PortInUse(Exception):
    """Somebody else listens there."""


class Server(uvicorn.Server):
    """uvicorn's server, which would raise the signal again after its shutdown: the exit code would not be 0."""

    def __init__(
        self, config: uvicorn.Config, on_started: Callable[[], None], on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._on_stop = on_stop

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listens to the signals while it serves, and forgets them afterwards."""
        before = {number: signal.signal(number, self.handle_exit) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stops dispatch at once, while open connections are still being answered."""
        if not self.should_exit:
            threading.Thread(target=self._on_stop, name="stop-dispatch").start()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says so when requests are taken."""
        await super().startup(sockets)
        if self.started:
            self._on_started()


def serve(config: Path | None = None, env: Mapping[str, str] | None = None) -> int:
    """Runs the service until it is told to stop; gives the exit code."""
    given = os.environ if env is None else env
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, _leave)
    try:
        return _serve(load(config, given), given)
    except (SettingsError, PriceBookError) as error:
        print(f"nightrate can't start: {error}", file=sys.stderr)
        return WRONG_SETTINGS
    except (PortInUse, StoreError, OSError) as error:
        print(f"nightrate can't start: {error}", file=sys.stderr)
        return FAILED


def _leave(*_: object) -> NoReturn:
    raise SystemExit(STOPPED)


def _serve(settings: Settings, env: Mapping[str, str]) -> int:
    with bound(settings.server) as listening:
        local = _local_model(settings, env)
        app, services = build(settings, env, _models(settings, local))
        with _beside(local, settings.storage.data_dir / "local-model.log"):
            return _run(app, services, listening)


@contextmanager
def _beside(local: LocalModel | None, log_file: Path) -> Iterator[None]:
    """The local model's process, if there is one, as long as the service runs."""
    if local is None:
        yield
        return
    process = LocalModelProcess(local, log_file)
    process.start()
    try:
        yield
    finally:
        process.stop()


def _run(app: object, services: Services, listening: socket.socket) -> int:
    server_options = services.settings.server
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,  # the gate logs paths; queries can hold a login token
        server_header=False,
        forwarded_allow_ips=list(_written(server_options.trusted_proxies)),
        timeout_graceful_shutdown=server_options.stop_seconds,
    )
    url = server_options.public_url or _url(listening)

    def started() -> None:
        print(welcome(services, url, services.logins.issue(ADMIN)), flush=True)

    _tune()
    server = Server(config, on_started=started, on_stop=services.engine.stop)
    server.run([listening])
    return STOPPED if server.started else FAILED


def _written(networks: Iterable[IPv4Network | IPv6Network]) -> Iterator[str]:
    """Each network, those of IPv4 also as a socket of both families writes them."""
    for network in networks:
        yield str(network)
        if network.version == 4:
            yield f"::ffff:{network.network_address}/{96 + network.prefixlen}"


def _tune() -> None:
    """Sets what Python leaves to its host (docs/performance.md).

    What was made at start lives as long as the service: a collector that walks through it each time takes
    a tenth of dispatch's time. And a web request gives Python's lock away some ten times, to other threads and at
    each step of DuckDB's; while dispatch runs flat out, each waits for one such interval to get it back, of which
    the usual 5 ms add up to 50.
    """
    sys.setswitchinterval(_SWITCH_SECONDS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTION)


@contextmanager
def bound(options: ServerOptions) -> Iterator[socket.socket]:
    """A socket that listens where the service will; raises `PortInUse`."""
    host, port = options.host, options.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            listening.listen(_BACKLOG)
        except OSError as error:
            reason = error.strerror or str(error)
            raise PortInUse(
                f"can't listen on {host} port {port}: {reason}; set another server.port or server.host"
            ) from error
        yield listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (only shown)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


def _local_model(settings: Settings, env: Mapping[str, str]) -> LocalModel | None:
    local = settings.local_model
    if not local.enabled:
        return None
    try:
        weights = fetch_weights(cache_folder(local, env))
    except WeightsMissing as error:
        log.warning("the local model %r is not offered: %s", local.name, error)
        log.warning("%s needs no weights and can be used; start again to try once more", TEST_MODEL)
        return None
    return LocalModel(local, weights, free_port(local.port))


def _models(settings: Settings, local: LocalModel | None) -> tuple[ModelOptions, ...]:
    """The configured models, the local one at its port or, without its weights, not at all."""
    ours = settings.local_model
    others = tuple(
        model for model in configured_models(settings) if not ours.enabled or model.name != ours.name
    )
    return others if local is None else (local.as_model(), *others)


if __name__ == "__main__":
    sys.exit(serve(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
