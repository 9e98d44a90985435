"""A backup is the data folder of one moment: made under load, proved by its hashes, and gone on from."""

import fcntl
import json
import os
import subprocess
import sys
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.server import ADMIN_KEY, Server
from tests.upstream import Upstream

NIGHTRATE = Path(sys.executable).with_name("nightrate")
QUICK_TO_STOP = "shutdown_grace_seconds = 0.2\ncancel_grace_seconds = 0.2"


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture
def server(tmp_path: Path, upstream: Upstream) -> Iterator[Server]:
    """One that a test may stop, kill and damage."""
    quick = {"NIGHTRATE_SERVER__STOP_SECONDS": "1"}
    with Server(tmp_path / "first", upstream.url, executor=QUICK_TO_STOP, environment=quick) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Server]:
    """One for all that only back it up."""
    with Server(tmp_path_factory.mktemp("shared") / "first", upstream.url, executor=QUICK_TO_STOP) as running:
        running.wait(running.submit(["one"]))
        yield running


def nightrate(server: Server, *words: object, **settings: str) -> "subprocess.CompletedProcess[str]":
    """A command beside the service, or its stopped data."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTRATE_")}
    return subprocess.run(
        [NIGHTRATE, *map(str, words), "--config", server.config],
        env={**own, "NIGHTRATE_ADMIN_KEY": ADMIN_KEY, **settings},
        capture_output=True,
        text=True,
        timeout=120,
    )


def asked(server: Server, body: object = None, key: str = ADMIN_KEY, path: str = "/v1/backup") -> Any:
    """A POST, by default of a backup, its answer still to be read."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(server.url + path, json.dumps(body or {}).encode(), headers)
    return urllib.request.urlopen(request, timeout=60)


def proved(folder: Path) -> bool:
    """Whether `sha256sum` finds everything as the list says."""
    checked = subprocess.run(
        ["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True
    )
    return checked.returncode == 0


def another(folder: Path, upstream: Upstream) -> Server:
    """A service of its own, without data so far, and not started."""
    return Server(folder / "second", upstream.url, executor=QUICK_TO_STOP)


def custom_ids(server: Server, batch: Any) -> list[str]:
    """Of all lines of both files."""
    files = [batch[name] for name in ("output_file_id", "error_file_id") if batch[name]]
    lines = b"".join(server.get_bytes(f"/v1/files/{file}/content") for file in files).splitlines()
    return sorted(json.loads(line)["custom_id"] for line in lines)


def test_what_runs_is_gone_on_with_from_a_backup(server: Server, upstream: Upstream, tmp_path: Path) -> None:
    """Taken under load and restored elsewhere: each request has one outcome, and the ledger is proved."""
    done = server.wait(server.submit([f"done {n}" for n in range(20)], metadata={"ds_name": "done"}))
    running = server.submit(["quick", "bad @status=400", *[f"slow {n} @latency=2" for n in range(40)]])
    server.until(
        lambda: server.get(f"/v1/batches/{running}")["request_counts"],
        lambda c: c["completed"] and c["failed"],
    )
    with asked(server) as answer, tarfile.open(fileobj=answer, mode="r|") as archive:
        first = archive.next()
    assert first is not None
    assert (
        first.name == f"files/{server.get(f'/v1/batches/{running}')['input_file_id']}"
    )  # which may be deleted soon
    server.until(lambda: list((server.folder / "data" / "tmp").iterdir()), lambda left: not left)
    made = nightrate(server, "backup", tmp_path / "kept")
    assert made.returncode == 0, made.stderr
    assert proved(tmp_path / "kept")
    server.kill()
    second = another(tmp_path, upstream)
    restored = nightrate(second, "restore", tmp_path / "kept")
    assert restored.returncode == 0, restored.stderr
    with second:
        assert second.get(f"/v1/batches/{done['id']}") == done
        assert len(custom_ids(second, done)) == 20
        gone_on = second.wait(running)
        assert gone_on["request_counts"] == {"total": 42, "completed": 41, "failed": 1}
        assert custom_ids(second, gone_on) == sorted(f"r{n}" for n in range(1, 43))
        audit = json.loads(nightrate(second, "audit", "--json").stdout)
        assert (audit["totals"]["verified"], audit["difference_count"]) == (2, 0)


def test_only_what_is_new_is_sent_and_what_was_deleted_goes(server: Server, tmp_path: Path) -> None:
    """The second backup into a folder; a stopped service's data is backed up the same way."""
    first = server.wait(server.submit([f"{n} " + "x" * 1000 for n in range(100)]))
    kept = tmp_path / "kept"
    assert nightrate(server, "backup", kept).returncode == 0
    second = server.wait(server.submit(["one"]))
    server.client().files.delete(first["output_file_id"])
    assert server.stop() == 0
    made = nightrate(server, "backup", kept)
    assert made.returncode == 0, made.stderr
    assert "3 files (2 of them new)" in made.stdout
    there = {path.name for folder in ("files", "outputs") for path in (kept / folder).iterdir()}
    assert there == {first["input_file_id"], second["input_file_id"], f"{second['id']}.output.jsonl"}
    assert proved(kept)
    assert sorted(path.name for path in kept.iterdir()) == [
        "SHA256SUMS",
        "backup.json",
        "files",
        "nightrate.duckdb",
        "outputs",
    ]
    assert (kept / "nightrate.duckdb").stat().st_mode & 0o777 == 0o600


def test_plain_tools_take_a_backup_too(shared: Server, tmp_path: Path) -> None:
    """Any HTTP client and `tar`; proved by `sha256sum`."""
    with asked(shared) as answer:
        archive = answer.read()
    listed = subprocess.run(["tar", "t"], input=archive, capture_output=True, check=True)
    assert listed.stdout.split()[-3:] == [b"nightrate.duckdb", b"backup.json", b"SHA256SUMS"]
    subprocess.run(["tar", "x"], input=archive, cwd=tmp_path, check=True)
    assert proved(tmp_path)


def test_a_file_that_is_deleted_meanwhile_is_deleted_in_the_backup(
    shared: Server, upstream: Upstream, tmp_path: Path
) -> None:
    """The database comes last and says so; the audit finds nothing that is missing."""
    tasks = [shared.wait(shared.submit([f"{n} @huge=9000000" for n in range(3)])) for _ in range(2)]
    last = max(tasks, key=lambda task: str(task["id"]))["output_file_id"]
    folder = tmp_path / "kept"
    folder.mkdir()
    with asked(shared) as answer, tarfile.open(fileobj=answer, mode="r|") as archive:
        archive.next()  # the rest of the answer is larger than what sockets hold, so it waits to be read
        shared.client().files.delete(last)
        archive.extractall(folder, filter="data")
    assert proved(folder)
    second = another(tmp_path, upstream)
    assert nightrate(second, "restore", folder).returncode == 0
    audit = json.loads(nightrate(second, "audit", "--json").stdout)
    assert audit["totals"]["verified"] > 0
    assert (audit["totals"]["digest_only"], audit["difference_count"]) == (1, 0)


def test_work_and_commits_go_on_while_a_backup_waits_for_its_reader(shared: Server) -> None:
    """And another backup is refused until it ends, however it ends."""
    shared.wait(shared.submit([f"{n} @huge=9000000" for n in range(3)]))
    with asked(shared) as answer:
        answer.read(1)
        assert shared.wait(shared.submit([f"meanwhile {n}" for n in range(50)]))["status"] == "completed"
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(shared)
        assert refused.value.code == 409
        assert json.load(refused.value)["error"]["code"] == "backup_running"
    shared.until(lambda: list((shared.folder / "data" / "tmp").iterdir()), lambda left: not left)
    with asked(shared) as answer:
        assert answer.read()


def test_a_backup_that_breaks_off_leaves_the_one_before(
    shared: Server, upstream: Upstream, tmp_path: Path
) -> None:
    """It says so, the older one can still be restored, and the next run takes up what came."""
    shared.wait(shared.submit(["one"]))
    kept = tmp_path / "kept"
    assert nightrate(shared, "backup", kept).returncode == 0
    before = (kept / "SHA256SUMS").read_bytes()
    shared.wait(shared.submit(["two"]))
    with asked(shared) as answer:
        whole = answer.read()
    with serving(whole[: len(whole) - 4096]) as url:
        broke = nightrate(shared, "backup", kept, "--url", url, "--key", ADMIN_KEY)
    assert broke.returncode == 1
    assert "broke off" in broke.stderr
    assert "Traceback" not in broke.stderr
    with serving(b"<html>", told="text") as url:
        other = nightrate(shared, "backup", kept, "--url", url, "--key", ADMIN_KEY)
    assert (other.returncode, "Traceback" in other.stderr) == (1, False)
    assert (kept / "SHA256SUMS").read_bytes() == before
    assert nightrate(another(tmp_path, upstream), "restore", kept).returncode == 0
    assert "files (none new)" in nightrate(shared, "backup", kept).stdout
    assert proved(kept)


@contextmanager
def serving(archive: bytes, told: str = "1000000") -> Iterator[str]:
    """A server that answers with this archive; its address."""

    class Answer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(200)
            self.send_header("x-nightrate-bytes", told)
            self.end_headers()
            self.wfile.write(archive)

        def log_message(self, *_: object) -> None:
            """Nothing is written to the test's output."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_rot_is_found(shared: Server, upstream: Upstream, tmp_path: Path) -> None:
    """A restore refuses what is not what was backed up; the next backup fetches it again."""
    task = shared.wait(shared.submit(["one"]))
    kept = tmp_path / "kept"
    nightrate(shared, "backup", kept)
    rotten = kept / "files" / task["input_file_id"]
    rotten.write_bytes(b"X" + rotten.read_bytes()[1:])
    second = another(tmp_path, upstream)
    refused = nightrate(second, "restore", kept)
    assert refused.returncode == 1
    assert f"{rotten} is not what was backed up" in refused.stderr
    assert not (second.folder / "data" / "nightrate.duckdb").exists()
    assert "(1 of them new)" in nightrate(shared, "backup", kept).stdout
    about = (kept / "backup.json").read_bytes()
    (kept / "backup.json").write_bytes(about.replace(b'"missing": []', b'"missing": [ ]'))
    assert "backup.json is not what was backed up" in nightrate(second, "restore", kept).stderr
    (kept / "backup.json").write_bytes(about)
    assert nightrate(second, "restore", kept).returncode == 0


def test_a_restore_takes_no_data_away(shared: Server, upstream: Upstream, tmp_path: Path) -> None:
    """Nor does it add to a write-ahead log that is left of a lost database. And a backup wants room for its copy."""
    kept = tmp_path / "kept"
    assert nightrate(shared, "backup", kept).returncode == 0
    refused = nightrate(shared, "restore", kept)
    assert refused.returncode == 1
    assert "there is data already" in refused.stderr
    second = another(tmp_path, upstream)
    log = second.folder / "data" / "nightrate.duckdb.wal"
    log.parent.mkdir()
    log.write_bytes(b"of a lost database")
    assert str(log) in nightrate(second, "restore", kept).stderr
    log.unlink()
    assert nightrate(second, "restore", kept).returncode == 0
    full = nightrate(second, "backup", tmp_path / "more", NIGHTRATE_STORAGE__MIN_FREE_BYTES=str(10**15))
    assert full.returncode == 1
    assert "The database is copied within the data folder first" in full.stderr


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../first/data/nightrate.duckdb", "files/../../x", "files/.hidden", "keys"]
)
def test_a_list_that_names_what_lies_elsewhere_is_no_backup(
    upstream: Upstream, tmp_path: Path, name: str
) -> None:
    """Neither in a restore nor in what is received."""
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  nightrate.duckdb\n{'0' * 64}  {name}\n")
    refused = nightrate(another(tmp_path, upstream), "restore", tmp_path)
    assert refused.returncode == 1
    assert "a backup holds nothing of the name" in refused.stderr


def test_two_backups_never_write_one_folder(shared: Server, tmp_path: Path) -> None:
    """The one that comes later says so, and changes nothing."""
    kept = tmp_path / "kept"
    kept.mkdir()
    folder = os.open(kept, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    refused = nightrate(shared, "backup", kept)
    os.close(folder)
    assert refused.returncode == 1
    assert "another backup is being written" in refused.stderr
    assert list(kept.iterdir()) == []
    assert nightrate(shared, "backup", kept).returncode == 0


def test_a_folder_of_something_else_is_left_alone(shared: Server, tmp_path: Path) -> None:
    """A backup goes into a new or empty folder, or the one of a backup before."""
    (tmp_path / "mine.txt").write_text("mine")
    refused = nightrate(shared, "backup", tmp_path)
    assert refused.returncode == 1
    assert "something else" in refused.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name != "first"] == ["mine.txt"]


def test_a_file_that_is_lost_is_said(server: Server, tmp_path: Path) -> None:
    """The rest is backed up; the exit code is 1."""
    task = server.wait(server.submit(["one"]))
    lost = f"outputs/{task['id']}.output.jsonl"
    (server.folder / "data" / lost).unlink()
    made = nightrate(server, "backup", tmp_path / "kept")
    assert made.returncode == 1
    assert lost in made.stderr
    assert proved(tmp_path / "kept")


def test_it_is_the_admins_alone(shared: Server) -> None:
    """A workspace's key gets 403; what one has must be hashes."""
    key = json.load(asked(shared, {"name": "k"}, path="/v1/workspaces/default/keys"))["secret"]
    for body, given, status in (({}, key, 403), ({"have": {"files/x": "no hash"}}, ADMIN_KEY, 400)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            asked(shared, body, given)
        assert refused.value.code == status


def test_what_a_crash_left_is_removed_and_a_stop_ends_a_backup(server: Server) -> None:
    """Neither leaves a copy of the database in the data folder for long."""
    server.wait(server.submit([f"{n} @huge=9000000" for n in range(3)]))
    left = server.folder / "data" / "tmp"
    with asked(server) as answer:
        answer.read(1)
        assert any(path.name.startswith("backup-") for path in left.iterdir())
        server.kill()
    server.start()
    assert list(left.iterdir()) == []
    with asked(server) as answer:
        answer.read(1)
        assert server.stop() == 0
    server.start()
    assert list(left.iterdir()) == []
