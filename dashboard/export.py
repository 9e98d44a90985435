"""An export of the ledger as a download, streamed from its temporary file."""

from collections.abc import Mapping

from flask import Response

from dashboard.services import ConsoleServices
from metering.access import Access
from metering.exports import ExportRequest


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
