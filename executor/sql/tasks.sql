-- Tasks as intake makes, shows and cancels them.

-- name: one
SELECT * FROM tasks WHERE id = $id AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)

-- name: page
SELECT * FROM tasks
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($statuses::VARCHAR[] IS NULL OR list_contains($statuses::VARCHAR[], status))
    AND ($ds_name::VARCHAR IS NULL OR contains(lower(name), lower($ds_name)))
    AND ($search::VARCHAR IS NULL OR contains(lower(coalesce(name, '')), lower($search)) OR contains(id, $search))
    AND ($input_file_ids::VARCHAR[] IS NULL OR list_contains($input_file_ids::VARCHAR[], input_file_id))
    AND ($created_from::TIMESTAMPTZ IS NULL OR created_at >= $created_from)
    AND ($created_before::TIMESTAMPTZ IS NULL OR created_at < $created_before)
    AND ($after_at::TIMESTAMPTZ IS NULL OR (created_at, id) < ($after_at::TIMESTAMPTZ, $after_id::VARCHAR))
ORDER BY created_at DESC, id DESC
LIMIT $rows OFFSET $skip

-- name: number
SELECT count(*) AS tasks FROM tasks
WHERE ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
    AND ($statuses::VARCHAR[] IS NULL OR list_contains($statuses::VARCHAR[], status))
    AND ($ds_name::VARCHAR IS NULL OR contains(lower(name), lower($ds_name)))
    AND ($search::VARCHAR IS NULL OR contains(lower(coalesce(name, '')), lower($search)) OR contains(id, $search))
    AND ($input_file_ids::VARCHAR[] IS NULL OR list_contains($input_file_ids::VARCHAR[], input_file_id))
    AND ($created_from::TIMESTAMPTZ IS NULL OR created_at >= $created_from)
    AND ($created_before::TIMESTAMPTZ IS NULL OR created_at < $created_before)

-- name: running_of_model
SELECT count(*) AS tasks FROM tasks
WHERE workspace_id = $workspace_id AND model = $model
    AND status NOT IN ('completed', 'failed', 'expired', 'cancelled')

-- name: running_retry
SELECT id FROM tasks
WHERE retry_of = $id AND status NOT IN ('completed', 'failed', 'expired', 'cancelled')
ORDER BY created_at, id LIMIT 1

-- name: succeeded_lines
SELECT line_no FROM request_events WHERE task_id = $id AND outcome = 'succeeded'

-- name: cancellable
SELECT id FROM tasks
WHERE workspace_id = $workspace_id AND status IN ('validating', 'in_progress') AND ending IS NULL
ORDER BY created_at, id

-- name: cancel
UPDATE tasks SET status = 'cancelling', cancelling_at = $now, ending = 'cancelled'
WHERE id = $id AND status IN ('validating', 'in_progress') AND ending IS NULL

-- name: made_with_key
SELECT i.task_id, i.body_sha256 FROM idempotency_keys i
WHERE i.workspace_id = $workspace_id AND i.key = $key AND i.created_at > $since

-- name: forget_keys
-- Not the key that is about to be used again: an index does not take a row back in the same transaction.
DELETE FROM idempotency_keys
WHERE created_at <= $since AND NOT (workspace_id = $workspace_id AND key = $key)

-- name: keep_key
INSERT INTO idempotency_keys (workspace_id, key, body_sha256, task_id, created_at)
VALUES ($workspace_id, $key, $body_sha256, $task_id, $now)
ON CONFLICT DO UPDATE SET
    body_sha256 = excluded.body_sha256, task_id = excluded.task_id, created_at = excluded.created_at

-- name: insert
INSERT INTO tasks (
    id, workspace_id, api_key_id, endpoint, input_file_id, completion_window, metadata, name, description,
    callback_url, status, model, currency, output_expires_after, retry_of, created_at, expires_at
)
VALUES (
    $id, $workspace_id, $api_key_id, $endpoint, $input_file_id, $completion_window, $metadata, $name, $description,
    $callback_url, 'validating', $model, $currency, $output_expires_after, $retry_of, $created_at, $expires_at
)
