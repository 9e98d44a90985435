-- name: kept
SELECT timezone FROM billing_terms;

-- name: forget
DELETE FROM billing_terms;

-- name: keep
INSERT INTO billing_terms VALUES ($timezone);

-- name: bound
SELECT EXISTS (SELECT 1 FROM charges) OR EXISTS (SELECT 1 FROM billing_periods) AS bound;

-- name: other_zone
-- A usage entry whose period is not the month of its end in this zone.
SELECT charge_id, period FROM charges
WHERE kind = 'usage' AND period <> strftime(ended_at AT TIME ZONE $zone, '%Y-%m')
LIMIT 1;

-- name: other_currency
-- What was charged to a workspace without a currency of its own, which has the default one.
SELECT c.workspace_id, c.currency FROM charges c JOIN workspaces w ON w.id = c.workspace_id
WHERE w.currency IS NULL AND c.currency <> $currency
LIMIT 1;
