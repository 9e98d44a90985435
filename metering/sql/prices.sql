-- name: versions
SELECT price_id, model, currency, valid_from, canonical, source, first_seen_at
FROM price_versions
ORDER BY model, currency, valid_from, first_seen_at, price_id;

-- name: used
-- The prices that charges were made with, and when for the last time.
SELECT c.model, c.currency, c.price_id, v.canonical, max(c.ended_at) AS last_ended_at
FROM charges c LEFT JOIN price_versions v USING (price_id)
WHERE c.kind = 'usage'
GROUP BY ALL
ORDER BY c.model, c.currency, last_ended_at, c.price_id;

-- name: remember
INSERT INTO price_versions (price_id, model, currency, valid_from, canonical, source, first_seen_at)
VALUES ($price_id, $model, $currency, $valid_from, $canonical, $source, $now)
ON CONFLICT (price_id) DO UPDATE SET source = excluded.source;
