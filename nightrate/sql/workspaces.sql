-- name: live_keys
SELECT k.id, k.workspace_id, k.secret_sha256, k.expires_at
FROM api_keys k JOIN workspaces w ON w.id = k.workspace_id
WHERE k.revoked_at IS NULL AND NOT w.disabled;

-- name: identities
SELECT id FROM workspaces;

-- name: page
SELECT * EXCLUDE (webhook_secret)
FROM workspaces
WHERE $after::VARCHAR IS NULL
   OR (created_at, id) > (SELECT (created_at, id) FROM workspaces WHERE id = $after)
ORDER BY created_at, id
LIMIT $rows;

-- name: get
SELECT * EXCLUDE (webhook_secret) FROM workspaces WHERE id = $id;

-- name: in_use
SELECT
    EXISTS (SELECT 1 FROM charges WHERE workspace_id = $id) AS charged,
    EXISTS (SELECT 1 FROM tasks WHERE workspace_id = $id
            AND status IN ('validating', 'in_progress', 'finalizing', 'cancelling')) AS running;

-- name: running_tasks
SELECT id FROM tasks
WHERE workspace_id = $id AND status IN ('validating', 'in_progress') AND ending IS NULL
ORDER BY created_at;

-- name: update
UPDATE workspaces SET
    name = $name, disabled = $disabled, currency = $currency, budget = $budget,
    allowed_models = $allowed_models, webhook_url = $webhook_url
WHERE id = $id;

-- name: set_webhook_secret
UPDATE workspaces SET webhook_secret = $webhook_secret WHERE id = $id;

-- name: keys
SELECT * EXCLUDE (secret_sha256)
FROM api_keys
WHERE workspace_id = $workspace_id
  AND ($after::VARCHAR IS NULL
       OR (created_at, id) > (SELECT (created_at, id) FROM api_keys
                              WHERE id = $after AND workspace_id = $workspace_id))
ORDER BY created_at, id
LIMIT $rows;

-- name: key
SELECT * EXCLUDE (secret_sha256) FROM api_keys WHERE id = $id AND workspace_id = $workspace_id;

-- name: revoke
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $now) WHERE id = $id AND workspace_id = $workspace_id;

-- name: key_of_secret
SELECT id FROM api_keys WHERE secret_sha256 = $secret_sha256;
