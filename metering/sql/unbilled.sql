-- name: of_month
-- Requests of ended tasks that cost nothing, each under one reason.
SELECT coalesce(sum(failed), 0)::BIGINT AS failed,
    coalesce(sum(total - calls), 0)::BIGINT AS never_executed,
    coalesce(sum(unmetered), 0)::BIGINT AS unmetered,
    coalesce(sum(free_requests), 0)::BIGINT AS free
FROM task_rollups
WHERE ended_at >= $start AND ended_at < $end
    AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($model::VARCHAR IS NULL OR model = $model);
