"""The results that a task has by now, as a service (SPEC §3.4)."""

from datetime import timedelta
from pathlib import Path

import pytest

from executor.batches import ResultsGone
from executor.result_files import output_path
from metering.access import ADMIN, Access
from metering.errors import NotFound
from tests.executor.ended_tasks import ended, line

OTHER = Access("other", "key-other")
NARROW = Access("narrow", "key-narrow")


def results(intake, task, access=ADMIN) -> bytes:
    path, length = intake.batches.results_so_far(access, task.id)
    return path.read_bytes()[:length] if length else b""


def written(intake, task, data: bytes) -> Path:
    path = intake.data_dir / output_path(task.id)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def result(task, number) -> bytes:
    return b'{"id":"batch_req_%s_%d","custom_id":"c"}\n' % (task.id.removeprefix("batch_").encode(), number)


@pytest.mark.parametrize("status", ["in_progress", "finalizing", "cancelling"])
def test_the_results_of_a_running_task_are_what_is_committed(intake, status):
    """Exactly the stored length; lines behind it, whole or not, don't count yet."""
    task = ended(intake, line("a"), status=status)
    assert results(intake, task) == b""
    one, two = result(task, 1), result(task, 2)
    written(intake, task, one + two + b'{"id":"ba')
    assert results(intake, task) == b""
    intake.set_task(task.id, output_bytes=len(one + two))
    assert results(intake, task) == one + two


def test_a_file_that_lost_its_end_still_gives_whole_lines(intake):
    """Until the executor mended it."""
    task = ended(intake, line("a"), status="in_progress")
    one, two = result(task, 1), result(task, 2)
    intake.set_task(task.id, output_bytes=len(one + two))
    path = written(intake, task, one + two[:20])
    assert results(intake, task) == one
    path.unlink()
    assert results(intake, task) == b""


@pytest.mark.parametrize("status", ["validating", "failed", "cancelled", "completed"])
def test_a_task_without_a_result_file_has_no_results(intake, status):
    """Empty, not an error."""
    assert results(intake, ended(intake, line("a"), status=status)) == b""


def test_the_results_of_an_ended_task_last_as_long_as_its_file(intake):
    """Then they are 404, with a message that says why."""
    tasks = [ended(intake, line("a"), good=[1], access=OTHER) for _ in range(3)]
    for task in tasks:
        data = result(task, 1)
        written(intake, task, data)
        row = {
            "id": f"file-batch_output-{task.id}", "workspace_id": "other", "task_id": task.id,
            "purpose": "batch_output", "filename": "o", "path": output_path(task.id), "bytes": len(data),
            "sha256": "", "created_at": intake.clock(), "expires_at": intake.clock() + timedelta(hours=2),
        }  # fmt: skip
        intake.store.write(lambda tx, row=row: tx.insert("files", [row]))
        intake.set_task(task.id, output_bytes=len(data), output_file_id=row["id"])
        assert results(intake, task, OTHER) == data
    with pytest.raises(NotFound):
        results(intake, tasks[0], NARROW)
    intake.files.delete(OTHER, f"file-batch_output-{tasks[0].id}")
    written(intake, tasks[1], b"").unlink()
    for task in tasks[:2]:
        with pytest.raises(ResultsGone) as gone:
            results(intake, task, OTHER)
        assert (gone.value.status, gone.value.code) == (404, "results_gone")
        assert "deleted" in gone.value.message
    assert results(intake, tasks[2], OTHER)
    intake.clock.move(hours=2)
    with pytest.raises(ResultsGone):
        results(intake, tasks[2], OTHER)
