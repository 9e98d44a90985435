-- name: charge
SELECT charge_id, workspace_id, recorded_at FROM charges WHERE charge_id = $charge_id;

-- name: charges_down
SELECT * FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($task_id::VARCHAR IS NULL OR task_id = $task_id)
    AND ($model::VARCHAR IS NULL OR model = $model)
    AND ($kind::VARCHAR IS NULL OR kind = $kind)
    AND ($currency::VARCHAR IS NULL OR currency = $currency)
    AND ($sku::VARCHAR IS NULL OR sku = $sku)
    AND ($tier::VARCHAR IS NULL OR tier = $tier)
    AND ($mode::VARCHAR IS NULL OR mode = $mode)
    AND ($price_id::VARCHAR IS NULL OR price_id = $price_id)
    AND ($list_unit_price::DECIMAL(38, 15) IS NULL OR list_unit_price = $list_unit_price)
    AND ($api_key_id::VARCHAR IS NULL OR api_key_id = $api_key_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
    AND ($after_id::VARCHAR IS NULL
        OR recorded_at < $after_at OR (recorded_at = $after_at AND charge_id < $after_id))
ORDER BY recorded_at DESC, charge_id DESC
LIMIT $rows;

-- name: charges_up
SELECT * FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($task_id::VARCHAR IS NULL OR task_id = $task_id)
    AND ($model::VARCHAR IS NULL OR model = $model)
    AND ($kind::VARCHAR IS NULL OR kind = $kind)
    AND ($currency::VARCHAR IS NULL OR currency = $currency)
    AND ($sku::VARCHAR IS NULL OR sku = $sku)
    AND ($tier::VARCHAR IS NULL OR tier = $tier)
    AND ($mode::VARCHAR IS NULL OR mode = $mode)
    AND ($price_id::VARCHAR IS NULL OR price_id = $price_id)
    AND ($list_unit_price::DECIMAL(38, 15) IS NULL OR list_unit_price = $list_unit_price)
    AND ($api_key_id::VARCHAR IS NULL OR api_key_id = $api_key_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
    AND ($after_id::VARCHAR IS NULL
        OR recorded_at > $after_at OR (recorded_at = $after_at AND charge_id > $after_id))
ORDER BY recorded_at, charge_id
LIMIT $rows;

-- name: sum_of_charges
SELECT currency, count(*) AS charges, sum(requests)::BIGINT AS requests, sum(quantity)::BIGINT AS quantity,
    sum(list_amount) AS list_amount, sum(discount_amount) AS discount_amount, sum(amount) AS amount
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($task_id::VARCHAR IS NULL OR task_id = $task_id)
    AND ($model::VARCHAR IS NULL OR model = $model)
    AND ($kind::VARCHAR IS NULL OR kind = $kind)
    AND ($currency::VARCHAR IS NULL OR currency = $currency)
    AND ($sku::VARCHAR IS NULL OR sku = $sku)
    AND ($tier::VARCHAR IS NULL OR tier = $tier)
    AND ($mode::VARCHAR IS NULL OR mode = $mode)
    AND ($price_id::VARCHAR IS NULL OR price_id = $price_id)
    AND ($list_unit_price::DECIMAL(38, 15) IS NULL OR list_unit_price = $list_unit_price)
    AND ($api_key_id::VARCHAR IS NULL OR api_key_id = $api_key_id)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND recorded_at >= $start AND recorded_at < $end
GROUP BY currency
ORDER BY currency;

-- name: summary
-- Grouped by what is asked for and always by currency: amounts of two currencies are never added.
SELECT
    CASE WHEN $by_day::BOOLEAN THEN strftime(ended_at AT TIME ZONE $zone, '%Y-%m-%d') END AS day,
    CASE WHEN $by_workspace::BOOLEAN THEN workspace_id END AS workspace_id,
    CASE WHEN $by_model::BOOLEAN THEN model END AS model,
    CASE WHEN $by_api_key::BOOLEAN THEN api_key_id END AS api_key_id,
    CASE WHEN $by_sku::BOOLEAN THEN sku END AS sku,
    currency,
    sum(requests)::BIGINT AS requests,
    coalesce(sum(quantity) FILTER (sku = 'input_tokens'), 0)::BIGINT AS input_tokens,
    coalesce(sum(quantity) FILTER (sku = 'output_tokens'), 0)::BIGINT AS output_tokens,
    sum(list_amount) AS list_amount,
    sum(discount_amount) AS discount_amount,
    sum(amount) AS amount
FROM charges
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($model::VARCHAR IS NULL OR model = $model)
    AND ($period::VARCHAR IS NULL OR period = $period)
    AND ended_at >= $start AND ended_at < $end
GROUP BY ALL
ORDER BY ALL;
