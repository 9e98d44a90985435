"""Exports and audits from the data folder of a stopped service. Whoever can read the folder is its operator."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from metering.access import ADMIN
from metering.audit import Audit, AuditRequest
from metering.clock import utc_now
from metering.errors import Refused
from metering.exports import Export, ExportRequest, Exports
from metering.lake.extensions import ExtensionsMissing
from metering.lake.tables import LakeTables
from metering.price_check import PriceCheck
from metering.prices import PriceBook, PriceBookError
from metering.statements import Statements
from metering.store import Store, StoreError
from metering.verification import Verification
from nightrate.backup.folder import BackupFolder, Kept
from nightrate.backup.making import Backups
from nightrate.cli.backup import receive
from nightrate.cli.download import save
from nightrate.cli.failure import CliFailure, wrong_use
from nightrate.cli.proof import some_of
from nightrate.cli.shown import Screen
from nightrate.models import configured_models
from nightrate.settings import Settings


def export_stopped(
    settings: Settings, screen: Screen, kind: str, asked: Mapping[str, str | None], target: Path
) -> Mapping[str, Any]:
    """Writes the same file as the running service would; its manifest."""
    request = ExportRequest(
        kind=kind,
        format=asked["format"],
        profile=asked.get("profile"),
        workspace_id=asked["workspace_id"],
        period=asked["period"],
        start=asked["start"],
        end=asked["end"],
    )
    with _lake(settings) if asked.get("nodes") else _store(settings) as store:
        export = _made(Exports(store, settings.billing, utc_now), request)
        save(screen, export.pieces(), export.size_bytes, target, "Exporting")
    return export.manifest


def audit_stopped(settings: Settings, asked: Mapping[str, str | None]) -> Iterator[dict[str, Any]]:
    """The same lines as the running service would send; the result is stored for its metrics."""
    try:
        book = PriceBook.load(settings.billing.prices)
    except PriceBookError as error:
        raise CliFailure(str(error)) from error
    with _store(settings) as store:
        audit = Audit(store, settings.billing, settings.retention.event_days, book.has, utc_now)
        try:
            steps = audit.run(ADMIN, AuditRequest(**asked))
        except Refused as error:
            raise (CliFailure if error.status == 404 else wrong_use)(error.message) from error
        yield from (step.as_json() for step in steps)


def backup_stopped(settings: Settings, screen: Screen, target: BackupFolder, have: Mapping[str, str]) -> Kept:
    """The same archive as the running service would send."""
    with _store(settings) as store:
        backups = Backups(store, settings.storage, version("nightrate"), utc_now)
        try:
            made = backups.begin(have)
        except Refused as error:
            raise CliFailure(error.message) from error
        try:
            return receive(screen, target, have, made.pieces(), made.bytes)
        finally:
            backups.end(made)


def check_prices_stopped(settings: Settings, asked: Mapping[str, str | None]) -> dict[str, Any]:
    """The same report as the running service would give."""
    models = [(model.name, model.free) for model in configured_models(settings)]
    with _store(settings) as store:
        check = PriceCheck(store, settings.billing, models, utc_now)
        try:
            return check.run(ADMIN, str(asked["path"]), str(asked["text"]), asked["period"])
        except Refused as error:
            raise wrong_use(error.message) from error


def verify_stopped(settings: Settings, period: str | None) -> Iterator[dict[str, Any]]:
    """The same as the running service would answer, a month at a time; all closed ones if none is named."""
    billing = settings.billing
    with _store(settings) as store:
        verification = Verification(store, Statements(store, billing), billing.zone)
        try:
            months = [period] if period else some_of(verification.closed())
            yield from (verification.verify(ADMIN, name) for name in months)
        except Refused as error:
            raise (wrong_use if error.status == 400 else CliFailure)(error.message) from error


def _made(exports: Exports, request: ExportRequest) -> Export:
    try:
        return exports.write(ADMIN, request)
    except Refused as error:
        raise wrong_use(error.message) from error


@contextmanager
def _lake(settings: Settings) -> Iterator[LakeTables]:
    if settings.storage.lake is None:
        raise wrong_use("--all-nodes needs a lake that they share", "Set storage.lake and storage.lake_data.")
    tables = LakeTables(settings.storage)
    try:
        yield tables
    except (StoreError, ExtensionsMissing) as error:
        raise CliFailure(f"the lake can't be read: {error}") from error
    finally:
        tables.close()


@contextmanager
def _store(settings: Settings) -> Iterator[Store]:
    path = settings.storage.database_path
    if not path.is_file():
        hint = "Start the service with `nightrate serve`, or name its settings with --config."
        raise CliFailure(f"no service answers, and there is no data of a stopped one: {path}", hint=hint)
    try:
        store = Store(settings.storage)
    except StoreError as error:
        raise CliFailure(f"no service answers, and {error}") from error
    try:
        yield store
    except StoreError as error:
        raise CliFailure(f"the data can't be read: {error}") from error
    finally:
        store.close()
