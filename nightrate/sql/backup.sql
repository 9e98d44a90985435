-- What a backup holds beside the database.

-- name: running
-- What tasks need that run: their input, and what their rows count of the files that they write.
SELECT t.id, t.output_bytes, t.error_bytes, f.path, f.sha256
FROM tasks AS t JOIN files AS f ON f.id = t.input_file_id
WHERE t.status NOT IN ('completed', 'failed', 'expired', 'cancelled') ORDER BY t.id

-- name: files
-- All others.
SELECT path, sha256 FROM files
WHERE deleted_at IS NULL AND path > $after AND NOT EXISTS (
    FROM tasks
    WHERE input_file_id = files.id AND status NOT IN ('completed', 'failed', 'expired', 'cancelled')
)
ORDER BY path LIMIT $rows

-- name: deleted_at
SELECT deleted_at FROM files WHERE path = $path AND deleted_at IS NOT NULL

-- name: forget
UPDATE files SET deleted_at = $deleted_at
WHERE path = $path AND NOT EXISTS (
    FROM tasks
    WHERE input_file_id = files.id AND status NOT IN ('completed', 'failed', 'expired', 'cancelled')
)
