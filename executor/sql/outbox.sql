-- name: due
-- First those that were not tried yet: receivers that never answer keep nobody else waiting for long.
SELECT o.id, o.task_id, o.url, o.type, o.created_at, o.attempts, w.webhook_secret AS secret
FROM webhook_outbox AS o LEFT JOIN workspaces AS w ON w.id = o.workspace_id
WHERE o.delivered_at IS NULL AND o.given_up_at IS NULL AND coalesce(o.due_at, o.created_at) <= $now
ORDER BY o.attempts > 0, coalesce(o.due_at, o.created_at), o.id LIMIT $rows

-- name: next_due
SELECT min(coalesce(due_at, created_at)) AS due_at FROM webhook_outbox
WHERE delivered_at IS NULL AND given_up_at IS NULL AND coalesce(due_at, created_at) > $now

-- name: delivered
UPDATE webhook_outbox SET delivered_at = $now, error = NULL WHERE id = $id

-- name: failed
UPDATE webhook_outbox SET attempts = attempts + 1, error = $error, due_at = $due_at, given_up_at = $given_up_at
WHERE id = $id

-- name: of_task
SELECT url, delivered_at, attempts, coalesce(due_at, created_at) AS due_at, given_up_at, error
FROM webhook_outbox WHERE task_id = $task_id ORDER BY url, id
