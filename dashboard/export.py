"""Exports of the ledger: the links on the Billing page, and the download, streamed from its temporary file."""

from collections.abc import Mapping

from dash import html
from flask import Response

from dashboard import parts, writing
from dashboard.filters import Address, BillingView
from dashboard.services import ConsoleServices
from metering.access import Access
from metering.exports import ExportRequest

_CSV = ("csv", "machine", "CSV")
_SHEET_CSV = ("csv", "spreadsheet", "CSV for spreadsheets")
_XLSX, _PARQUET, _JSONL = ("xlsx", "", "Excel"), ("parquet", "", "Parquet"), ("jsonl", "", "JSONL")
EXPORTS = (
    ("charges", "Ledger lines", (_CSV, _SHEET_CSV, _XLSX, _PARQUET, _JSONL)),
    ("usage", "Usage per day", (_CSV, _SHEET_CSV, _XLSX, _PARQUET, _JSONL)),
    ("statement", "Statement", (_CSV, _XLSX, ("json", "", "JSON"))),
    ("events", "Calls", (_CSV, _PARQUET, _JSONL)),
    ("focus", "FOCUS 1.2", (_CSV, _PARQUET)),
    ("ledger", "Double entry", (("beancount", "", "Beancount"),)),
)


def exported(services: ConsoleServices, access: Access, kind: str, asked: Mapping[str, str]) -> Response:
    """A file of what the caller may see; refused for an unknown kind, format or month."""
    export = services.exports.write(
        access,
        ExportRequest(
            kind=kind,
            format=asked.get("format"),
            profile=asked.get("profile"),
            workspace_id=asked.get("workspace") or None,
            period=asked.get("period"),
        ),
    )
    answer = Response(export.pieces(), mimetype=export.media_type)
    answer.headers.set("Content-Disposition", "attachment", filename=export.filename)
    answer.headers["Content-Length"] = str(export.size_bytes)
    answer.headers["x-nightrate-rows"] = str(export.rows)
    answer.headers["x-nightrate-sha256"] = export.sha256
    return answer


def exports(shown: BillingView) -> html.Section:
    """A link for each kind and format, of the shown month and workspace."""
    rows = []
    for kind, title, formats in EXPORTS:
        links = [
            parts.download_link(text, _export_href(kind, shown, form, profile))
            for form, profile, text in formats
        ]
        spaced = [part for item in links for part in (item, " · ")][:-1]
        rows += [html.Dt(title), html.Dd(spaced)]
    note = f"{writing.month(shown.month)}, {'the chosen workspace' if shown.workspace else 'all that you may see'}, every model"
    return parts.panel("Exports", html.Dl(rows, className="facts"), note=note)


def _export_href(kind: str, shown: BillingView, form: str, profile: str) -> str:
    query = {"period": shown.month, "format": form, "profile": profile, "workspace": shown.workspace or ""}
    return Address(f"/download/exports/{kind}", {k: v for k, v in query.items() if v}).href
