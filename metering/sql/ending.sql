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
    outcome = 'succeeded' AND NOT unmetered AS metered
FROM request_events WHERE task_id = $task_id;

-- name: forget
DROP TABLE IF EXISTS temp.ending_events;

-- name: usage_groups
SELECT input_tokens, thinking, count(*) AS requests, sum(output_tokens)::BIGINT AS output_tokens
FROM ending_events WHERE metered
GROUP BY input_tokens, thinking
ORDER BY input_tokens, thinking;

-- name: counts
SELECT count(*) FILTER (succeeded) AS succeeded,
    count(*) FILTER (NOT succeeded) AS failed,
    count(*) FILTER (succeeded AND NOT metered) AS unmetered,
    coalesce(sum(input_tokens) FILTER (metered), 0)::BIGINT AS input_tokens,
    coalesce(sum(cached_input_tokens) FILTER (metered), 0)::BIGINT AS cached_input_tokens,
    coalesce(sum(output_tokens) FILTER (metered), 0)::BIGINT AS output_tokens,
    coalesce(sum(reasoning_tokens) FILTER (metered), 0)::BIGINT AS reasoning_tokens
FROM ending_events;

-- name: insert_rollup
WITH durations AS (
    SELECT CASE WHEN duration_ms < $smallest THEN $zero_bucket
        ELSE ceil(ln(duration_ms) / $log_gamma)::INTEGER END AS bucket, count(*) AS calls
    FROM ending_events WHERE succeeded GROUP BY bucket
), first_tokens AS (
    SELECT CASE WHEN first_token_ms < $smallest THEN $zero_bucket
        ELSE ceil(ln(first_token_ms) / $log_gamma)::INTEGER END AS bucket, count(*) AS calls
    FROM ending_events WHERE succeeded AND first_token_ms IS NOT NULL GROUP BY bucket
), calls AS (
    SELECT *, metered AND first_token_ms IS NOT NULL AND output_tokens >= 2 AS paced FROM ending_events
)
INSERT INTO task_rollups BY NAME
SELECT $task_id AS task_id, $workspace_id AS workspace_id, $api_key_id AS api_key_id, $model AS model,
    $currency AS currency, $status AS status, $ended_at AS ended_at, $running_ms AS running_ms,
    $total AS total, count(*) AS calls,
    $succeeded AS succeeded, $failed AS failed,
    count(*) FILTER (rate_limited_attempts > 0) AS rate_limited,
    count(*) FILTER (
        finish_reason = 'content_filter'
        OR lower(error_code) IN ('content_filter', 'content_policy_violation', 'data_inspection_failed', 'datainspectionfailed')
    ) AS content_filtered,
    $unmetered AS unmetered, $free_requests AS free_requests,
    $input_tokens AS input_tokens, $cached_input_tokens AS cached_input_tokens,
    $output_tokens AS output_tokens, $reasoning_tokens AS reasoning_tokens,
    coalesce(sum(duration_ms) FILTER (succeeded), 0) AS duration_ms_sum,
    coalesce((SELECT list(bucket ORDER BY bucket) FROM durations), []) AS duration_buckets,
    coalesce((SELECT list(calls ORDER BY bucket) FROM durations), []) AS duration_counts,
    count(*) FILTER (succeeded AND first_token_ms IS NOT NULL) AS first_token_calls,
    coalesce(sum(first_token_ms) FILTER (succeeded), 0) AS first_token_ms_sum,
    coalesce((SELECT list(bucket ORDER BY bucket) FROM first_tokens), []) AS first_token_buckets,
    coalesce((SELECT list(calls ORDER BY bucket) FROM first_tokens), []) AS first_token_counts,
    count(*) FILTER (paced) AS output_token_calls,
    coalesce(sum((duration_ms - first_token_ms) / (output_tokens - 1)) FILTER (paced), 0) AS output_token_ms_sum,
    $output_tokens AS timed_output_tokens,
    coalesce(sum(duration_ms) FILTER (metered), 0) AS timed_output_ms,
    $list_amount AS list_amount, $amount AS amount
FROM calls;

-- name: insert_errors
INSERT INTO task_errors BY NAME
SELECT $task_id AS task_id, $workspace_id AS workspace_id, $model AS model, $ended_at AS ended_at,
    status_code, error_code, count(*) AS calls
FROM ending_events WHERE NOT succeeded
GROUP BY status_code, error_code;
