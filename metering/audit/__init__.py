"""The audit (SPEC §5.10): recomputes the ledger from result files and events, with code of its own.

Nothing here imports rating or usage, and neither imports anything of here: what they get wrong, this finds.
"""

from metering.audit.report import AuditRequest, Progress, Report
from metering.audit.service import Audit

__all__ = ["Audit", "AuditRequest", "Progress", "Report"]
