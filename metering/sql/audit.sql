-- What the audit reads. Nothing here is used by rating, and nothing of rating's is used here.

-- name: tasks
-- Ended tasks, and tasks that the ledger names, by id. A task is found by its own columns and by its charges'.
WITH charged AS (
    SELECT DISTINCT task_id FROM charges
    WHERE task_id > $after
        AND ($period::VARCHAR IS NULL OR period = $period)
        AND ($task_id::VARCHAR IS NULL OR task_id = $task_id)
        AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
)
SELECT coalesce(t.id, c.task_id) AS task_id, t.id IS NOT NULL AS known, t.workspace_id, t.api_key_id, t.endpoint, t.status,
    t.model, t.currency, t.total, t.completed, t.failed, t.output_bytes, t.error_bytes, t.output_sha256, t.error_sha256,
    t.output_file_id, t.error_file_id, t.input_tokens, t.cached_input_tokens, t.output_tokens, t.reasoning_tokens,
    t.list_amount, t.amount, t.in_progress_at, t.ended_at
FROM tasks t FULL JOIN charged c ON c.task_id = t.id
WHERE coalesce(t.id, c.task_id) > $after
    AND (
        c.task_id IS NOT NULL
        OR (
            t.ended_at >= $start AND t.ended_at < $end
            AND ($task_id::VARCHAR IS NULL OR t.id = $task_id)
            AND ($workspace_id::VARCHAR IS NULL OR t.workspace_id = $workspace_id)
        )
    )
ORDER BY 1
LIMIT $rows;

-- name: extent
SELECT count(*) AS tasks,
    coalesce(sum(t.output_bytes) FILTER (o.deleted_at IS NULL), 0)::BIGINT
        + coalesce(sum(t.error_bytes) FILTER (e.deleted_at IS NULL), 0)::BIGINT AS bytes
FROM tasks t LEFT JOIN files o ON o.id = t.output_file_id LEFT JOIN files e ON e.id = t.error_file_id
WHERE t.ended_at >= $start AND t.ended_at < $end
    AND ($task_id::VARCHAR IS NULL OR t.id = $task_id)
    AND ($workspace_id::VARCHAR IS NULL OR t.workspace_id = $workspace_id);

-- name: task_exists
SELECT 1 AS found FROM tasks WHERE id = $task_id
UNION ALL SELECT 1 FROM charges WHERE task_id = $task_id LIMIT 1;

-- name: workspace_exists
SELECT 1 AS found FROM workspaces WHERE id = $workspace_id;

-- name: charges
SELECT * FROM charges WHERE list_contains($task_ids::VARCHAR[], task_id) ORDER BY task_id, recorded_at, kind DESC, charge_id;

-- name: digests
SELECT * FROM task_digests WHERE list_contains($task_ids::VARCHAR[], task_id) ORDER BY task_id, tier, mode;

-- name: rollups
SELECT task_id, workspace_id, api_key_id, model, currency, status, ended_at, total, calls, succeeded, failed, unmetered,
    free_requests, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, list_amount, amount
FROM task_rollups WHERE list_contains($task_ids::VARCHAR[], task_id);

-- name: files
SELECT id, path, bytes, sha256, expires_at, deleted_at FROM files WHERE list_contains($file_ids::VARCHAR[], id);

-- name: file
SELECT id, path, bytes, sha256, expires_at, deleted_at FROM files WHERE id = $id;

-- name: prices
SELECT price_id, model, currency, valid_from, canonical FROM price_versions;

-- name: used_prices
SELECT DISTINCT price_id FROM charges;

-- name: event_window
-- The line that ends the next window of a task's events; none if there are no more.
SELECT max(line_no) AS last, count(*) AS events FROM (
    SELECT line_no FROM request_events WHERE task_id = $task_id AND line_no > $after ORDER BY line_no LIMIT $rows
);

-- name: events
SELECT line_no, custom_id, outcome, status_code, unmetered, thinking,
    input_tokens, cached_input_tokens, output_tokens, reasoning_tokens
FROM request_events WHERE task_id = $task_id AND line_no > $after AND line_no <= $last;

-- name: strangers
-- Events whose other columns are not their task's.
SELECT min(line_no) AS line_no, count(*) AS events FROM request_events
WHERE task_id = $task_id AND (workspace_id <> $workspace_id OR model <> $model OR api_key_id IS DISTINCT FROM $api_key_id);

-- name: keep
INSERT INTO audits BY NAME SELECT $audit_id AS audit_id, $started_at AS started_at, $finished_at AS finished_at,
    $period AS period, $task_id AS task_id, $workspace_id AS workspace_id, $verified AS verified,
    $digest_only AS digest_only, $not_verifiable AS not_verifiable, $different AS different, $differences AS differences;

-- name: last
SELECT * FROM audits ORDER BY finished_at DESC, audit_id LIMIT 1;
