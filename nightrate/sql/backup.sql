-- What a backup holds beside the database.

-- name: files
SELECT path, sha256 FROM files WHERE deleted_at IS NULL AND path > $after ORDER BY path LIMIT $rows

-- name: growing
-- Files that a running task writes: what its row counts of them.
SELECT id, output_bytes, error_bytes FROM tasks
WHERE status NOT IN ('completed', 'failed', 'expired', 'cancelled') ORDER BY id

-- name: deleted_at
SELECT deleted_at FROM files WHERE path = $path AND deleted_at IS NOT NULL

-- name: forget
UPDATE files SET deleted_at = $deleted_at WHERE path = $path
