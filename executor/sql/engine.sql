-- What the engine reads and writes of a running task.

-- name: unsettled
SELECT id FROM tasks WHERE status NOT IN ('completed', 'failed', 'expired', 'cancelled') ORDER BY created_at, id

-- name: task
SELECT * FROM tasks WHERE id = $id

-- name: input_file
SELECT path, bytes, sha256, deleted_at FROM files WHERE id = $id

-- name: allowed_models
SELECT allowed_models FROM workspaces WHERE id = $workspace_id

-- name: accept
UPDATE tasks SET status = 'in_progress', model = $model, total = $total, in_progress_at = $now
WHERE id = $id AND status = 'validating' AND ending IS NULL

-- name: refuse
UPDATE tasks SET status = 'failed', failed_at = $now, errors = $errors
WHERE id = $id AND status = 'validating' AND ending IS NULL

-- name: lose
-- The one way out of a status other than validating: the input file is gone.
UPDATE tasks SET status = 'failed', failed_at = $now, errors = $errors, output_bytes = 0, error_bytes = 0
WHERE id = $id AND status NOT IN ('completed', 'failed', 'expired', 'cancelled')

-- name: done_lines
SELECT line_no FROM request_events WHERE task_id = $task_id

-- name: commit_lengths
UPDATE tasks SET
    output_bytes = incoming.output_after, error_bytes = incoming.error_after,
    completed = tasks.completed + incoming.succeeded, failed = tasks.failed + incoming.failed,
    started_at = coalesce(tasks.started_at, incoming.started_at)
FROM incoming
WHERE tasks.id = incoming.task_id
    AND tasks.output_bytes = incoming.output_before AND tasks.error_bytes = incoming.error_before
    AND tasks.status NOT IN ('completed', 'failed', 'expired', 'cancelled')

-- name: forget_lines
DELETE FROM request_events USING incoming
WHERE request_events.task_id = $task_id AND request_events.line_no = incoming.line_no

-- name: restore_lengths
UPDATE tasks SET
    output_bytes = $output_bytes, error_bytes = $error_bytes,
    completed = (SELECT count(*) FROM request_events e WHERE e.task_id = $id AND e.outcome = 'succeeded'),
    failed = (SELECT count(*) FROM request_events e WHERE e.task_id = $id AND e.outcome = 'failed')
WHERE id = $id

-- name: reopen_completed
-- A task that was ending as completed has lost answers: they are asked again before it ends.
UPDATE tasks SET status = 'in_progress', ending = NULL, finalizing_at = NULL
WHERE id = $id AND ending = 'completed' AND completed + failed < total

-- name: claim_ending
UPDATE tasks SET ending = $ending, status = 'finalizing', finalizing_at = $now
WHERE id = $id AND status = 'in_progress' AND ending IS NULL

-- name: end
UPDATE tasks SET
    status = $status, ended_at = $ended_at,
    completed_at = CASE WHEN $status = 'completed' THEN $ended_at END,
    expired_at = CASE WHEN $status = 'expired' THEN $ended_at END,
    cancelled_at = CASE WHEN $status = 'cancelled' THEN $ended_at END,
    output_bytes = $output_bytes, error_bytes = $error_bytes,
    output_sha256 = $output_sha256, error_sha256 = $error_sha256,
    output_file_id = $output_file_id, error_file_id = $error_file_id,
    input_tokens = $input_tokens, cached_input_tokens = $cached_input_tokens,
    output_tokens = $output_tokens, reasoning_tokens = $reasoning_tokens,
    list_amount = $list_amount, amount = $amount
WHERE id = $id AND ending = $status AND ended_at IS NULL

-- name: webhook_targets
SELECT webhook_url FROM workspaces WHERE id = $workspace_id AND webhook_url IS NOT NULL

-- name: touch
-- Changes no data, but must be made durable: an UPDATE to the same values would write nothing.
COMMENT ON TABLE schema_migrations IS 'The storage took writes again after a failure.'

-- name: statuses
SELECT status, count(*) AS tasks FROM tasks GROUP BY status
