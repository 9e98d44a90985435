-- What statistics, statements and exports read when they are asked about all nodes: the lake's tables under the names
-- of a node's own. No month is closed there: closing, and its numbers, are each node's.

-- name: made
SELECT schema_name FROM duckdb_schemas() WHERE schema_name = 'nodes';

-- name: create
CREATE SCHEMA IF NOT EXISTS nodes;
CREATE OR REPLACE VIEW nodes.task_rollups AS SELECT * EXCLUDE (node) FROM lake.main.task_rollups;
CREATE OR REPLACE VIEW nodes.task_errors AS SELECT * EXCLUDE (node) FROM lake.main.task_errors;
CREATE OR REPLACE VIEW nodes.charges AS SELECT * EXCLUDE (node) FROM lake.main.charges;
CREATE OR REPLACE VIEW nodes.request_events AS SELECT * EXCLUDE (node) FROM lake.main.request_events;
CREATE OR REPLACE VIEW nodes.price_versions AS
    SELECT DISTINCT ON (price_id) * EXCLUDE (node) FROM lake.main.price_versions ORDER BY price_id, first_seen_at;
CREATE OR REPLACE VIEW nodes.workspaces AS
    SELECT DISTINCT ON (id) id, name, currency FROM lake.main.workspaces ORDER BY id, published_at DESC, node;
CREATE OR REPLACE VIEW nodes.ledger_clock AS
    SELECT coalesce(max(ended_at), TIMESTAMPTZ '1970-01-01 00:00:00+00') AS last_at FROM lake.main.task_rollups;
