"""Commands on the whole data folder: backup, restore."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from nightrate.backup.archive import as_file
from nightrate.backup.content import NotABackup
from nightrate.backup.folder import BackupFolder, Kept, Progressed
from nightrate.cli.failure import CliFailure
from nightrate.cli.service import NotReachable, Service
from nightrate.cli.shown import Screen, utc_time
from nightrate.cli.surroundings import Config, Key, Surroundings, Url

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the backup")]


def backup(folder: Folder, config: Config = None, url: Url = None, key: Key = None) -> None:
    """Copies all data into a folder while the service runs; a second time only what is new is sent."""
    around, screen = Surroundings(os.environ, config, url, key), Screen()
    with _told():
        target = BackupFolder(folder)
        target.prepare()
        with screen.bytes_bar("Checking what is there", None) as progressed:
            have = target.have(_summed(progressed))
        try:
            service = Service(around.service_url, around.any_key)
            kept = _from_service(service, screen, target, have)
        except NotReachable:
            if around.names_a_service:
                raise
            from nightrate.cli.stopped import backup_stopped  # the database's libraries

            kept = backup_stopped(around.settings, screen, target, have)
    _say(folder, kept)


def restore(folder: Folder, config: Config = None) -> None:
    """Puts a backup into the data folder of the settings, which must have no database yet; checks every hash."""
    from nightrate.backup.restoring import NotRestored
    from nightrate.backup.restoring import restore as restored

    settings, screen = Surroundings(os.environ, config).settings, Screen()
    with _told():
        try:
            with screen.bytes_bar("Restoring", None) as progressed:
                about = restored(folder, settings.storage, _summed(progressed))
        except NotRestored as error:
            raise CliFailure(str(error)) from error
    print(f"{settings.storage.data_dir} is as it was at {utc_time(about['created_at'])} UTC.")
    screen.say("Begin with `nightrate serve`: tasks that ran go on. `nightrate audit` proves the ledger.")


def _from_service(service: Service, screen: Screen, target: BackupFolder, have: Mapping[str, str]) -> Kept:
    with ExitStack() as begun:
        begun.enter_context(screen.bytes_bar("Copying the database", None))
        with service.backup(have) as answer:
            begun.close()
            size = answer.header("x-nightrate-bytes")
            return receive(screen, target, have, answer.pieces(), int(size) if size.isdecimal() else None)


def receive(
    screen: Screen, target: BackupFolder, have: Mapping[str, str], pieces: Iterator[bytes], size: int | None
) -> Kept:
    """Fills the folder from an archive, with a bar."""
    with screen.bytes_bar("Receiving", size) as progressed:
        return target.receive(as_file(pieces), _summed(progressed), have)


def _summed(progressed: Callable[[int], None]) -> Progressed:
    """For a bar that wants to know of all steps so far."""
    done = 0

    def step(size: int) -> None:
        nonlocal done
        done += size
        progressed(done)

    return step


def _say(folder: Path, kept: Kept) -> None:
    new = f"{kept.received:,} of them new" if kept.received else "none new"
    what = f"the database and {kept.files:,} files ({new}), {kept.bytes:,} bytes"
    print(f"{folder} holds all data as of {utc_time(kept.created_at)} UTC: {what}.")
    if kept.missing:
        lost = f"{len(kept.missing):,} files that the database names were not there, {kept.missing[0]} among them"
        raise CliFailure(
            lost,
            hint="The rest is backed up. `nightrate audit` says what that means for the ledger.",
        )


@contextmanager
def _told() -> Iterator[None]:
    """Faults of backups and disks as the command line tells them."""
    try:
        yield
    except NotABackup as error:
        raise CliFailure(str(error)) from error
    except OSError as error:
        raise CliFailure(f"{error.filename or 'the backup'}: {error.strerror or error}") from error
