-- name: tasks
-- Rollups of ended tasks; `metering/ended_tasks.py` reads them.
SELECT epoch_us(ended_at) AS ended_us, model, workspace_id, currency,
    calls, succeeded, failed, rate_limited, content_filtered, unmetered,
    input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
    running_ms, duration_ms_sum, duration_buckets, duration_counts,
    first_token_calls, first_token_ms_sum, first_token_buckets, first_token_counts,
    output_token_calls, output_token_ms_sum, timed_output_tokens, timed_output_ms,
    list_amount, amount
FROM task_rollups
WHERE ended_at >= $start AND ended_at < $end;

-- name: state
-- The hour in which the ledger's clock stands, counted from 1970: what ends from now on is not dated before it.
SELECT (SELECT max(epoch_us(last_at)) // 3600000000 FROM ledger_clock) AS hour,
    (SELECT count(*) FROM task_rollups) AS tasks;

-- name: errors
SELECT status_code, error_code, sum(calls)::BIGINT AS calls
FROM task_errors
WHERE model = $model AND ended_at >= $start AND ended_at < $end
    AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
GROUP BY status_code, error_code
ORDER BY calls DESC, status_code, error_code;
