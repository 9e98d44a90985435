-- name: labels
SELECT label, value, own FROM metric_labels;

-- name: remember_label
INSERT INTO metric_labels VALUES ($label, $value, $own) ON CONFLICT DO NOTHING;

-- name: tokens
-- Usage and replacements are billed; a reversal is a correction that takes away.
SELECT workspace_id, model, sku, sum(requests)::BIGINT AS requests, sum(quantity)::BIGINT AS tokens
FROM charges
WHERE NOT (kind = 'correction' AND (requests < 0 OR quantity < 0))
GROUP BY workspace_id, model, sku
ORDER BY workspace_id, model, sku;

-- name: amounts
SELECT workspace_id, model, currency,
    coalesce(sum(amount) FILTER (NOT reversal), 0) AS amount,
    coalesce(sum(list_amount) FILTER (NOT reversal), 0) AS list_amount,
    coalesce(-sum(amount) FILTER (reversal), 0) AS credited
FROM (SELECT *, kind = 'correction' AND (requests < 0 OR quantity < 0) AS reversal FROM charges)
GROUP BY workspace_id, model, currency
ORDER BY workspace_id, model, currency;

-- name: unmetered
SELECT workspace_id, model, sum(unmetered)::BIGINT AS unmetered
FROM task_rollups
GROUP BY workspace_id, model
ORDER BY workspace_id, model;

-- name: workspaces
SELECT id, name FROM workspaces ORDER BY created_at, id;

-- name: prices
SELECT price_id, model, currency, valid_from FROM price_versions ORDER BY model, currency, valid_from, price_id;
