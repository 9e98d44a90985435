"""What happened and what it costs: events, the ledger, statistics, exports and metrics."""
