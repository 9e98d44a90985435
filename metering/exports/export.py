"""Exports of the ledger with their manifest, both of one snapshot."""

import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from metering.access import Access
from metering.clock import Clock
from metering.errors import InvalidParameter
from metering.exports.columns import KINDS
from metering.exports.formats import FORMATS, Format
from metering.ledger import charge_json, span_values
from metering.options import BillingOptions
from metering.ranges import EARLIEST, LATEST, Range, month_or_range
from metering.store import Reader, Store

PIECE_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """Which file of which part of the ledger. A period, or a range of `recorded_at`, must be given."""

    kind: str
    format: str = "csv"
    profile: str = "machine"
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

    def __init__(self, store: Store, billing: BillingOptions, clock: Clock) -> None:
        self._store, self._zone, self._clock = store, billing.zone, clock

    def write(self, access: Access, request: ExportRequest) -> Export:
        """Makes a file of what the caller may see; the same ledger gives the same bytes.

        Refused (400): an unknown kind, format or profile, and a range that is none.
        """
        form = _format_of(request)
        span = month_or_range(request.period, request.start, request.end, zone=self._zone)
        workspace_id = access.visible(request.workspace_id)
        values = {"workspace_id": workspace_id, "zone": self._zone.key} | span_values(span)
        content = self._temporary()
        try:
            with self._store.reading() as read:
                batches = read.batches(f"exports.{request.kind}_{form.query}", **values)
                rows = form.write(content, KINDS[request.kind], batches)
                facts = _facts(read, values)
            size = content.tell()
            content.seek(0)
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()  # type: ignore[arg-type]
            content.seek(0)
        except BaseException:
            content.close()
            raise
        manifest = self._about(request, span, workspace_id) | facts
        manifest |= {"rows": rows, "bytes": size, "sha256": sha256}
        return Export(content, size, rows, sha256, form.media_type, _filename(request, span, form), manifest)

    def manifest(self, access: Access, request: ExportRequest) -> dict[str, Any]:
        """What `write` says of its file: rows, tokens, amounts by currency, SHA-256, price ids."""
        export = self.write(access, request)
        export.content.close()
        return export.manifest

    def _temporary(self) -> BinaryIO:
        folder = self._store.data_dir / "tmp"
        folder.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)

    def _about(self, request: ExportRequest, span: Range, workspace_id: str | None) -> dict[str, Any]:
        return {
            "object": "billing.export_manifest",
            "kind": request.kind,
            "format": request.format,
            "profile": request.profile,
            "workspace_id": workspace_id,
            "period": span.period,
            "start": None if span.start == EARLIEST else span.first,
            "end": None if span.end == LATEST else span.last,
            "timezone": self._zone.key,
        }


def _facts(read: Reader, values: dict[str, Any]) -> dict[str, Any]:
    totals = read.query("exports.totals", **values)
    money = ("currency", "list_amount", "discount_amount", "amount")
    return {
        "requests": sum(row["requests"] for row in totals),
        "tokens": {name: sum(row[name] for row in totals) for name in ("input_tokens", "output_tokens")},
        "amounts": [charge_json({name: row[name] for name in money}) for row in totals],
        "price_ids": [row["price_id"] for row in read.query("exports.price_ids", **values)],
    }


def _format_of(request: ExportRequest) -> Format:
    offered = list(dict.fromkeys(name for name, _ in FORMATS))
    _offered("kind", request.kind, list(KINDS))
    _offered("format", request.format, offered)
    profiles = [profile for name, profile in FORMATS if name == request.format]
    _offered("profile", request.profile, profiles)
    return FORMATS[request.format, request.profile]


def _offered(param: str, value: str, names: list[str]) -> None:
    if value not in names:
        said = f"{value!r} is not an export {param} that is offered here. Write one of: {', '.join(names)}."
        raise InvalidParameter(said, param=param)


def _filename(request: ExportRequest, span: Range, form: Format) -> str:
    days = [f"{at:%Y%m%d}" for at in (span.start, span.end) if at not in (EARLIEST, LATEST)]
    return (
        "-".join(["nightrate", request.kind, *([span.period] if span.period else days)]) + f".{form.suffix}"
    )
