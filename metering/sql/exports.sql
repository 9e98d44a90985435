-- Each kind twice: `_rows` with the types of a database, `_text` with money and moments as exact text.
-- name: charges_rows
SELECT charge_id, kind, corrects, task_id, workspace_id, api_key_id, model, sku, tier, mode,
    requests, quantity, list_unit_price, unit_price, list_amount, discount_amount, amount, currency,
    ended_at, recorded_at, period, price_id, reason, author_key_id
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
ORDER BY recorded_at, charge_id;

-- name: charges_text
SELECT charge_id, kind, corrects, task_id, workspace_id, api_key_id, model, sku, tier, mode,
    requests, quantity,
    rtrim(rtrim(list_unit_price::VARCHAR, '0'), '.') AS list_unit_price,
    rtrim(rtrim(unit_price::VARCHAR, '0'), '.') AS unit_price,
    rtrim(rtrim(list_amount::VARCHAR, '0'), '.') AS list_amount,
    rtrim(rtrim(discount_amount::VARCHAR, '0'), '.') AS discount_amount,
    rtrim(rtrim(amount::VARCHAR, '0'), '.') AS amount,
    currency,
    strftime(ended_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS ended_at,
    strftime(recorded_at, '%Y-%m-%dT%H:%M:%S.%fZ') AS recorded_at,
    period, price_id, reason, author_key_id
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND charges.recorded_at >= $start AND charges.recorded_at < $end
ORDER BY charges.recorded_at, charge_id;

-- name: usage_rows
SELECT (ended_at AT TIME ZONE $zone)::DATE AS day, workspace_id, model, sku, currency,
    sum(requests)::BIGINT AS requests, sum(quantity)::BIGINT AS quantity,
    sum(list_amount) AS list_amount, sum(discount_amount) AS discount_amount, sum(amount) AS amount
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
GROUP BY day, workspace_id, model, sku, currency
ORDER BY day, workspace_id, model, sku, currency;

-- name: usage_text
SELECT strftime(ended_at AT TIME ZONE $zone, '%Y-%m-%d') AS day, workspace_id, model, sku, currency,
    sum(requests)::BIGINT AS requests, sum(quantity)::BIGINT AS quantity,
    rtrim(rtrim(sum(list_amount)::VARCHAR, '0'), '.') AS list_amount,
    rtrim(rtrim(sum(discount_amount)::VARCHAR, '0'), '.') AS discount_amount,
    rtrim(rtrim(sum(amount)::VARCHAR, '0'), '.') AS amount
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
