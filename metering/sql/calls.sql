-- name: ended
SELECT ended_at, running_ms FROM task_rollups
WHERE task_id = $task_id AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id);

-- name: page
-- Calls of one task in the order of its lines. Events lie in the order of time, so that `$since` leaves out most others.
SELECT * FROM request_events
WHERE task_id = $task_id AND started_at >= $since AND started_at <= $until AND line_no > $after
    AND ($metered::BOOLEAN IS NULL OR (outcome = 'succeeded' AND NOT unmetered) = $metered)
    AND ($above::BIGINT IS NULL OR input_tokens > $above)
    AND ($up_to::BIGINT IS NULL OR input_tokens <= $up_to)
    AND ($thinking::BOOLEAN IS NULL OR thinking = $thinking)
ORDER BY line_no
LIMIT $rows;

-- name: sums
SELECT count(*) AS calls,
    coalesce(sum(input_tokens), 0)::BIGINT AS input_tokens,
    coalesce(sum(cached_input_tokens), 0)::BIGINT AS cached_input_tokens,
    coalesce(sum(output_tokens), 0)::BIGINT AS output_tokens,
    coalesce(sum(reasoning_tokens), 0)::BIGINT AS reasoning_tokens
FROM request_events
WHERE task_id = $task_id AND started_at >= $since AND started_at <= $until
    AND ($metered::BOOLEAN IS NULL OR (outcome = 'succeeded' AND NOT unmetered) = $metered)
    AND ($above::BIGINT IS NULL OR input_tokens > $above)
    AND ($up_to::BIGINT IS NULL OR input_tokens <= $up_to)
    AND ($thinking::BOOLEAN IS NULL OR thinking = $thinking);
