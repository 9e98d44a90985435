"""Files for finance: the ledger as csv and parquet, the same bytes for the same ledger (SPEC §7)."""

from metering.exports.export import Export, ExportRequest, Exports

__all__ = ["Export", "ExportRequest", "Exports"]
