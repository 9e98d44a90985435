"""Tasks as a service: made, listed, cancelled (SPEC §3.1, §3.2)."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from executor.batches import TaskFilter
from executor.new_batch import NewBatch, new_batch_of
from executor.options import TEST_ENDPOINT, TEST_MODEL
from executor.tasks import MOVES, STATUSES, allowed, console_status
from metering.access import ADMIN, Access
from metering.errors import Conflict, Forbidden, InvalidParameter, NotFound, TooMany

CHAT = "/v1/chat/completions"
OTHER = Access("other", "key-other")


def line(model="qwen-plus", url=CHAT) -> bytes:
    body = {"model": model, "messages": []}
    return json.dumps({"custom_id": "1", "method": "POST", "url": url, "body": body}).encode()


def make(intake, access=ADMIN, *, model="qwen-plus", endpoint=CHAT, window="24h", metadata=None, **options):
    file = intake.upload(line(model, endpoint), access)
    return intake.batches.create(access, NewBatch(file.id, endpoint, window, metadata), **options)


def test_a_new_task(intake):
    """It validates, knows its deadline, its model and its currency, and the engine is told after the commit."""
    metadata = {
        "ds_name": "夜",
        "ds_description": "d",
        "ds_batch_finish_callback": "https://a.example/x",
        "k": "",
    }
    task = make(intake, OTHER, window="14d", metadata=metadata)
    assert (task.status, task.total, task.errors, task.ending) == ("validating", 0, (), None)
    assert task.expires_at - task.created_at == timedelta(days=14)
    assert (task.model, task.currency, task.workspace_id, task.api_key_id) == (
        "qwen-plus", "CNY", "other", "key-other",
    )  # fmt: skip
    assert (task.name, task.description, task.callback_url) == ("夜", "d", "https://a.example/x")
    assert task.metadata == metadata
    assert intake.changed == [task.id]
    assert intake.batches.get(OTHER, task.id) == task


def test_the_currency_is_fixed_at_creation(intake):
    """A free model has none; a model without a price in the workspace's currency is refused."""
    assert make(intake, model="house/small").currency is None
    assert make(intake, model=TEST_MODEL, endpoint=TEST_ENDPOINT).currency is None
    for access, model in ((ADMIN, "unpriced"), (Access("euro", "k"), "qwen-plus")):
        with pytest.raises(InvalidParameter) as refused:
            make(intake, access, model=model)
        assert refused.value.code == "no_price"


@pytest.mark.parametrize("model", ["gpt-9", "x" * 5000, 7])
def test_a_file_that_will_fail_its_task_makes_one(intake, model):
    """What is wrong with the file is told by the task, line by line, not by the call."""
    task = make(intake, model=model)
    assert (task.model, task.currency) == (None, None)


def test_a_file_that_can_not_be_used(intake):
    """Unknown, foreign, deleted, expired, an output: 400 with the parameter's name."""
    deleted, expired = intake.upload(b"x"), intake.upload(b"x", expires_after_seconds=3600)
    output, foreign = intake.upload(b"x"), intake.upload(b"x", OTHER)
    intake.files.delete(ADMIN, deleted.id)
    intake.clock.move(hours=1)
    intake.store.write(
        lambda tx: tx._connection.execute(
            f"UPDATE files SET purpose = 'batch_output' WHERE id = '{output.id}'"
        )
    )
    for identity in ("file-batch-1", "", deleted.id, expired.id, output.id, foreign.id):
        with pytest.raises(InvalidParameter) as refused:
            intake.batches.create(ADMIN, NewBatch(identity, CHAT, "24h"))
        assert refused.value.param == "input_file_id"


def test_who_may_not_make_a_task(intake):
    """A disabled workspace may not, and an admin names a workspace that exists."""
    file = intake.upload(line())
    new = NewBatch(file.id, CHAT, "24h")
    with pytest.raises(Forbidden):
        intake.batches.create(ADMIN, new, workspace_id="disabled")
    with pytest.raises(NotFound):
        intake.batches.create(ADMIN, new, workspace_id="nowhere")


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"input_file_id": None}, "input_file_id"),
        ({"input_file_id": 3}, "input_file_id"),
        ({"endpoint": "/v1/images"}, "endpoint"),
        ({"endpoint": []}, "endpoint"),
        *(({"completion_window": w}, "completion_window") for w in ("23h", "15d", "x", "337h", "0d", "", "24", "024h", "٢٤h", "1d ", 24, "24H")),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"tags": ["a"]}}, "metadata.tags"),
        ({"metadata": {"a": None}}, "metadata.a"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"a": "v" * 513}}, "metadata.a"),
        ({"metadata": {"ds_name": "v" * 101}}, "metadata.ds_name"),
        ({"metadata": {"ds_description": "v" * 201}}, "metadata.ds_description"),
        *(({"metadata": {"ds_batch_finish_callback": u}}, "metadata.ds_batch_finish_callback") for u in ("", "a.example", "ftp://a", "http://", "http://[", "http://a:0/", "https://a b")),
        ({"output_expires_after": 3600}, "output_expires_after"),
        ({"output_expires_after": {"seconds": 3600}}, "output_expires_after.anchor"),
        ({"output_expires_after": {"anchor": "created_at"}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": True}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 3599}}, "output_expires_after.seconds"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 2592001}}, "output_expires_after.seconds"),
        ({"metdata": {}}, "metdata"),
    ],
)  # fmt: skip
def test_a_refused_field_is_named(changes, param):
    """Each field has its bounds, and the error says which one it is."""
    body = {"input_file_id": "f", "endpoint": CHAT, "completion_window": "24h"}
    with pytest.raises(InvalidParameter) as refused:
        new_batch_of(body | changes)
    assert refused.value.param == param
    assert refused.value.status == 400


def test_the_edges_of_what_is_accepted():
    """The longest and the shortest of everything."""
    for window, hours in (("24h", 24), ("336h", 336), ("1d", 24), ("14d", 336)):
        assert NewBatch("f", CHAT, window).window == timedelta(hours=hours)
    metadata = {f"{n:064}": "v" * 512 for n in range(13)}
    metadata |= {
        "ds_name": "n" * 100,
        "ds_description": "d" * 200,
        "ds_batch_finish_callback": "http://a:1/?b=c",
    }
    body = {"input_file_id": "f", "endpoint": CHAT, "completion_window": "24h", "metadata": metadata}
    for seconds in (3600, 2592000):
        assert new_batch_of(body | {"output_expires_after": {"anchor": "created_at", "seconds": seconds}})


def test_an_idempotency_key_makes_one_task(intake):
    """The same body gives the first task, even when its file is gone; another body is a conflict; 24 h long."""
    file, second = intake.upload(line()), intake.upload(line())
    new = NewBatch(file.id, CHAT, "24h", {"a": "1", "b": "2"})
    first = intake.batches.create(ADMIN, new, idempotency_key="k")
    intake.set_task(first.id, status="failed")
    intake.files.delete(ADMIN, file.id)
    again = NewBatch(file.id, CHAT, "24h", {"b": "2", "a": "1"})
    assert intake.batches.create(ADMIN, again, idempotency_key="k").id == first.id
    assert intake.changed == [first.id]
    with pytest.raises(Conflict):
        intake.batches.create(ADMIN, NewBatch(second.id, CHAT, "24h"), idempotency_key="k")
    foreign = make(intake, OTHER, idempotency_key="k")
    assert foreign.id != first.id
    intake.clock.move(hours=24)
    later = intake.batches.create(ADMIN, NewBatch(second.id, CHAT, "24h"), idempotency_key="k")
    assert later.id != first.id
    assert intake.batches.create(ADMIN, NewBatch(second.id, CHAT, "24h"), idempotency_key="k").id == later.id
    for key in ("", "k" * 256):
        with pytest.raises(InvalidParameter):
            intake.batches.create(ADMIN, NewBatch(second.id, CHAT, "24h"), idempotency_key=key)


def test_one_key_at_the_same_moment_makes_one_task(intake):
    """Calls that overlap agree on the task."""
    file = intake.upload(line())
    new = NewBatch(file.id, CHAT, "24h")
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: intake.batches.create(ADMIN, new, idempotency_key="k").id, range(16)))
    assert len(set(made)) == 1


def test_two_test_tasks_at_once(intake):
    """A third is refused until one ended; another workspace has two of its own."""
    tasks = [make(intake, model=TEST_MODEL, endpoint=TEST_ENDPOINT) for _ in range(2)]
    with pytest.raises(TooMany):
        make(intake, model=TEST_MODEL, endpoint=TEST_ENDPOINT)
    make(intake, OTHER, model=TEST_MODEL, endpoint=TEST_ENDPOINT)
    intake.set_task(tasks[0].id, status="completed")
    make(intake, model=TEST_MODEL, endpoint=TEST_ENDPOINT)


def test_filters_find_what_they_name(intake):
    """Newest first; part of the name, status, input file, moment, name or id."""
    tasks = []
    for name in ("Nightly summaries", "evaluation", None):
        tasks.append(make(intake, metadata=name and {"ds_name": name}))
        intake.clock.move(minutes=1)
    old, middle, new = tasks
    intake.set_task(old.id, status="completed")

    def found(**conditions):
        asked = TaskFilter(**conditions)
        page = intake.batches.list(ADMIN, asked)
        assert intake.batches.count(ADMIN, asked) == len(page.data)
        return page.data

    assert [task.id for task in found()] == [new.id, middle.id, old.id]
    assert [task.id for task in found(ds_name="SUMM")] == [old.id]
    assert [task.id for task in found(ds_name="%")] == []
    assert [task.id for task in found(search=middle.id[8:20])] == [middle.id]
    assert [task.id for task in found(search="nightly")] == [old.id]
    assert [task.id for task in found(statuses=("completed", "failed"))] == [old.id]
    assert [task.id for task in found(input_file_ids=(old.input_file_id, "x", new.input_file_id))] == [
        new.id,
        old.id,
    ]
    assert [task.id for task in found(created_from=middle.created_at)] == [new.id, middle.id]
    assert [task.id for task in found(created_before=middle.created_at)] == [old.id]
    page = intake.batches.list(ADMIN, TaskFilter(limit=2))
    assert page.has_more
    rest = intake.batches.list(ADMIN, TaskFilter(limit=2, after=page.data[-1].id))
    assert ([task.id for task in rest.data], rest.has_more) == ([old.id], False)


def test_a_workspace_sees_only_its_own_tasks(intake):
    """Foreign tasks are not found, not listed and not cancelled."""
    theirs, mine = make(intake), make(intake, OTHER)
    assert [task.id for task in intake.batches.list(OTHER, TaskFilter()).data] == [mine.id]
    assert len(intake.batches.list(ADMIN, TaskFilter()).data) == 2
    assert [t.id for t in intake.batches.list(ADMIN, TaskFilter(workspace_id="other")).data] == [mine.id]
    for attempt in (intake.batches.get, intake.batches.cancel):
        with pytest.raises(NotFound):
            attempt(OTHER, theirs.id)
    with pytest.raises(InvalidParameter):
        intake.batches.list(OTHER, TaskFilter(after=theirs.id))
    assert intake.batches.get(ADMIN, theirs.id).status == "validating"


@pytest.mark.parametrize("status", STATUSES)
def test_what_can_be_cancelled(intake, status):
    """Validating and running tasks; a cancelled one stays as it is; every other is a conflict."""
    task = make(intake)
    intake.set_task(task.id, status=status)
    intake.changed.clear()
    if status in ("validating", "in_progress"):
        assert allowed(status, "cancelling")
        after = intake.batches.cancel(ADMIN, task.id)
        assert (after.status, after.ending, after.cancelling_at) == (
            "cancelling",
            "cancelled",
            intake.clock(),
        )
        assert intake.changed == [task.id]
        intake.clock.move(seconds=1)
        assert intake.batches.cancel(ADMIN, task.id) == after
    elif status in ("cancelling", "cancelled"):
        assert intake.batches.cancel(ADMIN, task.id).cancelling_at is None
    else:
        with pytest.raises(Conflict, match=status):
            intake.batches.cancel(ADMIN, task.id)
    assert intake.changed == ([task.id] if status in ("validating", "in_progress") else [])


def test_a_task_that_is_ending_can_not_be_cancelled(intake):
    """The first ending that was committed is the one."""
    task = make(intake)
    intake.set_task(task.id, status="in_progress", ending="expired")
    with pytest.raises(Conflict):
        intake.batches.cancel(ADMIN, task.id)
    assert intake.batches.get(ADMIN, task.id).ending == "expired"


def test_a_workspace_is_cancelled_as_a_whole(intake):
    """All that runs there, and nothing elsewhere."""
    mine, done, theirs = make(intake, OTHER), make(intake, OTHER), make(intake)
    intake.set_task(done.id, status="completed")
    assert intake.batches.cancel_workspace("other") == (mine.id,)
    assert intake.batches.get(ADMIN, theirs.id).status == "validating"


def test_every_status_has_its_moves_and_its_word():
    """The table covers all statuses and leads to no unknown one."""
    assert set(MOVES) == set(STATUSES)
    assert set().union(*MOVES.values()) <= set(STATUSES)
    assert {console_status(status) for status in STATUSES} == {
        "Validating", "Executing", "Cancelling", "Completed", "Failed", "Stopped",
    }  # fmt: skip
