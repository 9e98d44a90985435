"""What is in a backup: names that may be there, and the list of them with their hashes, which comes last."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from metering.options import DATABASE_NAME

DATABASE = f"{DATABASE_NAME}.duckdb"
ABOUT = "backup.json"
RESTORED = "restored-"
"""So a database is called in `tmp` before it takes its place."""
SUMS = "SHA256SUMS"
"""In the form of `sha256sum`, so that `sha256sum --check` proves a backup. Without it a backup is not complete."""
_NAME = re.compile(
    rf"({re.escape(DATABASE)}|{re.escape(ABOUT)}|(files|outputs)/[A-Za-z0-9_-][A-Za-z0-9._-]*)"
)
_SUM = re.compile(r"([0-9a-f]{64})  (\S+)")


class NotABackup(Exception):
    """Something that is not, or not wholly, a backup; the message says what and how to mend it."""


def checked(name: str) -> str:
    """The name, if a backup may hold it: nothing that lies elsewhere."""
    if not _NAME.fullmatch(name):
        raise NotABackup(f"a backup holds nothing of the name {name[:200]!r}")
    return name


def line_of(name: str, sha256: str) -> bytes:
    """A line of the list."""
    return f"{sha256}  {name}\n".encode()


def sums_of(folder: Path) -> Mapping[str, str]:
    """The names and hashes of a complete backup."""
    try:
        text = (folder / SUMS).read_text("utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise NotABackup(f"{folder} holds no complete backup: there is no {SUMS} in it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise NotABackup(f"{folder / SUMS} can't be read: {error}") from error
    sums = dict(_read(folder, text))
    if DATABASE not in sums:
        raise NotABackup(f"{folder / SUMS} doesn't name {DATABASE}; the backup is not complete")
    return sums


def _read(folder: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        found = _SUM.fullmatch(line)
        if not found:
            raise NotABackup(f"{folder / SUMS}, line {number} is no hash and name")
        yield checked(found[2]), found[1]


def about_of(folder: Path) -> dict[str, Any]:
    """When and by which version a backup was made, and what it lacks."""
    try:
        about: dict[str, Any] = json.loads((folder / ABOUT).read_bytes())
    except (OSError, ValueError) as error:
        raise NotABackup(f"{folder / ABOUT} can't be read: {error}") from error
    return about
