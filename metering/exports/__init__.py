"""Files for finance: the ledger in every kind and format, the same bytes for the same ledger (SPEC §7)."""

from metering.exports.export import Export, ExportRequest, Exports
from metering.exports.focus import focus_schema
from metering.exports.kinds import FORMATS, KINDS

__all__ = ["FORMATS", "KINDS", "Export", "ExportRequest", "Exports", "focus_schema"]
