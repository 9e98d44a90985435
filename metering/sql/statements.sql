-- name: lines
WITH lines AS (
    SELECT workspace_id, currency, CASE WHEN $by_api_key::BOOLEAN THEN api_key_id END AS api_key_id,
        model, sku, tier, mode, price_id,
        sum(requests)::BIGINT AS requests, sum(quantity)::BIGINT AS quantity,
        list_unit_price, unit_price,
        sum(list_amount) AS list_amount, sum(discount_amount) AS discount_amount, sum(amount) AS amount
    FROM charges
    WHERE period = $period AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    GROUP BY ALL
)
SELECT * FROM lines
ORDER BY workspace_id, currency, model, sku, try_cast(tier AS BIGINT) NULLS LAST, tier, mode,
    price_id, list_unit_price, api_key_id NULLS FIRST;

-- name: counts
-- What was delivered and not charged, by the currency that the task had: none for free models.
SELECT workspace_id, currency, sum(unmetered)::BIGINT AS unmetered, sum(free_requests)::BIGINT AS free
FROM task_rollups
WHERE ended_at >= $start AND ended_at < $end
    AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
GROUP BY ALL
ORDER BY ALL;

-- name: customers
SELECT id, name, currency FROM workspaces
WHERE $workspace_id::VARCHAR IS NULL OR id = $workspace_id
ORDER BY id;

-- name: price_currencies
SELECT DISTINCT currency FROM price_versions ORDER BY currency;

-- name: frozen
SELECT number, period, workspace_id, currency, canonical, sha256 FROM statements
WHERE period = $period AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
ORDER BY workspace_id, currency;
