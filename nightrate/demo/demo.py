"""A demo from its folder to now: made, or brought up to now, and beside its models for as long as it is served."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from datetime import time as time_of_day
from pathlib import Path

from metering.clock import Clock, utc_now
from metering.options import StorageOptions
from metering.store import Store
from nightrate.demo.filling import Filling, story_time, working
from nightrate.demo.folder import DemoFolder, Note, may_go_on, without_overrides
from nightrate.demo.plan import WINDOW_DAYS, plan, price_change
from nightrate.demo.upstream_process import UpstreamProcess
from nightrate.models import configured_models
from nightrate.services import open_services
from nightrate.settings import load

Progress = Callable[[int, int], None]
"""How many steps are done, of how many."""
_LOG = "filling.log"
_OLDEST_PRICE_DAYS = 90


@dataclass(frozen=True, slots=True)
class Wanted:
    """What demo, and where."""

    folder: Path
    host: str
    port: int
    days: int = WINDOW_DAYS
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Demo:
    """A filled demo, whose models answer."""

    settings_file: Path
    env: Mapping[str, str]
    """To serve it in: without settings of another installation."""
    told: str
    """What was done to it."""


@contextmanager
def filled(
    wanted: Wanted, env: Mapping[str, str], progressed: Progress, clock: Clock = utc_now
) -> Iterator[Demo]:
    """Fills the folder up to now; afterwards the demo's models answer as long as the block runs.

    What is there is kept, and what has happened since is added. It is made anew if that is wanted, or
    if what is there was cut off, is of another version, or so old that its events leave the window.
    """
    folder, own_env, begun, now = DemoFolder(wanted.folder), without_overrides(env), time.monotonic(), clock()
    before = folder.note()
    _check_free(folder)
    if wanted.anew or not may_go_on(before, now):
        before = None
    with UpstreamProcess() as upstream:
        note = before or _begin(folder, now, wanted.days)
        folder.write_settings(wanted.host, wanted.port, upstream.url)
        tasks = _fill(folder, own_env, upstream, note, now, progressed)
        folder.keep(Note(note.start, now))
        made = (
            "was made anew"
            if before is None
            else f"was brought up to now from {before.until:%d %b %H:%M} UTC"
        )
        told = f"The demo {made}: {tasks} tasks in {time.monotonic() - begun:.0f} s."
        yield Demo(folder.settings_file, own_env, told)
        folder.keep(Note(note.start, clock()))  # nothing is added to the time in which people used it


def _check_free(folder: DemoFolder) -> None:
    """Raises `DataFolderInUse` if it is served now: nothing of it is touched then."""
    options = StorageOptions(data_dir=folder.data)
    if options.database_path.exists():
        Store(options).close()


def _begin(folder: DemoFolder, now: datetime, days: int) -> Note:
    start = datetime.combine(now.date() - timedelta(days=days), time_of_day(), now.tzinfo)
    folder.empty()
    folder.keep(note := Note(start, None))
    folder.write_prices(start - timedelta(days=_OLDEST_PRICE_DAYS), price_change(start, now))
    return note


def _fill(
    folder: DemoFolder,
    env: Mapping[str, str],
    upstream: UpstreamProcess,
    note: Note,
    now: datetime,
    progressed: Progress,
) -> int:
    """Gives how many tasks it made."""
    since = note.until or note.start
    waves = plan(since, now, first=note.until is None)
    settings, clock = load(folder.settings_file, env), story_time(since, now)
    with (
        _logging_to(folder.path / _LOG),
        working(open_services(settings, env, configured_models(settings), clock)) as services,
    ):
        filling = Filling(services, clock, upstream)
        filling.run(waves, lambda done: progressed(done, len(waves)))
        return filling.tasks


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """The outages of the story are no news for whoever runs the command."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
