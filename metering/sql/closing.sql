-- name: period
SELECT period, ends_at, closed_at FROM billing_periods WHERE period = $period;

-- name: periods
SELECT period, ends_at, closed_at FROM billing_periods ORDER BY period;

-- name: last_closed
SELECT max(period) AS period FROM billing_periods;

-- name: first_used
-- The first month in which anything ended or was charged.
SELECT least(
    (SELECT min(period) FROM charges WHERE $workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id),
    (SELECT strftime(min(ended_at) AT TIME ZONE $zone, '%Y-%m') FROM task_rollups
     WHERE $workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
) AS period;

-- name: last_serial
SELECT coalesce(max(serial), 0) AS serial FROM statements;

-- name: close
INSERT INTO billing_periods (period, ends_at, closed_at) VALUES ($period, $ends_at, $closed_at);

-- name: numbers
SELECT number, period, workspace_id, currency, sha256 FROM statements
WHERE $workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id
ORDER BY serial;
