-- The lake that several nodes share. Its tables are a node's own ones, and say whose row each is; what is written stays.
-- Unqualified, `progress` is the writing node's own: it stands in a schema of that node.

-- name: create
CREATE TABLE IF NOT EXISTS lake.main.lake_terms (version INTEGER NOT NULL, timezone VARCHAR NOT NULL);
CREATE TABLE IF NOT EXISTS lake.main.request_events (
    node VARCHAR NOT NULL,
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
CREATE TABLE IF NOT EXISTS lake.main.charges (
    node VARCHAR NOT NULL,
    charge_id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    corrects VARCHAR,
    task_id VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    api_key_id VARCHAR,
    model VARCHAR NOT NULL,
    sku VARCHAR NOT NULL,
    tier VARCHAR NOT NULL,
    mode VARCHAR NOT NULL,
    requests BIGINT NOT NULL,
    quantity BIGINT NOT NULL,
    list_unit_price DECIMAL(38, 15) NOT NULL,
    unit_price DECIMAL(38, 15) NOT NULL,
    list_amount DECIMAL(38, 15) NOT NULL,
    discount_amount DECIMAL(38, 15) NOT NULL,
    amount DECIMAL(38, 15) NOT NULL,
    currency VARCHAR NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    recorded_at TIMESTAMPTZ NOT NULL,
    period VARCHAR NOT NULL,
    price_id VARCHAR NOT NULL,
    reason VARCHAR,
    author_key_id VARCHAR
);
CREATE TABLE IF NOT EXISTS lake.main.task_rollups (
    node VARCHAR NOT NULL,
    task_id VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    api_key_id VARCHAR,
    model VARCHAR NOT NULL,
    currency VARCHAR,
    status VARCHAR NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    running_ms DOUBLE NOT NULL,
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
    duration_ms_sum DOUBLE NOT NULL,
    duration_buckets INTEGER[] NOT NULL,
    duration_counts BIGINT[] NOT NULL,
    first_token_calls INTEGER NOT NULL,
    first_token_ms_sum DOUBLE NOT NULL,
    first_token_buckets INTEGER[] NOT NULL,
    first_token_counts BIGINT[] NOT NULL,
    output_token_calls INTEGER NOT NULL,
    output_token_ms_sum DOUBLE NOT NULL,
    timed_output_tokens BIGINT NOT NULL,
    timed_output_ms DOUBLE NOT NULL,
    list_amount DECIMAL(38, 15) NOT NULL,
    amount DECIMAL(38, 15) NOT NULL
);
CREATE TABLE IF NOT EXISTS lake.main.task_errors (
    node VARCHAR NOT NULL,
    task_id VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    ended_at TIMESTAMPTZ NOT NULL,
    status_code INTEGER,
    error_code VARCHAR,
    calls INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS lake.main.statements (
    node VARCHAR NOT NULL,
    serial BIGINT NOT NULL,
    number VARCHAR NOT NULL,
    period VARCHAR NOT NULL,
    workspace_id VARCHAR NOT NULL,
    currency VARCHAR NOT NULL,
    canonical VARCHAR NOT NULL,
    sha256 VARCHAR NOT NULL,
    closed_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE IF NOT EXISTS lake.main.price_versions (
    node VARCHAR NOT NULL,
    price_id VARCHAR NOT NULL,
    model VARCHAR NOT NULL,
    currency VARCHAR NOT NULL,
    valid_from TIMESTAMPTZ NOT NULL,
    canonical VARCHAR NOT NULL,
    source VARCHAR,
    first_seen_at TIMESTAMPTZ NOT NULL
);
CREATE TABLE IF NOT EXISTS lake.main.workspaces (
    node VARCHAR NOT NULL,
    id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    currency VARCHAR,
    published_at TIMESTAMPTZ NOT NULL -- a change is another row; the last one of a workspace holds
);
CREATE TABLE IF NOT EXISTS progress (
    published_until TIMESTAMPTZ NOT NULL,
    tasks BIGINT NOT NULL,
    corrections BIGINT NOT NULL,
    published_at TIMESTAMPTZ NOT NULL
);

-- name: terms
SELECT version, timezone FROM lake.main.lake_terms;

-- name: keep_terms
INSERT INTO lake.main.lake_terms VALUES ($version, $timezone);

-- name: begin_progress
-- There is always one row to replace: two rounds that only add one would not get in each other's way.
INSERT INTO progress SELECT $until, 0, 0, $at WHERE NOT EXISTS (FROM progress);

-- name: progress
SELECT published_until, tasks, corrections FROM progress;

-- name: forget_progress
DELETE FROM progress;

-- name: keep_progress
INSERT INTO progress VALUES ($until, $tasks, $corrections, $at);

-- name: new_tasks
SELECT task_id, ended_at, calls
FROM incoming ANTI JOIN (FROM lake.main.task_rollups WHERE ended_at >= $since) USING (task_id)
ORDER BY ended_at, task_id;

-- name: new_corrections
SELECT charge_id, recorded_at
FROM incoming
    ANTI JOIN (FROM lake.main.charges WHERE kind = 'correction' AND recorded_at >= $since) USING (charge_id)
ORDER BY recorded_at, charge_id;

-- name: add_rollups
INSERT INTO lake.main.task_rollups BY NAME SELECT $node AS node, * FROM incoming;

-- name: add_errors
INSERT INTO lake.main.task_errors BY NAME SELECT $node AS node, * FROM incoming;

-- name: add_charges
INSERT INTO lake.main.charges BY NAME SELECT $node AS node, * FROM incoming;

-- name: add_events
INSERT INTO lake.main.request_events BY NAME SELECT $node AS node, * FROM incoming;

-- name: add_statements
INSERT INTO lake.main.statements BY NAME
SELECT $node AS node, * FROM incoming
    ANTI JOIN (FROM lake.main.statements WHERE node = $node) USING (serial, sha256);

-- name: add_prices
INSERT INTO lake.main.price_versions BY NAME
SELECT $node AS node, * FROM incoming ANTI JOIN (FROM lake.main.price_versions WHERE node = $node) USING (price_id);

-- name: add_workspaces
-- Those of which the last row says something else, or which have none.
INSERT INTO lake.main.workspaces BY NAME
SELECT $node AS node, *, $at AS published_at
FROM (
    FROM incoming
    EXCEPT SELECT id, arg_max(name, published_at), arg_max(struct_pack(currency := currency), published_at).currency
    FROM lake.main.workspaces WHERE node = $node GROUP BY id
);
