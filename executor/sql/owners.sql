-- What intake has to know of a workspace.

-- name: one
SELECT id, disabled, currency, allowed_models FROM workspaces WHERE id = $id
