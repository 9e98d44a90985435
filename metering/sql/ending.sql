-- name: last_moment
-- The ledger's clock never goes back, and never into a closed period.
SELECT greatest(
    (SELECT max(last_at) FROM ledger_clock),
    coalesce((SELECT max(ends_at) FROM billing_periods), TIMESTAMPTZ '1970-01-01 00:00:00+00')
) AS at;

-- name: set_moment
UPDATE ledger_clock SET last_at = $at;

-- name: existing_bill
SELECT list_amount, amount, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,
    succeeded, failed, unmetered
FROM task_rollups WHERE task_id = $task_id;

-- name: gather
-- The events of one task, read once from the large table; every other block reads these.
CREATE OR REPLACE TEMP TABLE ending_events AS
SELECT outcome, status_code, error_code, finish_reason, rate_limited_attempts, thinking,
    input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, duration_ms, first_token_ms,
    outcome = 'succeeded' AS succeeded,
    outcome = 'succeeded' AND NOT unmetered AS metered,
    CASE WHEN duration_ms < $smallest THEN $zero_bucket
        ELSE ceil(ln(duration_ms) / $log_gamma)::INTEGER END AS duration_bucket,
    CASE WHEN first_token_ms < $smallest THEN $zero_bucket
        ELSE ceil(ln(first_token_ms) / $log_gamma)::INTEGER END AS first_token_bucket
FROM request_events WHERE task_id = $task_id;

-- name: forget
DROP TABLE IF EXISTS temp.ending_events;

-- name: usage_groups
SELECT input_tokens, thinking, count(*) AS requests, sum(output_tokens)::BIGINT AS output_tokens
FROM ending_events WHERE metered
GROUP BY input_tokens, thinking
ORDER BY input_tokens, thinking;

-- name: measured
-- What the rollup holds of the task's calls; a histogram is a map from bucket to calls, in the order of the buckets.
WITH calls AS (
    SELECT *, metered AND first_token_ms IS NOT NULL AND output_tokens >= 2 AS paced FROM ending_events
)
SELECT count(*) AS calls,
    count(*) FILTER (succeeded) AS succeeded,
    count(*) FILTER (NOT succeeded) AS failed,
    count(*) FILTER (rate_limited_attempts > 0) AS rate_limited,
    count(*) FILTER (
        finish_reason = 'content_filter'
        OR lower(error_code) IN ('content_filter', 'content_policy_violation', 'data_inspection_failed', 'datainspectionfailed')
    ) AS content_filtered,
    count(*) FILTER (succeeded AND NOT metered) AS unmetered,
    coalesce(sum(input_tokens) FILTER (metered), 0)::BIGINT AS input_tokens,
    coalesce(sum(cached_input_tokens) FILTER (metered), 0)::BIGINT AS cached_input_tokens,
    coalesce(sum(output_tokens) FILTER (metered), 0)::BIGINT AS output_tokens,
    coalesce(sum(reasoning_tokens) FILTER (metered), 0)::BIGINT AS reasoning_tokens,
    coalesce(sum(duration_ms) FILTER (succeeded), 0) AS duration_ms_sum,
    histogram(duration_bucket) FILTER (succeeded) AS durations,
    count(*) FILTER (succeeded AND first_token_ms IS NOT NULL) AS first_token_calls,
    coalesce(sum(first_token_ms) FILTER (succeeded), 0) AS first_token_ms_sum,
    histogram(first_token_bucket) FILTER (succeeded) AS first_tokens,
    count(*) FILTER (paced) AS output_token_calls,
    coalesce(sum((duration_ms - first_token_ms) / (output_tokens - 1)) FILTER (paced), 0) AS output_token_ms_sum,
    coalesce(sum(duration_ms) FILTER (metered), 0) AS timed_output_ms
FROM calls;

-- name: insert_errors
INSERT INTO task_errors BY NAME
SELECT $task_id AS task_id, $workspace_id AS workspace_id, $model AS model, $ended_at AS ended_at,
    status_code, error_code, count(*) AS calls
FROM ending_events WHERE NOT succeeded
GROUP BY status_code, error_code;
