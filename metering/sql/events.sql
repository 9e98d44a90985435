-- name: ended_task
SELECT task_id, ended_at FROM task_rollups
WHERE task_id = $task_id AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id);

-- name: left_out
-- Whether there are tasks beside those that `page` joins.
WITH ended AS (
    SELECT task_id, ended_at,
        CASE WHEN task_id = $after_task_id::VARCHAR THEN 0
            ELSE CASE coalesce($outcome::VARCHAR, '') WHEN 'succeeded' THEN succeeded WHEN 'failed' THEN failed ELSE calls END
        END AS expected
    FROM task_rollups
    WHERE ended_at >= $start AND ended_at < $end
        AND ($task_id::VARCHAR IS NULL OR task_id = $task_id)
        AND ($model::VARCHAR IS NULL OR model = $model)
        AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
        AND ($after_task_id::VARCHAR IS NULL
            OR (ended_at, task_id) <= ($after_ended_at::TIMESTAMPTZ, $after_task_id::VARCHAR))
)
SELECT coalesce(sum(expected), 0) >= $wanted AS any FROM ended;

-- name: page
-- Events of ended tasks, the task that ended last first. Only the tasks that can be on the page are joined:
-- those before whose events fewer than `wanted` are expected; all of them if that is null.
WITH ended AS (
    SELECT task_id, ended_at,
        CASE WHEN task_id = $after_task_id::VARCHAR THEN 0
            ELSE CASE coalesce($outcome::VARCHAR, '') WHEN 'succeeded' THEN succeeded WHEN 'failed' THEN failed ELSE calls END
        END AS expected
    FROM task_rollups
    WHERE ended_at >= $start AND ended_at < $end
        AND ($task_id::VARCHAR IS NULL OR task_id = $task_id)
        AND ($model::VARCHAR IS NULL OR model = $model)
        AND ($workspace_id::VARCHAR IS NULL OR workspace_id = $workspace_id)
        AND ($after_task_id::VARCHAR IS NULL
            OR (ended_at, task_id) <= ($after_ended_at::TIMESTAMPTZ, $after_task_id::VARCHAR))
), counted AS (
    SELECT *, sum(expected) OVER (ORDER BY ended_at DESC, task_id DESC) - expected AS before FROM ended
), tasks AS (
    SELECT task_id, ended_at FROM counted WHERE $wanted::BIGINT IS NULL OR before < $wanted
)
SELECT e.task_id || ':' || e.line_no AS id, e.*, tasks.ended_at
FROM request_events e JOIN tasks ON e.task_id = tasks.task_id
WHERE ($outcome::VARCHAR IS NULL OR e.outcome = $outcome)
    AND ($after_task_id::VARCHAR IS NULL OR e.task_id <> $after_task_id::VARCHAR OR e.line_no > $after_line_no::BIGINT)
ORDER BY tasks.ended_at DESC, e.task_id DESC, e.line_no
LIMIT $limit;
