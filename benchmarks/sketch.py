"""The least that a task needs, over our own HTTP client: what the SPEC calls a naive sketch of the whole way.

Each line is read and decoded, sent, its answer's usage parsed, and a result line made; every 250 ms lines are appended and
synced and a row of five columns a request is committed to DuckDB. It knows one task, and no limit, share, retry, outage,
metric, cancel or recovery: what is between it and the whole task is what those cost.
"""

import asyncio
import os
import queue
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

import duckdb
import msgspec
import pyarrow as pa

from benchmarks.loops import Load, Result, result
from benchmarks.surroundings import own_client
from executor.upstream import Answer, NoAnswer

_COMMIT_SECONDS = 0.25
_ENDPOINT = "/v1/chat/completions"


class _Line(msgspec.Struct):
    custom_id: str
    body: msgspec.Raw


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Body(msgspec.Struct):
    usage: _Usage


_decode_line = msgspec.json.Decoder(_Line).decode
_decode_body = msgspec.json.Decoder(_Body).decode
_Row = tuple[bytes, int, int, int, float]


async def sketch(url: str, load: Load) -> Result:
    """Runs it once, against the same upstream as the bare loops."""
    with tempfile.TemporaryDirectory() as folder:
        load.write(Path(folder) / "input.jsonl")
        return await _Sketch(url, load, Path(folder)).run()


class _Sketch:
    def __init__(self, url: str, load: Load, folder: Path) -> None:
        self._load, self._folder = load, folder
        self._upstream = own_client(url)
        self._loop = asyncio.get_running_loop()
        self._done = self._loop.create_future()
        self._rows: list[_Row] = []
        self._queue: queue.SimpleQueue[list[_Row]] = queue.SimpleQueue()
        self._free, self._left = load.concurrency, load.requests
        self._pumps = False
        self._committed = 0.0

    async def run(self) -> Result:
        writer = threading.Thread(target=self._write)
        with (self._folder / "input.jsonl").open("rb") as file:
            self._lines = enumerate(file, 1)
            begun, cpu = time.perf_counter(), time.process_time()
            writer.start()
            self._committed = begun
            self._pump()
            await self._done
            writer.join()
        found = result(self._load, time.perf_counter() - begun, time.process_time() - cpu)
        self._upstream.close()
        return found

    def _pump(self) -> None:
        self._pumps = False
        now = time.perf_counter()
        if now - self._committed >= _COMMIT_SECONDS or not self._left:
            self._committed, rows, self._rows = now, self._rows, []
            self._queue.put(rows)
        if not self._left:
            self._done.set_result(None)
        while self._free and (numbered := next(self._lines, None)) is not None:
            self._free -= 1
            line = _decode_line(numbered[1])
            begun = time.monotonic()
            self._upstream.ask(
                _ENDPOINT, bytes(line.body), partial(self._answered, numbered[0], line.custom_id, begun)
            )

    def _answered(self, number: int, custom_id: str, begun: float, answer: Answer | NoAnswer) -> None:
        assert isinstance(answer, Answer)
        usage = _decode_body(answer.body).usage
        line = b'{"id":"batch_req_%d","custom_id":"%s","response":{"status_code":%d,"body":%s},"error":null}\n' % (
            number, custom_id.encode(), answer.status, answer.body
        )  # fmt: skip
        seconds = time.monotonic() - begun
        self._rows.append((line, number, usage.prompt_tokens, usage.completion_tokens, seconds))
        self._free += 1
        self._left -= 1
        if not self._pumps:
            self._pumps = True
            self._loop.call_soon(self._pump)

    def _write(self) -> None:
        """Lines, fsync, then one transaction, until all are there."""
        written = 0
        with (
            (self._folder / "output.jsonl").open("ab") as output,
            duckdb.connect(self._folder / "sketch.duckdb") as database,
        ):
            database.execute("CREATE TABLE events (line BIGINT, input BIGINT, output BIGINT, seconds DOUBLE)")
            while written < self._load.requests:
                rows = self._queue.get()
                if not rows:
                    continue
                lines, *columns = zip(*rows, strict=True)
                output.write(b"".join(lines))
                output.flush()
                os.fsync(output.fileno())
                incoming = pa.table(dict(zip(("line", "input", "output", "seconds"), columns, strict=True)))
                database.execute("INSERT INTO events SELECT * FROM incoming")
                written += incoming.num_rows
