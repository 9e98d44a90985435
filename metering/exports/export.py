"""Exports of the ledger with their manifest, both of one snapshot."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from metering.access import Access
from metering.clock import Clock
from metering.connection import Readable, Reader
from metering.errors import InvalidParameter, NotFound
from metering.exports.formats import Format
from metering.exports.hashed import Hashed
from metering.exports.kinds import FORMATS, KINDS, Kind
from metering.exports.sources import Asked, ahead
from metering.exports.workbook import check_rows
from metering.ledger import span_values
from metering.options import BillingOptions
from metering.ranges import EARLIEST, LATEST, Range, month, month_or_range
from metering.statements import Statements, require_period

PIECE_BYTES = 1 << 20
LONGEST_SECONDS = 3600.0
"""How long an export may read: far longer than a question of the API, since it may be of years."""


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which file of which part of the ledger. A period, or a range of the moment of entry, must be given."""

    kind: str
    format: str | None = None
    """None is the kind's first."""
    profile: str | None = None
    """None is the format's first."""
    workspace_id: str | None = None
    period: str | None = None
    start: str | None = None
    end: str | None = None


@dataclass(frozen=True, slots=True)
class Export:
    """A finished file. It has no name on the disk and is gone when it is closed; read it once."""

    content: BinaryIO
    """At its beginning."""
    size_bytes: int
    rows: int
    sha256: str
    media_type: str
    filename: str
    manifest: dict[str, Any]
    """As the API gives it."""

    def pieces(self) -> Iterator[bytes]:
        """The content piece by piece; closes the file at its end."""
        with self.content:
            while piece := self.content.read(PIECE_BYTES):
                yield piece


class Exports:
    """Writes exports to the data folder's `tmp`, in constant memory."""

    def __init__(self, store: Readable, billing: BillingOptions, clock: Clock) -> None:
        self._store, self._billing, self._clock = store, billing, clock
        self._statements = Statements(store, billing)

    def write(self, access: Access, request: ExportRequest) -> Export:
        """Makes a file of what the caller may see; the same ledger gives the same bytes.

        Refused: an unknown kind, format or profile, a range that is none, more rows than the format
        takes (400); an unknown workspace (404).
        """
        kind, name, profile = _chosen(request)
        form = FORMATS[name, profile]
        asked = self._asked(access, request, kind)
        content = self._temporary()
        hashed = Hashed(content)
        try:
            with self._store.reading(LONGEST_SECONDS) as read:
                _check_workspace(read, request)
                if name == "xlsx" and request.kind == "charges":
                    check_rows(read.query("exports.charge_count", **asked.values)[0]["rows"])
                with ahead(kind.rows_for(name)(read, asked)) as found:
                    prepared = (form.prepare(table, kind.columns) for table in found)
                    with ahead(prepared) as tables:
                        rows = form.write(hashed, kind.columns, tables)
                facts = kind.facts(read, asked)
            size = content.tell()
            sha256 = hashed.sha256()
            content.seek(0)
        except BaseException:
            content.close()
            raise
        manifest = self._about(request.kind, name, profile, asked) | facts
        manifest |= {"rows": rows, "bytes": size, "sha256": sha256}
        filename = _filename(request.kind, asked.span, form)
        return Export(content, size, rows, sha256, form.media_type, filename, manifest)

    def manifest(self, access: Access, request: ExportRequest) -> dict[str, Any]:
        """What `write` says of its file: rows, tokens, amounts by currency, SHA-256, price ids."""
        export = self.write(access, request)
        export.content.close()
        return export.manifest

    def _asked(self, access: Access, request: ExportRequest, kind: Kind) -> Asked:
        zone = self._billing.zone
        span = month_or_range(request.period, request.start, request.end, zone=zone)
        if kind.by_month:
            require_period(request.period)
        workspace_id = access.visible(request.workspace_id)
        values = {"workspace_id": workspace_id, "zone": zone.key} | span_values(span)
        if request.kind == "events" and span.period is not None:
            span_of_month = month(span.period, zone=zone)
            values |= {"start": span_of_month.start, "end": span_of_month.end}
        names = ("account_id", "account_name", "issuer_name")
        values |= {name: getattr(self._billing, name) for name in names}
        return Asked(span, self._statements, workspace_id, values)

    def _temporary(self) -> BinaryIO:
        folder = self._store.data_dir / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)

    def _about(self, kind: str, form: str, profile: str, asked: Asked) -> dict[str, Any]:
        span = asked.span
        return {
            "object": "billing.export_manifest",
            "kind": kind,
            "format": form,
            "profile": profile,
            "nodes": self._store.nodes,
            "workspace_id": asked.workspace_id,
            "period": span.period,
            "start": None if span.start == EARLIEST else span.first,
            "end": None if span.end == LATEST else span.last,
            "timezone": self._billing.zone.key,
        }


def _chosen(request: ExportRequest) -> tuple[Kind, str, str]:
    _offered("kind", request.kind, list(KINDS))
    kind = KINDS[request.kind]
    form = kind.formats[0] if request.format is None else request.format
    _offered("format", form, list(kind.formats))
    profiles = [profile for name, profile in FORMATS if name == form and profile in kind.profiles]
    profile = profiles[0] if request.profile is None else request.profile
    _offered("profile", profile, profiles)
    return kind, form, profile


def _offered(param: str, value: str, names: list[str]) -> None:
    if value not in names:
        said = f"{value!r} is not an export {param} that is offered here. Write one of: {', '.join(names)}."
        raise InvalidParameter(said, param=param)


def _check_workspace(read: Reader, request: ExportRequest) -> None:
    wanted = request.workspace_id
    if wanted is not None and not read.query("statements.customers", workspace_id=wanted):
        raise NotFound("workspace", wanted, param="workspace_id")


def _filename(kind: str, span: Range, form: Format) -> str:
    days = [f"{at:%Y%m%d}" for at in (span.start, span.end) if at not in (EARLIEST, LATEST)]
    return "-".join(["nightrate", kind, *([span.period] if span.period else days)]) + f".{form.suffix}"
