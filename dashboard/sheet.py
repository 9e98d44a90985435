"""Small tables as CSV files for people: a spreadsheet opens them, and runs no text in them."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from metering.exports.formula import harmless


def sheet(head: Sequence[str], rows: Iterable[Sequence[str]], texts: int) -> str:
    """A head and rows of which the first `texts` cells are texts, the others figures that stay as they are."""
    written = io.StringIO()
    lines: Any = csv.writer(written, lineterminator="\r\n")
    lines.writerow([harmless(name) for name in head])
    lines.writerows([*map(harmless, row[:texts]), *row[texts:]] for row in rows)
    return written.getvalue()
