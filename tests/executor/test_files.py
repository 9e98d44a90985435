"""Files as a service (SPEC §3.1)."""

import hashlib

import pytest

from executor.files import FileTooLarge
from executor.new_batch import NewBatch
from metering.access import ADMIN, Access
from metering.errors import Conflict, Forbidden, InvalidParameter, NotFound

OTHER = Access("other", "key-other")


def leftovers(intake):
    return [path for path in intake.data_dir.rglob("*") if path.is_file() and "duckdb" not in path.name]


def test_an_upload_is_stored_as_it_came(intake):
    """Size, hash, times and bytes are those of what was written, in parts."""
    with intake.files.receive(
        ADMIN, filename="C:\\data\\in\nput.jsonl", expires_after_seconds=3600
    ) as upload:
        for part in (b"a" * 10, b"", b"b" * 7):
            upload.write(part)
        file = upload.commit()
    assert (file.bytes, file.filename, file.workspace_id) == (17, "input.jsonl", "default")
    assert file.sha256 == hashlib.sha256(b"a" * 10 + b"b" * 7).hexdigest()
    assert intake.files.path_of(file).read_bytes() == b"a" * 10 + b"b" * 7
    assert (file.expires_at - file.created_at).total_seconds() == 3600
    assert file.id.startswith("file-batch-")
    assert len(file.id) == len("file-batch-") + 24
    assert intake.files.get(ADMIN, file.id) == file


def test_what_is_not_committed_leaves_nothing(intake):
    """An upload that breaks off is gone, one that a crash cut off is gone after the next start."""
    with intake.files.receive(ADMIN, filename="x") as upload:
        upload.write(b"x")
    assert leftovers(intake) == []
    intake.files.receive(ADMIN, filename="x").__enter__().write(b"x")
    assert len(leftovers(intake)) == 1
    intake.files.discard_unfinished()
    assert leftovers(intake) == []


def test_a_file_above_the_limit_is_refused(intake):
    """At the first byte too many, with 413."""
    with intake.files.receive(ADMIN, filename="x") as upload:
        upload.write(b"x" * intake.limits.file_bytes)
        with pytest.raises(FileTooLarge) as refused:
            upload.write(b"x")
    assert (refused.value.status, refused.value.code) == (413, "file_too_large")
    assert leftovers(intake) == []


def test_an_expired_file_is_not_found_unless_a_running_task_uses_it(intake):
    """The input of a running task does not expire; it does as soon as the task ended."""
    free, used = (intake.upload(b"{}", expires_after_seconds=3600) for _ in range(2))
    task = intake.batches.create(ADMIN, NewBatch(used.id, "/v1/chat/completions", "24h"))
    intake.clock.move(seconds=3600)
    assert [file.id for file in intake.files.list(ADMIN).data] == [used.id]
    with pytest.raises(NotFound):
        intake.files.get(ADMIN, free.id)
    intake.set_task(task.id, status="completed")
    with pytest.raises(NotFound):
        intake.files.get(ADMIN, used.id)
    assert intake.files.list(ADMIN).data == []


def test_delete_frees_the_bytes_and_refuses_a_file_in_use(intake):
    """A file that a running task reads stays; of a deleted one the row is kept for the audit."""
    file = intake.upload(b"{}")
    task = intake.batches.create(ADMIN, NewBatch(file.id, "/v1/chat/completions", "24h"))
    with pytest.raises(Conflict) as refused:
        intake.files.delete(ADMIN, file.id)
    assert refused.value.code == "file_in_use"
    intake.set_task(task.id, status="failed")
    intake.files.delete(ADMIN, file.id)
    assert leftovers(intake) == []
    with pytest.raises(NotFound):
        intake.files.delete(ADMIN, file.id)
    (row,) = intake.store.query("engine.input_file", id=file.id)
    assert row["deleted_at"] == intake.clock()


def test_pages_join_without_gap_or_repetition(intake):
    """Files of one moment keep an order; a cursor whose file was deleted still works."""
    ids = []
    for n in range(7):
        ids.append(intake.upload(b"%d" % n).id)
        intake.clock.move(seconds=n % 2)
    for order in ("asc", "desc"):
        found, after = [], None
        while True:
            page = intake.files.list(ADMIN, limit=3, after=after, order=order)
            found += [file.id for file in page.data]
            if not page.has_more:
                break
            after = found[-1]
        assert sorted(found) == sorted(ids)
        moments = [intake.files.get(ADMIN, identity).created_at for identity in found]
        assert moments == sorted(moments, reverse=order == "desc")
    intake.files.delete(ADMIN, found[2])
    assert [f.id for f in intake.files.list(ADMIN, after=found[2]).data] == found[3:]
    with pytest.raises(InvalidParameter):
        intake.files.list(ADMIN, after="file-batch-0")


def test_a_workspace_sees_only_its_own(intake):
    """Of another's file it is told what it is told of one that never was."""
    mine, theirs = intake.upload(b"1", OTHER), intake.upload(b"2")
    assert [file.id for file in intake.files.list(OTHER).data] == [mine.id]
    assert {file.id for file in intake.files.list(ADMIN).data} == {mine.id, theirs.id}
    assert [file.id for file in intake.files.list(ADMIN, workspace_id="other").data] == [mine.id]
    for attempt in (intake.files.get, intake.files.delete):
        with pytest.raises(NotFound):
            attempt(OTHER, theirs.id)
    with pytest.raises(NotFound):
        intake.files.list(OTHER, workspace_id="default")
    with pytest.raises(InvalidParameter):
        intake.files.list(OTHER, after=theirs.id)


def test_who_may_not_upload_is_told_at_once(intake):
    """An unknown workspace, a disabled one, a wrong purpose, an expiry out of bounds."""
    for access, options, refusal in (
        (ADMIN, {"workspace_id": "nowhere"}, NotFound),
        (Access("disabled", "k"), {}, Forbidden),
        (ADMIN, {"purpose": "batch_output"}, InvalidParameter),
        (ADMIN, {"expires_after_seconds": 3599}, InvalidParameter),
    ):
        with pytest.raises(refusal):
            intake.files.receive(access, filename="x", **options)
