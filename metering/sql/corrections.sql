-- name: charge
SELECT * FROM charges WHERE charge_id = $charge_id;

-- name: exists
SELECT 1 AS found FROM charges WHERE charge_id = $charge_id;
