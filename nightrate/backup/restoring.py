"""Putting a backup in the place of a data folder that has no database."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from executor.result_files import make_folder, sha256_of, sync_folder
from metering.options import StorageOptions
from metering.queries import load_migrations
from nightrate.backup.content import ABOUT, DATABASE, RESTORED, NotABackup, about_of, sums_of
from nightrate.backup.folder import Progressed, write_file


class NotRestored(Exception):
    """The data folder can't take the backup; the message says why and how to mend it."""


def restore(folder: Path, options: StorageOptions, progressed: Progressed) -> Mapping[str, Any]:
    """Copies a backup into the data folder and checks each hash on the way; gives what the backup says of itself.

    The database comes last, and only if there is none: until it is there the folder holds nothing that a service
    would take for its data. Raises `NotABackup`, `NotRestored` or `OSError`.
    """
    sums, about = sums_of(folder), about_of(folder)
    if sha256_of(folder / ABOUT, (folder / ABOUT).stat().st_size) != sums.get(ABOUT):
        raise NotABackup(f"{folder / ABOUT} is not what was backed up: its hash is another")
    _check_version(about)
    _check_place(options)
    make_folder(options.data_dir)
    for name, sha256 in sums.items():
        if name not in (DATABASE, ABOUT):
            _copy(folder / name, options.data_dir / name, sha256, progressed)
    for path in {(options.data_dir / name).parent for name in sums}:
        sync_folder(path)
    _place_database(folder / DATABASE, options, sums[DATABASE], progressed)
    return about


def _check_version(about: Mapping[str, Any]) -> None:
    known = load_migrations()[-1][0]
    if not isinstance(found := about.get("schema_version"), int) or found > known:
        raise NotRestored(
            f"the backup was made by a newer Nightrate ({about.get('version')}); upgrade to it first"
        )


def _check_place(options: StorageOptions) -> None:
    database = options.database_path
    for path in (database, database.with_name(f"{database.name}.wal")):
        if path.exists():
            raise NotRestored(
                f"there is data already: {path}; stop its service and move {options.data_dir} away, "
                "or name another storage.data_dir"
            )


def _copy(source: Path, target: Path, sha256: str, progressed: Progressed) -> None:
    try:
        with source.open("rb") as content:
            found = write_file(target, content, progressed)
    except FileNotFoundError:
        raise NotABackup(f"{source} is missing from the backup") from None
    if found != sha256:
        raise NotABackup(f"{source} is not what was backed up: its hash is another")


def _place_database(source: Path, options: StorageOptions, sha256: str, progressed: Progressed) -> None:
    aside = options.data_dir / "tmp" / f"{RESTORED}{DATABASE}"
    _copy(source, aside, sha256, progressed)
    try:
        os.link(aside, options.database_path)  # unlike a rename it never takes another's place
    except OSError:
        if options.database_path.exists():
            raise NotRestored(f"a service began in {options.data_dir} meanwhile; stop it") from None
        aside.rename(options.database_path)  # a disk without hard links
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(options.data_dir)
