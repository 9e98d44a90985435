"""Writing what comes in pieces: to a file that appears as a whole or not at all, or to standard output."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from nightrate.cli.failure import CliFailure
from nightrate.cli.shown import Screen


def save(screen: Screen, pieces: Iterator[bytes], size: int | None, out: Path | None, label: str) -> None:
    """Writes the pieces with a bar; `out` None or `-` is standard output."""
    with _target(out) as target, screen.bytes_bar(label, size) as progressed:
        done = 0
        for piece in pieces:
            try:
                target.write(piece)
            except OSError as error:
                raise CliFailure(f"{out or 'standard output'} can't be written: {error.strerror}") from error
            done += len(piece)
            progressed(done)


def save_beside(file: Path, suffix: str, content: object) -> Path:
    """Writes JSON under the file's name and the suffix, as a whole or not at all; where it is."""
    beside = file.with_name(file.name + suffix)
    with _target(beside) as target:
        target.write(json.dumps(content, indent=2, ensure_ascii=False).encode() + b"\n")
    return beside


@contextmanager
def _target(out: Path | None) -> Iterator[BinaryIO]:
    if out is None or str(out) == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    part = out.with_name(out.name + ".part")
    try:
        target = part.open("wb")
    except OSError as error:
        raise CliFailure(f"{out} can't be written: {error.strerror}") from error
    try:
        with target:
            yield target
        part.replace(out)
    finally:
        part.unlink(missing_ok=True)
