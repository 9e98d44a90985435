-- name: charge_count
SELECT count(*) AS rows
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end;

-- name: charge_borders
-- Moments that cut the entries into about equal parts; they need not be exact, and take no memory to find.
SELECT approx_quantile(recorded_at, $shares::FLOAT[]) AS borders
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end;

-- name: charges
SELECT charge_id, kind, corrects, task_id, workspace_id, api_key_id, model, sku, tier, mode,
    requests, quantity, list_unit_price, unit_price, list_amount, discount_amount, amount, currency,
    ended_at, recorded_at, period, price_id, reason, author_key_id
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end;

-- name: usage
SELECT (ended_at AT TIME ZONE $zone)::DATE AS day, workspace_id, model, sku, currency,
    sum(requests)::BIGINT AS requests, sum(quantity)::BIGINT AS quantity,
    sum(list_amount) AS list_amount, sum(discount_amount) AS discount_amount, sum(amount) AS amount
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
GROUP BY day, workspace_id, model, sku, currency
ORDER BY day, workspace_id, model, sku, currency;

-- name: totals
SELECT currency,
    sum(requests)::BIGINT AS requests,
    coalesce(sum(quantity) FILTER (sku = 'input_tokens'), 0)::BIGINT AS input_tokens,
    coalesce(sum(quantity) FILTER (sku = 'output_tokens'), 0)::BIGINT AS output_tokens,
    sum(list_amount) AS list_amount, sum(discount_amount) AS discount_amount, sum(amount) AS amount
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
GROUP BY currency
ORDER BY currency;

-- name: price_ids
SELECT DISTINCT price_id
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
ORDER BY price_id;

-- name: event_slices
-- Where to cut the ended tasks so that about $rows events lie between two cuts.
WITH moments AS (
    SELECT ended_at AS moment, sum(calls) AS calls
    FROM task_rollups
    WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
        AND ended_at >= $start AND ended_at < $end
    GROUP BY ended_at
), counted AS (
    SELECT moment, (sum(calls) OVER (ORDER BY moment) - calls) // $rows AS slice FROM moments
)
SELECT min(moment) AS first_end FROM counted GROUP BY slice ORDER BY first_end;

-- name: events
SELECT e.task_id, e.line_no, e.custom_id, e.workspace_id, e.api_key_id, e.model, e.endpoint, e.outcome,
    e.status_code, e.error_code, e.finish_reason, e.unmetered, e.attempts, e.rate_limited_attempts,
    e.input_tokens, e.cached_input_tokens, e.output_tokens, e.reasoning_tokens, e.thinking,
    e.started_at, e.first_token_at, e.finished_at, e.duration_ms, e.first_token_ms, e.total_ms, e.upstream,
    r.ended_at
FROM request_events e JOIN task_rollups r ON r.task_id = e.task_id
WHERE ($workspace_id::VARCHAR IS NULL OR r.workspace_id = $workspace_id)
    AND r.ended_at >= $start AND r.ended_at < $end;

-- name: event_totals
-- Of the calls that are still kept. Their bill is in the ledger, whose rows these are not.
SELECT count(*) AS requests,
    coalesce(sum(e.input_tokens) FILTER (NOT e.unmetered), 0)::BIGINT AS input_tokens,
    coalesce(sum(e.output_tokens) FILTER (NOT e.unmetered), 0)::BIGINT AS output_tokens
FROM request_events e JOIN task_rollups r ON r.task_id = e.task_id
WHERE ($workspace_id::VARCHAR IS NULL OR r.workspace_id = $workspace_id)
    AND r.ended_at >= $start AND r.ended_at < $end;

-- name: event_bill
-- What the tasks of these calls were charged, corrections left out.
SELECT currency, sum(list_amount) AS list_amount, sum(discount_amount) AS discount_amount, sum(amount) AS amount,
    list_sort(list(DISTINCT price_id)) AS price_ids
FROM charges
WHERE kind = 'usage' AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ended_at >= $start AND ended_at < $end
GROUP BY currency
ORDER BY currency;
