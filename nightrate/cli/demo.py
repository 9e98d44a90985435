"""`nightrate demo`: fifteen days of made-up tasks in a folder of their own, served like an installation."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from nightrate.cli.failure import CliFailure, wrong_use
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import Config, Surroundings
from nightrate.demo.plan import WINDOW_DAYS
from nightrate.settings import DEFAULT_FILE, ServerOptions, Settings, SettingsError

FOLDER = "demo-data"

Folder = Annotated[
    Path | None,
    typer.Option("--folder", metavar="DIR", help=f"Where it is kept [{FOLDER} beside the data folder]"),
]
Host = Annotated[str | None, typer.Option("--host", help="Where it listens [server.host]")]
Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65535, help="Its port, 0 for a free one [server.port]")
]


def demo(
    folder: Folder = None,
    host: Host = None,
    port: Port = None,
    days: Annotated[
        int, typer.Option("--days", min=1, max=WINDOW_DAYS, help="How far back it goes")
    ] = WINDOW_DAYS,
    anew: Annotated[bool, typer.Option("--anew", help="Make it anew, whatever is there")] = False,
    fill_only: Annotated[bool, typer.Option("--fill-only", help="Don't serve it")] = False,
    config: Config = None,
) -> None:
    """Fills a folder of its own with 15 days of made-up tasks, and serves it."""
    settings = _settings(config)
    options = settings.server.model_copy(
        update={"host": host or settings.server.host, "port": settings.server.port if port is None else port}
    )
    place = (folder or settings.storage.data_dir.parent / FOLDER).absolute()
    with _failures_told():
        code = _run(place, options, days, anew, fill_only)
    raise typer.Exit(code)


def _run(place: Path, options: ServerOptions, days: int, anew: bool, fill_only: bool) -> int:
    # the server and the console take a second to import
    from nightrate.demo.demo import Wanted, filled
    from nightrate.serve import bound, serve

    with bound(options):  # whoever waits for a filling wants to see it afterwards
        pass
    screen = Screen()
    wanted = Wanted(place, options.host, options.port, days, anew)
    with screen.steps_bar("Filling") as bar, filled(wanted, os.environ, bar) as demo:
        screen.say(f"{demo.told} It is kept in {place}; {demo.settings_file} has its settings.")
        return 0 if fill_only else serve(demo.settings_file, demo.env)


@contextmanager
def _failures_told() -> Iterator[None]:
    from metering.store import StoreError
    from nightrate.demo.filling import FillingFailed
    from nightrate.demo.folder import NotADemo
    from nightrate.serve import PortInUse

    try:
        yield
    except PortInUse as error:
        raise CliFailure(str(error), hint="Choose another with --port.") from error
    except NotADemo as error:
        raise wrong_use(str(error), "Choose another with --folder.") from error
    except SettingsError as error:
        raise wrong_use(str(error)) from error
    except (StoreError, FillingFailed, OSError) as error:
        raise CliFailure(f"the demo can't be filled: {error}") from error


def _settings(config: Path | None) -> Settings:
    """The settings of the real installation beside it; a demo needs none."""
    named = config or os.environ.get("NIGHTRATE_CONFIG")
    return Surroundings(os.environ, config).settings if named or DEFAULT_FILE.exists() else Settings()
