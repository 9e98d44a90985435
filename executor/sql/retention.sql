-- What is kept no longer (docs/settings.md, `[retention]`). A task that has not ended keeps everything it has.

-- name: files
-- Outputs carry their own time; so do uploads that were given one. Other uploads are kept as long, from the end of the
-- last task that read them, or from their upload.
SELECT f.id, f.path FROM files AS f
LEFT JOIN (
    SELECT input_file_id AS id,
        max(coalesce(ended_at, failed_at)) AS last_use,
        bool_or(status NOT IN ('completed', 'failed', 'expired', 'cancelled')) AS in_use
    FROM tasks GROUP BY input_file_id
) AS used USING (id)
WHERE f.deleted_at IS NULL AND NOT coalesce(used.in_use, false)
    AND coalesce(f.expires_at, greatest(f.created_at, used.last_use) + to_days($file_days::INTEGER)) <= $now
ORDER BY f.id LIMIT $rows

-- name: lately_deleted
-- Their bytes may still be there: a crash came between.
SELECT path FROM files WHERE deleted_at > $since

-- name: tasks_with_events
SELECT t.id FROM tasks AS t
WHERE coalesce(t.ended_at, t.failed_at) < $before
    AND coalesce(t.ended_at, t.failed_at) < (SELECT max(ends_at) FROM billing_periods)
    AND EXISTS (FROM request_events AS e WHERE e.task_id = t.id)
ORDER BY coalesce(t.ended_at, t.failed_at), t.id LIMIT $rows

-- name: forget_events
DELETE FROM request_events WHERE task_id = $id

-- name: forget_names
UPDATE tasks SET name = NULL, description = NULL, metadata = NULL, callback_url = NULL, errors = NULL
WHERE coalesce(ended_at, failed_at) < $before
    AND (name, description, metadata, callback_url, errors) IS DISTINCT FROM (NULL, NULL, NULL, NULL, NULL)

-- name: forget_notifications
DELETE FROM webhook_outbox WHERE created_at < $before AND coalesce(delivered_at, given_up_at) IS NOT NULL
