-- name: models
-- Sums by model, workspace and currency. `key` is the group's place in this order, as in models_percentiles.
SELECT row_number() OVER (ORDER BY model, workspace_id, currency) AS key, model, workspace_id, currency,
    count(*) AS tasks,
    sum(calls)::BIGINT AS calls, sum(succeeded)::BIGINT AS succeeded, sum(failed)::BIGINT AS failed,
    sum(rate_limited)::BIGINT AS rate_limited, sum(content_filtered)::BIGINT AS content_filtered,
    sum(unmetered)::BIGINT AS unmetered,
    sum(input_tokens)::BIGINT AS input_tokens, sum(cached_input_tokens)::BIGINT AS cached_input_tokens,
    sum(output_tokens)::BIGINT AS output_tokens, sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
    sum(duration_ms_sum) AS duration_ms_sum,
    sum(first_token_calls)::BIGINT AS first_token_calls, sum(first_token_ms_sum) AS first_token_ms_sum,
    sum(list_amount) AS list_amount, sum(amount) AS amount
FROM task_rollups
WHERE ended_at >= $start AND ended_at < $end
    AND ($model::VARCHAR IS NULL OR model = $model)
    AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
GROUP BY model, workspace_id, currency
ORDER BY key;

-- name: models_percentiles
-- Buckets of the nearest ranks of each group of `models`; those of all calls have the key 0.
WITH parts AS (
    SELECT dense_rank() OVER (ORDER BY model, workspace_id, currency)::INTEGER AS key,
        duration_buckets, duration_counts
    FROM task_rollups
    WHERE ended_at >= $start AND ended_at < $end
        AND ($model::VARCHAR IS NULL OR model = $model)
        AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
), buckets AS (
    SELECT key, unnest(duration_buckets) AS bucket, unnest(duration_counts) AS calls FROM parts
), groups AS MATERIALIZED (
    SELECT key, bucket, sum(calls)::BIGINT AS calls FROM buckets GROUP BY key, bucket
), merged AS (
    SELECT * FROM groups
    UNION ALL
    SELECT 0, bucket, sum(calls)::BIGINT FROM groups GROUP BY bucket
), ranked AS (
    SELECT key, bucket, sum(calls) OVER (PARTITION BY key ORDER BY bucket) AS up_to,
        sum(calls) OVER (PARTITION BY key) AS calls
    FROM merged
)
SELECT key, min(bucket) FILTER (up_to * 100 >= calls * 50) AS p50,
    min(bucket) FILTER (up_to * 100 >= calls * 95) AS p95,
    min(bucket) FILTER (up_to * 100 >= calls * 99) AS p99
FROM ranked GROUP BY key;

-- name: amounts
SELECT currency, sum(list_amount) AS list_amount, sum(amount) AS amount
FROM task_rollups
WHERE ended_at >= $start AND ended_at < $end AND currency IS NOT NULL
    AND ($model::VARCHAR IS NULL OR model = $model)
    AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
GROUP BY currency
ORDER BY currency;

-- name: trend
-- Sums of one model by point. `points` are the points' starts in microseconds, in one text: a list's values
-- are bound one by one, which is slow.
WITH points AS (
    SELECT unnest(string_split($points, ',')::BIGINT[]) AS starts_us,
        generate_subscripts(string_split($points, ','), 1) - 1 AS point
), chosen AS (
    SELECT *, epoch_us(ended_at) AS ended_us FROM task_rollups
    WHERE model = $model AND ended_at >= $start AND ended_at < $end
        AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
)
SELECT point, count(*) AS tasks,
    sum(calls)::BIGINT AS calls, sum(succeeded)::BIGINT AS succeeded, sum(failed)::BIGINT AS failed,
    sum(rate_limited)::BIGINT AS rate_limited, sum(content_filtered)::BIGINT AS content_filtered,
    sum(unmetered)::BIGINT AS unmetered,
    sum(input_tokens)::BIGINT AS input_tokens, sum(cached_input_tokens)::BIGINT AS cached_input_tokens,
    sum(output_tokens)::BIGINT AS output_tokens, sum(reasoning_tokens)::BIGINT AS reasoning_tokens,
    sum(running_ms) AS running_ms, sum(duration_ms_sum) AS duration_ms_sum,
    sum(first_token_calls)::BIGINT AS first_token_calls, sum(first_token_ms_sum) AS first_token_ms_sum,
    sum(output_token_calls)::BIGINT AS output_token_calls, sum(output_token_ms_sum) AS output_token_ms_sum,
    sum(timed_output_tokens)::BIGINT AS timed_output_tokens, sum(timed_output_ms) AS timed_output_ms
FROM chosen ASOF JOIN points ON chosen.ended_us >= points.starts_us
GROUP BY point
ORDER BY point;

-- name: trend_percentiles
-- Buckets of the nearest ranks by point; those of the time to the first token are `first_token`.
WITH points AS (
    SELECT unnest(string_split($points, ',')::BIGINT[]) AS starts_us,
        (generate_subscripts(string_split($points, ','), 1) - 1)::INTEGER AS point
), chosen AS (
    SELECT epoch_us(ended_at) AS ended_us, duration_buckets, duration_counts, first_token_buckets, first_token_counts
    FROM task_rollups
    WHERE model = $model AND ended_at >= $start AND ended_at < $end
        AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
), placed AS (
    SELECT * FROM chosen ASOF JOIN points ON chosen.ended_us >= points.starts_us
), buckets AS (
    SELECT 2 * point AS key, unnest(duration_buckets) AS bucket, unnest(duration_counts) AS calls FROM placed
    UNION ALL
    SELECT 2 * point + 1, unnest(first_token_buckets), unnest(first_token_counts) FROM placed
), merged AS (
    SELECT key, bucket, sum(calls)::BIGINT AS calls FROM buckets GROUP BY key, bucket
), ranked AS (
    SELECT key, bucket, sum(calls) OVER (PARTITION BY key ORDER BY bucket) AS up_to,
        sum(calls) OVER (PARTITION BY key) AS calls
    FROM merged
)
SELECT key // 2 AS point, key % 2 = 1 AS first_token,
    min(bucket) FILTER (up_to * 100 >= calls * 50) AS p50,
    min(bucket) FILTER (up_to * 100 >= calls * 95) AS p95,
    min(bucket) FILTER (up_to * 100 >= calls * 99) AS p99
FROM ranked GROUP BY key;

-- name: errors
SELECT status_code, error_code, sum(calls)::BIGINT AS calls
FROM task_errors
WHERE model = $model AND ended_at >= $start AND ended_at < $end
    AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
GROUP BY status_code, error_code
ORDER BY calls DESC, status_code, error_code;
