-- name: budgeted
SELECT id, name, currency, budget FROM workspaces
WHERE budget IS NOT NULL AND ($workspace_id::VARCHAR IS NULL OR id = $workspace_id)
ORDER BY id;

-- name: charged
SELECT workspace_id, currency, sum(amount) AS amount FROM charges
WHERE period = $period AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
GROUP BY ALL;

-- name: running
SELECT count(*) AS tasks, min(t.created_at) AS since
FROM tasks t JOIN workspaces w ON w.id = t.workspace_id
WHERE w.budget IS NOT NULL AND t.currency IS NOT NULL
    AND t.status NOT IN ('completed', 'failed', 'expired', 'cancelled')
    AND ($workspace_id::VARCHAR IS NULL OR t.workspace_id = $workspace_id);

-- name: running_groups
-- What running tasks have used by now. Events come in the order of time, so that `$since` leaves out the rest.
SELECT t.workspace_id, t.model, t.currency, e.input_tokens, e.thinking,
    count(*) AS requests, sum(e.output_tokens)::BIGINT AS output_tokens
FROM request_events e
JOIN tasks t ON t.id = e.task_id
JOIN workspaces w ON w.id = t.workspace_id
WHERE w.budget IS NOT NULL AND t.currency IS NOT NULL
    AND t.status NOT IN ('completed', 'failed', 'expired', 'cancelled')
    AND ($workspace_id::VARCHAR IS NULL OR t.workspace_id = $workspace_id)
    AND e.started_at >= $since AND e.outcome = 'succeeded' AND NOT e.unmetered
GROUP BY ALL
ORDER BY ALL;
