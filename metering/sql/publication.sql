-- What this node has for the lake, read from its own database.

-- name: node
SELECT name FROM lake_node;

-- name: keep_node
INSERT INTO lake_node SELECT $name WHERE NOT EXISTS (FROM lake_node);

-- name: state
-- The same answer: there is nothing new for the lake.
SELECT (SELECT count(*) FROM task_rollups) AS tasks,
    (SELECT count(*) FROM charges WHERE kind = 'correction') AS corrections,
    (SELECT count(*) FROM statements) AS statements,
    (SELECT count(*) FROM price_versions) AS prices,
    (SELECT hash(list((id, name, currency) ORDER BY id))::VARCHAR FROM workspaces) AS workspaces,
    (SELECT max(last_at) FROM ledger_clock) AS clock;

-- name: counted
SELECT (SELECT count(*) FROM task_rollups WHERE ended_at <= $until) AS tasks,
    (SELECT count(*) FROM charges WHERE kind = 'correction' AND recorded_at <= $until) AS corrections;

-- name: tasks
SELECT task_id, ended_at, calls FROM task_rollups WHERE ended_at >= $since;

-- name: corrections
SELECT charge_id, recorded_at FROM charges WHERE kind = 'correction' AND recorded_at >= $since;

-- name: rollups
SELECT * FROM task_rollups WHERE task_id IN (SELECT unnest($task_ids::VARCHAR[])) ORDER BY ended_at, task_id;

-- name: errors
SELECT * FROM task_errors WHERE task_id IN (SELECT unnest($task_ids::VARCHAR[]))
ORDER BY ended_at, task_id, status_code, error_code;

-- name: charges
SELECT * FROM charges
WHERE kind = 'usage' AND task_id IN (SELECT unnest($task_ids::VARCHAR[]))
    OR kind = 'correction' AND charge_id IN (SELECT unnest($charge_ids::VARCHAR[]))
ORDER BY recorded_at, charge_id;

-- name: began
SELECT min(ended_at - to_milliseconds(running_ms)) - INTERVAL 1 DAY AS at
FROM task_rollups WHERE task_id IN (SELECT unnest($task_ids::VARCHAR[]));

-- name: events
-- Events lie in the order of time, so that `$began` leaves out most others.
SELECT * FROM request_events
WHERE started_at >= $began AND task_id IN (SELECT unnest($task_ids::VARCHAR[]))
ORDER BY task_id, line_no;

-- name: workspaces
SELECT id, name, currency FROM workspaces ORDER BY id;

-- name: prices
SELECT * FROM price_versions ORDER BY price_id;

-- name: statements
SELECT * FROM statements ORDER BY serial;
