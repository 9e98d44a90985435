"""Proving closed months: from the ledger of a service, of a stopped one's data, or from exported files alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from nightrate.cli.failure import FAILED, CliFailure, wrong_use
from nightrate.cli.service import NotReachable, Service, segment
from nightrate.cli.shown import Screen
from nightrate.cli.surroundings import Surroundings

_COLUMNS = [
    ("Number", "number"),
    ("Workspace", "workspace_id"),
    ("Customer", "customer"),
    (">Payable", "payable"),
    ("", "currency"),
    ("SHA-256", "sha256"),
]


def prove(around: Surroundings, period: str | None, folder: Path | None, as_json: bool) -> None:
    """Says whether statements follow from charges; exit code 1 if one does not."""
    found = list(_from_folder(folder, period) if folder else _from_ledger(around, period))
    screen = Screen()
    if as_json:
        screen.json(found)
    for one in () if as_json else found:
        _show(screen, one)
    if not all(one["verified"] for one in found):
        raise typer.Exit(FAILED)


def _show(screen: Screen, one: dict[str, Any]) -> None:
    screen.rows(_COLUMNS, one["statements"], empty=f"{one['period']}: no statements.")
    for said in one["differences"]:
        print(f"{one['period']}: {said}")
    told = "every statement follows from its charges, and has the hash of what it says"
    screen.say(f"{one['period']}: {told if one['verified'] else 'NOT proved'}.")


def _from_folder(folder: Path, period: str | None) -> Iterator[dict[str, Any]]:
    from metering.exported_folder import ExportedFolder, ExportedFolderError

    try:
        exported = ExportedFolder(folder)
        periods = [period] if period else exported.periods()
        if not periods:
            hint = "Export both: nightrate export statement --format json, and nightrate export charges."
            raise wrong_use(f"{folder} has no statement-YYYY-MM.json", hint)
        yield from map(exported.verify, periods)
    except ExportedFolderError as error:
        raise CliFailure(str(error)) from error


def _from_ledger(around: Surroundings, period: str | None) -> Iterator[dict[str, Any]]:
    try:
        service = Service(around.service_url, around.any_key)
        for name in [period] if period else _closed(service):
            yield service.get(f"/v1/billing/periods/{segment(name)}/verify")
    except NotReachable:
        if around.names_a_service:
            raise
        from nightrate.cli.stopped import verify_stopped  # the database's libraries

        yield from verify_stopped(around.settings, period)


def _closed(service: Service) -> list[str]:
    months = service.all_pages("/v1/billing/periods", most=100_000)
    return some_of(sorted(one["period"] for one in months if one["status"] == "closed"))


def some_of(closed: list[str]) -> list[str]:
    """The closed months; wrong use if there is none."""
    if not closed:
        raise wrong_use(
            "no month is closed; there is nothing to prove", "Close one: nightrate close YYYY-MM."
        )
    return closed
