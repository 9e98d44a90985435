"""The FinOps Foundation's validator and its use cases as queries, in a virtual environment of their own.

They need a Python >= 3.12 and older libraries than the service has. The environment is kept in the user's
cache, outside of the repository, and made again when `focus-tools.txt` changes.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).with_name("focus-tools.txt")
SOURCES = "focus_validator,pandasql"
"""Pure Python, and only to be had as source; anything else that would have to be compiled is refused at once."""
VERSIONS = ("3.12", "3.13", "3.14")
NEEDED = "the FinOps Foundation's validator needs a Python >= 3.12 beside the project's own"
BUILD_SECONDS = 280


class NoTools(Exception):
    """They can't be had here; the message says why."""


def focus_tools() -> Path:
    """The environment's folder; the calling test is skipped with the reason if it can't be made."""
    try:
        return _environment()
    except NoTools as why:
        pytest.skip(str(why))


@cache
def _environment() -> Path:
    name = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:12]
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nightrate"
    place = kept / f"focus-tools-{name}"
    kept.mkdir(parents=True, exist_ok=True)
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "ready").exists():
            _make(place)
    return place


def _make(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    _checked(_python(), "-m", "venv", place)
    wanted = ("--no-deps", "--only-binary", ":all:", "--no-binary", SOURCES, "--requirement", REQUIREMENTS)
    _checked(place / "bin" / "python", "-m", "pip", "install", "--quiet", *wanted)
    (place / "ready").touch()


def _checked(*command: object) -> None:
    try:
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            check=False,
            timeout=BUILD_SECONDS,
            env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")},
        )
    except subprocess.TimeoutExpired as error:
        raise NoTools(f"the FOCUS tools could not be installed within {BUILD_SECONDS} s") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no word why"])[-1]
        raise NoTools(f"the FOCUS tools can't be installed here: {last}")


def _python() -> Path:
    for candidate in _candidates():
        asked = [candidate, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 12))"]
        if subprocess.run(asked, capture_output=True, check=False).returncode == 0:
            return candidate
    raise NoTools(NEEDED)


def _candidates() -> Iterator[Path]:
    """On the path, else among pyenv's versions; a shim of pyenv's that leads nowhere is passed over."""
    roots = [Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")]
    for version in VERSIONS:
        if found := shutil.which(f"python{version}"):
            yield Path(found)
        for root in roots:
            yield from sorted(root.glob(f"versions/{version}.*/bin/python"))
