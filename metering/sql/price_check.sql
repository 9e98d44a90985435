-- What a month's usage entries were charged, and what decides how another price book would rate them.
-- name: models
SELECT DISTINCT model, currency FROM charges
WHERE kind = 'usage' AND period = $period
ORDER BY model, currency;

-- name: charged
-- `step` counts the borders between prices that lie before a task's end, a border itself included.
SELECT price_id, len(list_filter($borders::TIMESTAMPTZ[], lambda border: border <= ended_at)) AS step, tier, mode,
    sum(requests)::BIGINT AS requests,
    coalesce(sum(quantity) FILTER (sku = 'input_tokens'), 0)::BIGINT AS input_tokens,
    coalesce(sum(quantity) FILTER (sku = 'output_tokens'), 0)::BIGINT AS output_tokens,
    sum(list_amount) AS list_amount, sum(amount) AS amount
FROM charges
WHERE kind = 'usage' AND period = $period AND model = $model AND currency = $currency
GROUP BY ALL
ORDER BY ALL;

-- name: requests
-- The same requests one by one, in the tiers of another price: `bound` is null above the last one.
WITH charged AS (
    SELECT DISTINCT task_id,
        len(list_filter($borders::TIMESTAMPTZ[], lambda border: border <= ended_at)) AS step
    FROM charges
    WHERE kind = 'usage' AND period = $period AND model = $model AND currency = $currency
)
SELECT c.step, e.thinking, list_min(list_filter($bounds::BIGINT[], lambda bound: bound >= e.input_tokens)) AS bound,
    count(*) AS requests, sum(e.input_tokens)::BIGINT AS input_tokens, sum(e.output_tokens)::BIGINT AS output_tokens
FROM request_events e JOIN charged c USING (task_id)
WHERE e.outcome = 'succeeded' AND NOT e.unmetered
GROUP BY ALL
ORDER BY ALL;
