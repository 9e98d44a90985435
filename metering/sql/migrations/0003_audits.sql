-- What each audit came to; the last one is a metric.
CREATE TABLE audits (
    audit_id VARCHAR PRIMARY KEY,
    started_at TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL,
    period VARCHAR, -- as it was asked, as the two that follow; null: all
    task_id VARCHAR,
    workspace_id VARCHAR,
    verified INTEGER NOT NULL, -- tasks by verdict
    digest_only INTEGER NOT NULL,
    not_verifiable INTEGER NOT NULL,
    different INTEGER NOT NULL,
    differences BIGINT NOT NULL
);
