"""A closed month proved from a folder of exports: its statements and charges, and nothing else (SPEC §5.6).

Neither a service nor its database is asked: the files alone say whether statements follow from charges.
"""

import csv
import json
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, DecimalException
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from metering.money import EXACT, plain
from metering.rating import BATCH_FACTOR, PER_TOKEN
from metering.statement import Heading, LineSums, differences, statement_of, verification

_STATEMENT = re.compile(r"(?:nightrate-)?statement-([0-9]{4}-[0-9]{2})\.json")
_NEEDED = ("charge_id", "workspace_id", "currency", "period", "model", "sku", "tier", "mode", "price_id",
    "requests", "quantity", "list_unit_price", "unit_price", "list_amount", "discount_amount", "amount")  # fmt: skip
_FIELDS = statement_of(Heading(None, "", "", "USD", "", ""), (), 0, 0).keys()
_MOST_NAMED = 100
"""Differences of single charges that are named; all of them are counted."""
Charge = Mapping[str, Any]


class ExportedFolderError(Exception):
    """The folder can't be checked; the message says which file, where, and what to export instead."""


class ExportedFolder:
    """The exports of a folder, under the names that they are given by the command line or a browser."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def periods(self) -> list[str]:
        """The months of which there are statements, in order."""
        if not self._folder.is_dir():
            raise ExportedFolderError(f"{self._folder} is not a folder")
        found = (_STATEMENT.fullmatch(file.name) for file in self._folder.iterdir())
        return sorted({name[1] for name in found if name})

    def verify(self, period: str) -> dict[str, Any]:
        """Whether a month's statements follow from its charges, as `Closing.verify` says it."""
        path = self._only("statement", period, ("json",))
        statements = _statements(path)
        charges = self._only("charges", period, tuple(_READERS))
        sums, found = _summed(charges, period)
        for one in statements:
            found += self._proved(one, sums.pop((one["workspace_id"], one["currency"]), LineSums()), period)
        found += [f"there are charges of {owner} in {currency}, and no statement" for owner, currency in sums]
        return verification(period, statements, found)

    def _proved(self, one: Mapping[str, Any], charged: LineSums, period: str) -> list[str]:
        name = str(one["number"] or f"the draft of {one['workspace_id']} in {one['currency']}")
        if one["status"] != "final":
            return [f"{name} is a draft: only a closed month can be proved"]
        said = [f"period is {one['period']}, its file is of {period}"] if one["period"] != period else []
        return [f"{name}: {what}" for what in (*said, *differences(one, charged))]

    def _only(self, kind: str, period: str, suffixes: tuple[str, ...]) -> Path:
        names = [f"{before}{kind}-{period}.{suffix}" for before in ("", "nightrate-") for suffix in suffixes]
        found = [path for name in names if (path := self._folder / name).is_file()]
        if len(found) != 1:
            wanted = f"nightrate export {kind} --period {period} --format {suffixes[0]}"
            there = " and ".join(path.name for path in found)
            said = (
                f"has {there}; keep one of them" if found else f"has no {names[0]}; write it with `{wanted}`"
            )
            raise ExportedFolderError(f"{self._folder} {said}")
        return found[0]


def _statements(path: Path) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise _no_statements(path, error) from error
    whole = isinstance(found, list) and all(
        isinstance(one, dict) and one.keys() >= _FIELDS and isinstance(one["lines"], list) for one in found
    )
    if not whole:
        raise _no_statements(path, "it is no list of them")
    return found


def _no_statements(path: Path, why: object) -> ExportedFolderError:
    return ExportedFolderError(f"{path}: is not an export of statements as json ({why}); export it again")


# -- charges ---------------------------------------------------------------------------------------


def _summed(path: Path, period: str) -> tuple[dict[tuple[str, str], LineSums], list[str]]:
    """The charges by workspace and currency, and those that are wrong in themselves."""
    sums: dict[tuple[str, str], LineSums] = {}
    wrong: list[str] = []
    more = 0
    for place, charge in _charges(path):
        try:
            said = list(_wrong(charge, period))
            sums.setdefault((charge["workspace_id"], charge["currency"]), LineSums()).add(charge)
        except (KeyError, TypeError, ValueError, DecimalException) as error:
            raise ExportedFolderError(
                f"{path}, {place}: is no charge ({error!r}); export it again"
            ) from error
        room = _MOST_NAMED - len(wrong)
        wrong += [f"{path.name}, {place}: {charge['charge_id']}: {one}" for one in said[:room]]
        more += len(said[room:])
    return sums, [*wrong, f"and {more} more differences of single charges"] if more else wrong


def _wrong(charge: Charge, period: str) -> Iterator[str]:
    """What of a charge does not follow from its tokens and its list price."""
    if charge["period"] != period:
        yield f"period is {charge['period']}"
    unit = Decimal(str(charge["list_unit_price"]))
    listed = EXACT.multiply(EXACT.multiply(Decimal(int(charge["quantity"])), unit), PER_TOKEN)
    half = EXACT.multiply(listed, BATCH_FACTOR)
    expected = {
        "unit_price": EXACT.multiply(unit, BATCH_FACTOR),
        "list_amount": listed,
        "discount_amount": EXACT.subtract(listed, half),
        "amount": half,
    }
    for name, value in expected.items():
        if Decimal(str(charge[name])) != value:
            yield f"{name} is {charge[name]}, tokens and list price give {plain(value)}"


def _charges(path: Path) -> Iterator[tuple[str, Charge]]:
    try:
        yield from _READERS[path.suffix[1:]](path)
    except (UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise ExportedFolderError(f"{path}: can't be read ({error}); export it again") from error


def _csv_rows(path: Path) -> Iterator[tuple[str, Charge]]:
    with path.open(encoding="utf-8", newline="") as file:
        if file.read(1) == "\ufeff":
            raise ExportedFolderError(f"{path}: is made for spreadsheets; export it with --profile machine")
        file.seek(0)
        rows = csv.DictReader(file)
        for row in rows:
            yield f"line {rows.line_num}", row


def _json_rows(path: Path) -> Iterator[tuple[str, Charge]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                charge = json.loads(line)
            except ValueError as error:
                raise ExportedFolderError(
                    f"{path}, line {number}: is no charge ({error}); export it again"
                ) from error
            yield f"line {number}", charge


def _parquet_rows(path: Path) -> Iterator[tuple[str, Charge]]:
    number = 0
    for batch in pq.ParquetFile(path).iter_batches(columns=list(_NEEDED)):
        for row in batch.to_pylist():
            number += 1
            yield f"row {number}", row


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[str, Charge]]]] = {
    "csv": _csv_rows,
    "jsonl": _json_rows,
    "parquet": _parquet_rows,
}
