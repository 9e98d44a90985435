"""A retry of an ended task, as a service (SPEC §3.4)."""

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest

from executor.batches import TaskFilter
from executor.new_batch import NewBatch
from executor.options import TEST_ENDPOINT, TEST_MODEL, LimitOptions
from metering.access import ADMIN, Access
from metering.errors import Conflict, Forbidden, InvalidParameter, NotFound, Refused, TooMany
from metering.store import WriteFailed
from tests.executor.ended_tasks import CHAT, ended, event, line

OTHER = Access("other", "key-other")


@pytest.fixture
def limits() -> LimitOptions:
    return LimitOptions(file_bytes=60_000_000)


def content(intake, task) -> bytes:
    return intake.files.path_of(intake.files.get(ADMIN, task.input_file_id)).read_bytes()


def left_behind(intake) -> set[str]:
    """Names of files with bytes but without a row."""
    rows = {file.id for file in intake.files.list(ADMIN).data}
    return {path.name for path in (intake.data_dir / "files").iterdir()} - rows | {
        path.name for path in (intake.data_dir / "tmp").glob("*.upload")
    }


def refusal(intake, task, access=ADMIN, **options) -> Refused:
    orphans = left_behind(intake)
    with pytest.raises(Refused) as refused:
        intake.batches.retry(access, task.id, **options)
    assert left_behind(intake) == orphans
    return refused.value


def test_a_retry_has_the_failed_and_the_never_executed_lines(intake):
    """Byte for byte and in their order: odd spacing, CRLF, other scripts, and a last line without its end."""
    odd = b'  {"custom_id" :"c3", "method":"POST","url":"/v1/chat/completions","body":{"model":"qwen-plus","messages":[ ]}}  \r\n'
    lines = [
        b"\xef\xbb\xbf" + line("c1"),
        b"\n",
        odd,
        line("夜"),
        b" \r\n",
        line("c6\\u0041"),
        line("c7", end=b""),
    ]
    before = ended(intake, b"".join(lines), good=[1, 6], bad=[3], status="cancelled")
    retried = intake.batches.retry(ADMIN, before.id)
    assert content(intake, retried) == odd + lines[3] + lines[6]
    file = intake.files.get(ADMIN, retried.input_file_id)
    assert (file.bytes, file.filename, file.purpose) == (
        len(odd + lines[3] + lines[6]), f"{before.id}_retry.jsonl", "batch",
    )  # fmt: skip
    assert intake.changed == [retried.id]


def test_a_first_line_that_failed_leaves_the_files_mark_behind(intake):
    """A byte order mark belongs to the file, not to its first line."""
    before = ended(intake, b"\xef\xbb\xbf" + line("a") + line("b"), good=[2], bad=[1])
    assert content(intake, intake.batches.retry(ADMIN, before.id)) == line("a")


def test_a_retry_is_a_task_like_the_first(intake):
    """The same endpoint, window, metadata, name and expiries; its own id, times, counts and key."""
    metadata = {
        "ds_name": "夜",
        "ds_description": "d",
        "k": "v",
        "ds_batch_finish_callback": "https://a.example/x",
    }
    before = ended(
        intake,
        line("a"),
        bad=[1],
        access=OTHER,
        metadata=metadata,
        output_expires_after=7200,
        expires=360_000,
    )
    intake.clock.move(hours=5)
    retried = intake.batches.retry(OTHER, before.id)
    same = ("workspace_id", "api_key_id", "endpoint", "completion_window", "metadata", "name", "description",
            "callback_url", "model", "currency", "output_expires_after")  # fmt: skip
    assert [getattr(retried, name) for name in same] == [getattr(before, name) for name in same]
    assert (retried.status, retried.retry_of, retried.total, retried.completed) == (
        "validating",
        before.id,
        0,
        0,
    )
    assert retried.created_at == intake.clock()
    assert retried.expires_at == intake.clock() + timedelta(days=3)
    assert intake.files.get(OTHER, retried.input_file_id).expires_at == intake.clock() + timedelta(
        seconds=360_000
    )
    assert intake.batches.get(OTHER, before.id) == before
    admins = intake.batches.retry(ADMIN, ended(intake, line("a"), bad=[1], access=OTHER).id)
    assert (admins.workspace_id, admins.api_key_id) == ("other", None)


def test_a_retry_can_be_retried(intake):
    """Each names the one before it, and has what that left."""
    first = ended(intake, line("a") + line("b") + line("c"), good=[2], bad=[1, 3])
    second = intake.batches.retry(ADMIN, first.id)
    good = [event(intake, second, 1, "succeeded")]
    intake.store.write(lambda tx: tx.insert("request_events", good))
    intake.set_task(
        second.id, status="expired", ending="expired", total=2, completed=1, in_progress_at=intake.clock()
    )
    third = intake.batches.retry(ADMIN, second.id)
    assert third.retry_of == second.id
    assert content(intake, third) == line("c")


@pytest.mark.parametrize("status", ["validating", "in_progress", "finalizing", "cancelling"])
def test_a_task_that_has_not_ended_can_not_be_retried(intake, status):
    """409 that says so."""
    refused = refusal(intake, ended(intake, line("a"), bad=[1], status=status))
    assert (refused.status, refused.code) == (409, "batch_not_ended")
    assert status in refused.message


def test_a_task_that_failed_can_not_be_retried(intake):
    """Its file would fail again."""
    assert refusal(intake, ended(intake, line("a"), status="failed")).code == "batch_failed"


def test_where_all_succeeded_there_is_nothing_to_retry(intake):
    """Also of a task that never had a request."""
    refused = refusal(intake, ended(intake, line("a") + line("b"), good=[1, 2]))
    assert (refused.status, refused.code) == (409, "nothing_to_retry")
    empty = ended(intake, b"", status="cancelled")
    intake.set_task(empty.id, in_progress_at=None)
    assert refusal(intake, empty).code == "nothing_to_retry"


def test_a_task_that_was_cancelled_before_it_was_validated(intake):
    """Its lines were never executed, whatever they are: the whole file is copied, and judged anew."""
    data = b"\xef\xbb\xbf" + line("a") + b"no json\n\n" + b"x" * 7_000_000 + b"\n" + line("b", end=b"")
    task = ended(intake, data, status="cancelled")
    intake.set_task(task.id, in_progress_at=None, total=0)
    assert content(intake, intake.batches.retry(ADMIN, task.id)) == data


def test_without_its_input_nothing_can_be_retried(intake):
    """Deleted, expired, gone from the disk, or not the bytes that were uploaded."""
    deleted, lost, changed, expired = (
        ended(intake, line("a"), bad=[1], expires=3600 if n == 3 else None) for n in range(4)
    )
    intake.files.delete(ADMIN, deleted.input_file_id)
    intake.files.path_of(intake.files.get(ADMIN, lost.input_file_id)).unlink()
    intake.files.path_of(intake.files.get(ADMIN, changed.input_file_id)).write_bytes(line("b"))
    intake.clock.move(hours=1)
    for task in (deleted, lost, expired):
        refused = refusal(intake, task)
        assert (refused.status, refused.code) == (409, "input_file_deleted")
        assert task.input_file_id in refused.message
    assert refusal(intake, changed).code == "input_file_changed"


def test_what_is_no_longer_known_is_not_run_twice(intake):
    """Without the events of all that succeeded, a retry would ask and bill them again."""
    task = ended(intake, line("a") + line("b"), good=[1])
    intake.set_task(task.id, completed=2, total=3)
    assert refusal(intake, task).code == "outcomes_expired"


def test_one_retry_at_a_time(intake):
    """A second is 409 until the first is settled, however that ended."""
    before = ended(intake, line("a"), bad=[1])
    first = intake.batches.retry(ADMIN, before.id)
    refused = refusal(intake, before)
    assert (refused.status, refused.code) == (409, "retry_running")
    assert first.id in refused.message
    intake.set_task(first.id, status="failed")
    assert intake.batches.retry(ADMIN, before.id).id != first.id


def test_many_at_once_make_one(intake):
    """Of 8 calls one makes a task and 7 are refused, and nothing of theirs is left on the disk."""
    before = ended(intake, line("a") * 2000, bad=[1])

    def call(_):
        try:
            return intake.batches.retry(ADMIN, before.id).id
        except Conflict as refused:
            return refused.code

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(call, range(8)))
    assert answers.count("retry_running") == 7
    assert not left_behind(intake)
    assert len(intake.batches.list(ADMIN, TaskFilter()).data) == 2


def test_an_idempotency_key_makes_one_retry(intake):
    """The same key gives the same task, while it runs and afterwards; for another task it is 409."""
    before, another = (ended(intake, line("a"), bad=[1]) for _ in range(2))
    with ThreadPoolExecutor(4) as pool:
        made = list(
            pool.map(lambda _: intake.batches.retry(ADMIN, before.id, idempotency_key="k").id, range(4))
        )
    assert len(set(made)) == 1
    assert not left_behind(intake)
    intake.set_task(made[0], status="completed")
    assert intake.batches.retry(ADMIN, before.id, idempotency_key="k").id == made[0]
    assert refusal(intake, another, idempotency_key="k").code == "idempotency_key_reused"
    same_key = NewBatch(before.input_file_id, CHAT, "24h")
    with pytest.raises(Conflict):
        intake.batches.create(ADMIN, same_key, idempotency_key="k")
    assert refusal(intake, another, idempotency_key="").param == "Idempotency-Key"
    intake.clock.move(hours=24)
    assert intake.batches.retry(ADMIN, before.id, idempotency_key="k").id != made[0]


def test_a_model_that_lost_its_price_is_refused(intake):
    """400 `no_price` as at creation, and no file is made."""
    before = ended(intake, line("a"), bad=[1])
    intake.store.write(
        lambda tx: tx._connection.execute("UPDATE workspaces SET currency = 'EUR' WHERE id = 'default'")
    )
    refused = refusal(intake, before)
    assert (type(refused), refused.status, refused.code) == (InvalidParameter, 400, "no_price")
    assert len(intake.files.list(ADMIN).data) == 1


def test_a_model_that_is_gone_makes_a_task_that_will_say_so(intake):
    """As at creation: what is wrong is told line by line."""
    before = ended(intake, line("a", model="house/small"), bad=[1])
    intake.catalog._models.pop("house/small")
    retried = intake.batches.retry(ADMIN, before.id)
    assert (retried.model, retried.currency) == (None, None)


def test_who_may_not_retry(intake):
    """Unknown and foreign tasks are 404; a disabled workspace may not; the test model keeps its limit."""
    before = ended(intake, line("a"), bad=[1])
    for access, options in (
        (OTHER, {}),
        (ADMIN, {"workspace_id": "other"}),
        (OTHER, {"workspace_id": "default"}),
    ):
        assert isinstance(refusal(intake, before, access, **options), NotFound)
    assert isinstance(refusal(intake, replace(before, id="batch_none")), NotFound)
    own = ended(
        intake, line("a", model=TEST_MODEL, url=TEST_ENDPOINT), bad=[1], access=OTHER, endpoint=TEST_ENDPOINT
    )
    for _ in range(2):
        ended(intake, line("a", model=TEST_MODEL, url=TEST_ENDPOINT), access=OTHER, endpoint=TEST_ENDPOINT,
              status="in_progress")  # fmt: skip
    assert isinstance(refusal(intake, own, OTHER), TooMany)
    intake.store.write(
        lambda tx: tx._connection.execute("UPDATE workspaces SET disabled = true WHERE id = 'default'")
    )
    assert isinstance(refusal(intake, before), Forbidden)


def test_a_write_that_fails_shows_neither_file_nor_task(intake, monkeypatch):
    """They appear in one transaction. The bytes stay, since the outcome of the write is not known."""
    before = ended(intake, line("a"), bad=[1])
    write = intake.store.write

    def fails(job):
        def then_fail(tx):
            job(tx)
            tx._connection.execute("SELECT error('no more')")

        return write(then_fail)

    monkeypatch.setattr(intake.store, "write", fails)
    with pytest.raises(WriteFailed):
        intake.batches.retry(ADMIN, before.id, idempotency_key="k")
    monkeypatch.undo()
    assert [file.id for file in intake.files.list(ADMIN).data] == [before.input_file_id]
    assert [task.id for task in intake.batches.list(ADMIN, TaskFilter()).data] == [before.id]
    assert intake.changed == []
    assert intake.batches.retry(ADMIN, before.id, idempotency_key="k").retry_of == before.id


def test_a_deleted_input_during_the_copy_is_a_refusal(intake, monkeypatch):
    """Nothing is left of the copy."""
    before = ended(intake, line("a"), bad=[1])
    receive = intake.files.receive

    def gone(*args, **options):
        intake.files.delete(ADMIN, before.input_file_id)
        return receive(*args, **options)

    monkeypatch.setattr(intake.files, "receive", gone)
    assert refusal(intake, before).code == "input_file_deleted"


def test_the_copy_needs_little_memory(intake):
    """40 MB of lines are copied within 4 MB of Python's memory."""
    text = line("x" * 100, padding="y" * 20_000)
    before = ended(intake, text * 2000, good=[1], bad=range(2, 1000))
    tracemalloc.start()
    try:
        retried = intake.batches.retry(ADMIN, before.id)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert intake.files.get(ADMIN, retried.input_file_id).bytes == 1999 * len(text)
    assert peak < 4_000_000
