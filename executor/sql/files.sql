-- Uploaded files and outputs. A file that a task still uses does not expire, whatever its row says.

-- name: one
SELECT f.* FROM files f
WHERE f.id = $id AND f.deleted_at IS NULL
    AND ($workspace_id::VARCHAR IS NULL OR f.workspace_id = $workspace_id)
    AND (
        f.expires_at IS NULL OR f.expires_at > $now
        OR EXISTS (
            FROM tasks t
            WHERE t.input_file_id = f.id AND t.status NOT IN ('completed', 'failed', 'expired', 'cancelled')
        )
    )

-- name: page
SELECT f.* FROM files f
WHERE f.deleted_at IS NULL
    AND ($workspace_id::VARCHAR IS NULL OR f.workspace_id = $workspace_id)
    AND ($purpose::VARCHAR IS NULL OR f.purpose = $purpose)
    AND (
        f.expires_at IS NULL OR f.expires_at > $now
        OR EXISTS (
            FROM tasks t
            WHERE t.input_file_id = f.id AND t.status NOT IN ('completed', 'failed', 'expired', 'cancelled')
        )
    )
    AND (
        $after_at::TIMESTAMPTZ IS NULL
        OR ($descending AND (f.created_at, f.id) < ($after_at::TIMESTAMPTZ, $after_id::VARCHAR))
        OR (NOT $descending AND (f.created_at, f.id) > ($after_at::TIMESTAMPTZ, $after_id::VARCHAR))
    )
ORDER BY
    CASE WHEN $descending THEN f.created_at END DESC, CASE WHEN $descending THEN f.id END DESC,
    f.created_at, f.id
LIMIT $rows

-- name: place
SELECT created_at, id FROM files
WHERE id = $id AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)

-- name: users
SELECT id FROM tasks
WHERE input_file_id = $id AND status NOT IN ('completed', 'failed', 'expired', 'cancelled')
ORDER BY created_at LIMIT 1

-- name: mark_deleted
-- Not while a task reads it, which may have begun since it was found.
UPDATE files SET deleted_at = $now
WHERE id = $id AND deleted_at IS NULL AND NOT EXISTS (
    FROM tasks WHERE input_file_id = $id AND status NOT IN ('completed', 'failed', 'expired', 'cancelled')
)
