"""Tasks that ended, or run, as the engine would have left them in the store."""

import json

from executor.new_batch import NewBatch
from metering.access import ADMIN
from metering.event import Event

CHAT = "/v1/chat/completions"


def line(custom_id, *, model="qwen-plus", url=CHAT, end=b"\n", **more) -> bytes:
    row = {"custom_id": custom_id, "method": "POST", "url": url, "body": {"model": model, "messages": []}}
    return json.dumps(row | more, ensure_ascii=False).encode() + end


def ended(
    intake, data, *, good=(), bad=(), access=ADMIN, status="completed", endpoint=CHAT, expires=None, **new
):
    """A task that ended with these physical lines succeeded and failed; the others were never executed."""
    file = intake.upload(data, access, expires_after_seconds=expires)
    asked = NewBatch(**{"input_file_id": file.id, "endpoint": endpoint, "completion_window": "3d", **new})
    task = intake.batches.create(access, asked)
    events = [event(intake, task, n, "succeeded") for n in good] + [
        event(intake, task, n, "failed") for n in bad
    ]
    intake.store.write(lambda tx: tx.insert("request_events", events))
    total = sum(1 for text in data.split(b"\n") if text.strip())
    intake.set_task(
        task.id, status=status, ending=None if status == "failed" else status, total=total, completed=len(good),
        failed=len(bad), in_progress_at=intake.clock(), model=task.model,
    )  # fmt: skip
    intake.changed.clear()
    return intake.batches.get(ADMIN, task.id)


def event(intake, task, line_no, outcome) -> Event:
    now = intake.clock()
    return Event(
        task.id, line_no, f"c{line_no}", task.workspace_id, None, task.model, task.endpoint, outcome, 200, None,
        None, False, 1, 0, 1, 0, 1, 0, False, now, None, now, 1.0, None, 1.0, None,
    )  # fmt: skip
