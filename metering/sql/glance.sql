-- name: ended
SELECT count(*) AS tasks FROM task_rollups;

-- name: task_errors
SELECT status_code, error_code, calls FROM task_errors
WHERE task_id = $task_id AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
ORDER BY calls DESC, status_code, error_code;

-- name: task_durations
SELECT duration_buckets AS buckets, duration_counts AS counts FROM task_rollups
WHERE task_id = $task_id AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id);

-- name: calls
-- Calls of each model and workspace in steps of equal length; a step without calls has no row.
SELECT model, workspace_id,
    floor((epoch_us(ended_at) - epoch_us($start::TIMESTAMPTZ)) / $step_us)::INTEGER AS step,
    sum(calls)::BIGINT AS calls
FROM task_rollups
WHERE ended_at >= $start AND ended_at < $end
    AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
GROUP BY model, workspace_id, step;
