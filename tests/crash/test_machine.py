"""Faults of our own machine: a full disk, a disk that refuses, a commit of unknown outcome, a stop under load.

After each the service goes on by itself, without a restart, once the cause is gone.
"""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import InternalServerError

from tests.crash.test_kill import assert_whole
from tests.server import Server
from tests.upstream import Upstream

CONCURRENCY = 16
REFUSING = Path(__file__).with_name("refusing_disk.c")


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream(latency=0.05) as upstream:
        yield upstream


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with a file system of its own, of 48 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system can't be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture(scope="session")
def refusing_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library that, loaded before the others, lets system calls that write fail as it is told to."""
    library = tmp_path_factory.mktemp("refusing") / "refusing_disk.so"
    build = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(REFUSING), "-ldl"]
    try:
        subprocess.run(build, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no C compiler here to make a refusing disk with: {error}")
    return library


class Refusal:
    """Turns the refusing disk on and off for a running service: `EROFS` to `write`, `EIO` to `sync`…"""

    def __init__(self, library: Path, order: Path, data: Path) -> None:
        self._order = order
        self.environment = {
            "LD_PRELOAD": str(library),
            "REFUSE_ORDER": str(order),
            "REFUSE_UNDER": str(data),
        }

    def begin(self, calls: str, name: str = "") -> None:
        """`calls`: letters of `w`rite, `s`ync, `o`pen for writing. `name`: a part of the files' names."""
        waiting = self._order.with_suffix(".new")
        waiting.write_text(f"{calls} {name}")
        waiting.rename(self._order)

    def end(self) -> None:
        self._order.unlink()


def reason(server: Server) -> str:
    """The reason that `/readyz` gives with its 503."""
    try:
        with urllib.request.urlopen(f"{server.url}/readyz", timeout=10):
            return ""
    except urllib.error.HTTPError as error:
        return str(json.load(error)["reason"])
    except urllib.error.URLError:  # it does not listen yet
        return ""


def progressed(server: Server, task_id: str, completed: int) -> Any:
    """Waits until so many requests are done."""
    return server.until(
        lambda: server.get(f"/v1/batches/{task_id}"), lambda b: b["request_counts"]["completed"] >= completed
    )


def refused(server: Server, part: str) -> None:
    """`/readyz` names the cause, and while it stays the upstream is left alone."""
    server.until(lambda: reason(server), lambda text: part in text, 30)


def left_alone(upstream: Upstream) -> None:
    """Once what was under way has ended nothing is asked that could not be kept."""
    deadline = time.monotonic() + 60
    before = -1
    while before != upstream.total:
        assert time.monotonic() < deadline
        before = upstream.total
        time.sleep(2.5)


def waits_for_the_disk(server: Server, task_id: str) -> None:
    """The task says why it does not move."""
    batch = server.get(f"/v1/batches/{task_id}")
    assert (batch["status"], batch["nightrate"]["waiting"]["reason"]) == ("in_progress", "disk")


def whole(server: Server, upstream: Upstream, task_id: str) -> None:
    """Work went on by itself to a right end."""
    server.until(lambda: server.status("/readyz"), lambda status: status == 200, 30)
    batch = server.wait(task_id)
    assert batch["status"] == "completed"
    assert_whole(server, upstream, batch, 1)


def fill(folder: Path) -> Path:
    """Takes all the room that is left."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                continue
    return path


def test_a_full_disk(small_disk: Path, upstream: Upstream) -> None:
    """No room for a line: the task waits, nothing is asked meanwhile, and room is all that it needs."""
    with Server(small_disk, upstream.url, concurrency=CONCURRENCY) as server:
        task_id = server.submit([f"hello {n}" for n in range(1500)])
        progressed(server, task_id, 100)
        ballast = fill(small_disk)
        refused(server, "No space left")
        left_alone(upstream)
        waits_for_the_disk(server, task_id)
        ballast.unlink()
        whole(server, upstream, task_id)


REFUSALS = {
    # what is refused, of which files: what /readyz then says
    "read-only folder": ("wo", "", "Read-only file system"),
    "lines not written": ("w", "/outputs/", "Read-only file system"),
    "lines not synced": ("s", "/outputs/", "Input/output error"),
    "events not written": ("w", "nightrate.duckdb", "Read-only file system"),
    "events not synced": ("s", "nightrate.duckdb", "fsync failed"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_disk_that_refuses(tmp_path: Path, refusing_disk: Path, upstream: Upstream, kind: str) -> None:
    """Whichever call fails, whatever became of the commit: the task waits, and goes on when it may."""
    calls, name, cause = REFUSALS[kind]
    refusal = Refusal(refusing_disk, tmp_path / "order", tmp_path / "data")
    server = Server(tmp_path, upstream.url, concurrency=CONCURRENCY, environment=refusal.environment)
    with server:
        task_id = server.submit([f"hello {n}" for n in range(600)])
        progressed(server, task_id, 100)
        refusal.begin(calls, name)
        refused(server, cause)
        left_alone(upstream)
        if "duckdb" not in name:  # a database that failed can't be read before it is sound again
            waits_for_the_disk(server, task_id)
        refusal.end()
        whole(server, upstream, task_id)


def test_a_commit_of_unknown_outcome(tmp_path: Path, upstream: Upstream) -> None:
    """It was made durable but said to have failed: what the database holds decides, nothing is doubled."""
    fault = {"NIGHTRATE_FAULT": "commit.stored:3:fail"}
    with Server(tmp_path, upstream.url, concurrency=CONCURRENCY, environment=fault) as server:
        whole(server, upstream, server.submit([f"hello {n}" for n in range(400)]))
        assert "the storage takes writes again" in server.log.read_text()


def test_too_little_room_pauses_before_the_disk_is_full(tmp_path: Path, upstream: Upstream) -> None:
    """Below `min_free_bytes` nothing is asked, and task and `/readyz` say why."""
    server = Server(tmp_path, upstream.url)
    server.config.write_text(
        server.config.read_text().replace("min_free_bytes = 0", f"min_free_bytes = {1 << 62}")
    )
    server.start(wait=False)
    try:
        refused(server, "bytes free")
        task_id = server.submit([f"hello {n}" for n in range(100)])
        server.until(
            lambda: server.get(f"/v1/batches/{task_id}")["nightrate"]["waiting"],
            lambda waiting: waiting is not None and waiting["reason"] == "disk",
        )
        assert upstream.total == 0
    finally:
        assert server.stop() == 0


def test_a_stop_under_load(tmp_path: Path, upstream: Upstream) -> None:
    """SIGTERM while requests are under way: exit code 0, and nothing is ever asked twice."""
    upstream.latency = 0.2
    server = Server(tmp_path, upstream.url, concurrency=64).start()
    task_id = server.submit([f"hello {n}" for n in range(1000)])
    progressed(server, task_id, 64)
    server.until(lambda: upstream.in_flight, bool)
    assert server.stop() == 0
    server.start()
    batch = server.wait(task_id)
    assert batch["status"] == "completed"
    assert_whole(server, upstream, batch, 0)
    assert set(upstream.asked.values()) == {1}


def test_a_stop_while_the_disk_refuses(tmp_path: Path, refusing_disk: Path, upstream: Upstream) -> None:
    """SIGTERM when answers can't be kept: exit code 0, and the next start asks those again, no others."""
    refusal = Refusal(refusing_disk, tmp_path / "order", tmp_path / "data")
    server = Server(tmp_path, upstream.url, concurrency=CONCURRENCY, environment=refusal.environment).start()
    task_id = server.submit([f"hello {n}" for n in range(400)])
    progressed(server, task_id, 100)
    refusal.begin("w", "/outputs/")
    refused(server, "Read-only file system")
    assert server.stop() == 0
    refusal.end()
    server.start()
    whole(server, upstream, task_id)
    assert server.stop() == 0


def test_a_full_disk_is_told_while_nothing_runs(
    tmp_path: Path, refusing_disk: Path, upstream: Upstream
) -> None:
    """An upload that can't be kept is 503 and says so; the next one after it is taken, without a restart."""
    refusal = Refusal(refusing_disk, tmp_path / "order", tmp_path / "data")
    with Server(tmp_path, upstream.url, environment=refusal.environment) as server:
        for calls, name in (("wo", ""), ("s", "nightrate.duckdb")):
            refusal.begin(calls, name)
            with pytest.raises(InternalServerError) as caught:
                server.submit(["hello"])
            assert caught.value.status_code == 503
            assert caught.value.code == "storage_unavailable"
            refusal.end()
            server.until(lambda: server.status("/readyz"), lambda status: status == 200, 30)
            assert server.wait(server.submit(["hello"]))["status"] == "completed"


@pytest.mark.parametrize("damage", ["deleted", "replaced"])
def test_a_database_without_its_name(tmp_path: Path, upstream: Upstream, damage: str) -> None:
    """Nothing is promised that the next start would not find; with the file back in its place work goes on."""
    database, elsewhere = tmp_path / "data/nightrate.duckdb", tmp_path / "elsewhere"
    with Server(tmp_path, upstream.url, concurrency=CONCURRENCY) as server:
        task_id = server.submit([f"hello {n}" for n in range(600)])
        progressed(server, task_id, 100)
        database.rename(elsewhere)
        if damage == "replaced":
            shutil.copy(elsewhere, database)
        refused(server, "was deleted or replaced")
        left_alone(upstream)
        waits_for_the_disk(server, task_id)
        elsewhere.rename(database)
        whole(server, upstream, task_id)
