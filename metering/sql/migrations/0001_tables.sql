-- Every table of the first version. TIMESTAMPTZ is UTC; money is DECIMAL(38,15).
CREATE TABLE workspaces (
    id VARCHAR PRIMARY KEY,
    name VARCHAR NOT NULL,
    disabled BOOLEAN NOT NULL DEFAULT false,
    currency VARCHAR,
    budget DECIMAL(38, 15),
    allowed_models VARCHAR, -- JSON list of names; null: all
    webhook_url VARCHAR,
    webhook_secret VARCHAR, -- signs, so it can't be a hash
    created_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE api_keys (
    id VARCHAR PRIMARY KEY,
    workspace_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    prefix VARCHAR NOT NULL, -- the first characters of the secret, to tell keys apart
    secret_sha256 VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    revoked_at TIMESTAMPTZ
);

CREATE TABLE files (
    id VARCHAR PRIMARY KEY,
    workspace_id VARCHAR NOT NULL,
    api_key_id VARCHAR,
    task_id VARCHAR, -- of an output: the task that wrote it
    purpose VARCHAR NOT NULL, -- batch | batch_output
    filename VARCHAR NOT NULL,
    path VARCHAR NOT NULL, -- relative to the data folder
    bytes BIGINT NOT NULL,
    sha256 VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ,
    deleted_at TIMESTAMPTZ
);

CREATE TABLE tasks (
    id VARCHAR PRIMARY KEY,
    workspace_id VARCHAR NOT NULL,
    api_key_id VARCHAR,
    endpoint VARCHAR NOT NULL,
    input_file_id VARCHAR NOT NULL,
    completion_window VARCHAR NOT NULL,
    metadata VARCHAR, -- JSON object of strings
    name VARCHAR,
    description VARCHAR,
    callback_url VARCHAR,
    status VARCHAR NOT NULL,
    ending VARCHAR, -- completed | expired | cancelled, before the first closing line is written
    model VARCHAR,
    currency VARCHAR,
    total INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    output_bytes BIGINT NOT NULL DEFAULT 0, -- the length of the result file that counts
    error_bytes BIGINT NOT NULL DEFAULT 0,
    output_sha256 VARCHAR,
    error_sha256 VARCHAR,
    output_file_id VARCHAR,
    error_file_id VARCHAR,
    output_expires_after BIGINT, -- seconds
    errors VARCHAR, -- JSON list of {code, message, param, line}, compressed (executor/tasks.py)
    input_tokens BIGINT,
    cached_input_tokens BIGINT,
    output_tokens BIGINT,
    reasoning_tokens BIGINT,
    list_amount DECIMAL(38, 15),
    amount DECIMAL(38, 15),
    retry_of VARCHAR,
    created_at TIMESTAMPTZ NOT NULL,
    in_progress_at TIMESTAMPTZ,
    started_at TIMESTAMPTZ, -- of the first dispatched request
    expires_at TIMESTAMPTZ NOT NULL,
    finalizing_at TIMESTAMPTZ,
    completed_at TIMESTAMPTZ,
    failed_at TIMESTAMPTZ,
    expired_at TIMESTAMPTZ,
    cancelling_at TIMESTAMPTZ,
    cancelled_at TIMESTAMPTZ,
    ended_at TIMESTAMPTZ
);

CREATE TABLE idempotency_keys (
    workspace_id VARCHAR NOT NULL,
    key VARCHAR NOT NULL,
    body_sha256 VARCHAR NOT NULL,
    task_id VARCHAR NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (workspace_id, key)
);

-- No primary key on purpose: its index would live in memory, a row a call. The commit protocol keeps
-- (task_id, line_no) unique, and the audit counts it.
CREATE TABLE request_events (
    task_id VARCHAR NOT NULL,
    line_no INTEGER NOT NULL,
    custom_id VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    api_key_id VARCHAR,
    model VARCHAR NOT NULL,
    endpoint VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    status_code INTEGER,
    error_code VARCHAR,
    finish_reason VARCHAR,
    unmetered BOOLEAN NOT NULL,
    attempts INTEGER NOT NULL,
    rate_limited_attempts INTEGER NOT NULL,
    input_tokens BIGINT,
    cached_input_tokens BIGINT,
    output_tokens BIGINT,
    reasoning_tokens BIGINT,
    thinking BOOLEAN NOT NULL,
    started_at TIMESTAMPTZ NOT NULL,
    first_token_at TIMESTAMPTZ,
    finished_at TIMESTAMPTZ NOT NULL,
    duration_ms DOUBLE NOT NULL,
    first_token_ms DOUBLE,
    total_ms DOUBLE NOT NULL,
    upstream VARCHAR
);

-- The ledger: rows are inserted, never changed or removed.
CREATE TABLE charges (
    charge_id VARCHAR PRIMARY KEY,
    kind VARCHAR NOT NULL, -- usage | correction
    corrects VARCHAR,
    task_id VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    api_key_id VARCHAR,
    model VARCHAR NOT NULL,
    sku VARCHAR NOT NULL, -- input_tokens | output_tokens
    tier VARCHAR NOT NULL,
    mode VARCHAR NOT NULL, -- standard | thinking
    requests BIGINT NOT NULL,
    quantity BIGINT NOT NULL, -- tokens
    list_unit_price DECIMAL(38, 15) NOT NULL, -- per million tokens
    unit_price DECIMAL(38, 15) NOT NULL,
    list_amount DECIMAL(38, 15) NOT NULL,
    discount_amount DECIMAL(38, 15) NOT NULL,
    amount DECIMAL(38, 15) NOT NULL,
    currency VARCHAR NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    period VARCHAR NOT NULL, -- YYYY-MM in the billing zone
    price_id VARCHAR NOT NULL,
    reason VARCHAR,
    author_key_id VARCHAR
);

-- One row per ended task: all that statistics ever read.
CREATE TABLE task_rollups (
    task_id VARCHAR PRIMARY KEY,
    workspace_id VARCHAR NOT NULL,
    api_key_id VARCHAR,
    model VARCHAR NOT NULL,
    currency VARCHAR, -- null for a free model
    status VARCHAR NOT NULL, -- completed | expired | cancelled
    ended_at TIMESTAMPTZ NOT NULL,
    running_ms DOUBLE NOT NULL, -- from in_progress_at to ended_at
    total INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    rate_limited INTEGER NOT NULL,
    content_filtered INTEGER NOT NULL,
    unmetered INTEGER NOT NULL,
    free_requests INTEGER NOT NULL,
    input_tokens BIGINT NOT NULL,
    cached_input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    reasoning_tokens BIGINT NOT NULL,
    duration_ms_sum DOUBLE NOT NULL, -- of succeeded calls, as all that follows
    duration_buckets INTEGER[] NOT NULL, -- logarithmic, metering/histogram.py
    duration_counts BIGINT[] NOT NULL,
    first_token_calls INTEGER NOT NULL,
    first_token_ms_sum DOUBLE NOT NULL,
    first_token_buckets INTEGER[] NOT NULL,
    first_token_counts BIGINT[] NOT NULL,
    output_token_calls INTEGER NOT NULL, -- calls with a first token and at least two output tokens
    output_token_ms_sum DOUBLE NOT NULL, -- sum of their (duration - first token) / (output tokens - 1)
    timed_output_tokens BIGINT NOT NULL, -- output tokens of metered succeeded calls, and
    timed_output_ms DOUBLE NOT NULL, -- the time that these calls took
    list_amount DECIMAL(38, 15) NOT NULL,
    amount DECIMAL(38, 15) NOT NULL
);

CREATE TABLE task_errors (
    task_id VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    status_code INTEGER,
    error_code VARCHAR,
    calls INTEGER NOT NULL
);

-- What proves a bill after the files are gone (SPEC §5.9).
CREATE TABLE task_digests (
    task_id VARCHAR NOT NULL,
    tier VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    requests BIGINT NOT NULL,
    input_tokens BIGINT NOT NULL,
    output_tokens BIGINT NOT NULL,
    output_sha256 VARCHAR,
    error_sha256 VARCHAR
);

-- Every price that was ever loaded, in its canonical form.
CREATE TABLE price_versions (
    price_id VARCHAR PRIMARY KEY,
    model VARCHAR NOT NULL,
    currency VARCHAR NOT NULL,
    valid_from TIMESTAMPTZ NOT NULL,
    canonical VARCHAR NOT NULL,
    source VARCHAR,
    first_seen_at TIMESTAMPTZ NOT NULL
);

CREATE TABLE billing_periods (
    period VARCHAR PRIMARY KEY,
    ends_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ NOT NULL
);

-- One row: the last moment given to the ledger, which never goes back.
CREATE TABLE ledger_clock (last_at TIMESTAMPTZ NOT NULL);
INSERT INTO ledger_clock VALUES (TIMESTAMPTZ '1970-01-01 00:00:00+00');

CREATE TABLE webhook_outbox (
    id VARCHAR PRIMARY KEY,
    task_id VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    url VARCHAR NOT NULL,
    type VARCHAR NOT NULL, -- batch.completed | batch.failed | batch.expired | batch.cancelled
    created_at TIMESTAMPTZ NOT NULL,
    delivered_at TIMESTAMPTZ
);

-- Which label values have series of their own in /metrics; the others are summed under `_other`. Kept, so that
-- no counter ever falls.
CREATE TABLE metric_labels (
    label VARCHAR NOT NULL,
    value VARCHAR NOT NULL,
    own BOOLEAN NOT NULL,
    PRIMARY KEY (label, value)
);
