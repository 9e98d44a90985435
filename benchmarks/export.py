"""Exports of a ledger of a million charges over HTTP: rows a second, and the service's memory above idle.

    python -m benchmarks.export [--rows 1000000,4000000] [--kinds charges:csv,charges:parquet] [--cache 128]

The reference, in the same run: DuckDB's own COPY of the same rows in the same order to csv, in a process of its
own. Each export is asked of a service that was started for it. DuckDB keeps what it read of the table, up to
`storage.database_memory_bytes` (`--cache` sets it, in MiB): how much that is, is measured in the reference's
process and printed beside the service's memory. Prints figures and ratios, judges nothing.
"""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from benchmarks.surroundings import Server, our_server
from metering.options import StorageOptions
from metering.store import Store

FILL = """
INSERT INTO charges SELECT 'chg_' || substr(sha256(i::VARCHAR), 1, 40), 'usage', NULL,
    'batch_' || md5((i // 4)::VARCHAR), 'ws_' || ((i // 4) % 50), 'key_' || ((i // 4) % 200), 'model-' || ((i // 4) % 20),
    CASE i % 2 WHEN 0 THEN 'input_tokens' ELSE 'output_tokens' END, CASE (i // 2) % 2 WHEN 0 THEN '128000' ELSE '256000' END,
    'standard', CASE i % 2 WHEN 0 THEN 100 ELSE 0 END, q, 0.8, 0.4, q * 0.0000008::DECIMAL(8, 7), q * 0.0000004::DECIMAL(8, 7),
    q * 0.0000004::DECIMAL(8, 7), 'CNY', moment, moment, '2026-11', sha256('price'), NULL, NULL
FROM (SELECT i, 1000 + (i * 7919) % 100000 AS q,
    TIMESTAMPTZ '2026-11-01 00:00:00+00' + INTERVAL ((i // 4) * {step}) MICROSECOND AS moment FROM range({rows}) t(i))
"""
STEP_MICROSECONDS = 8_000_977
MONTH_MICROSECONDS = 2_500_000_000_000
"""A little less than the month in which all charges lie, however many there are."""
COPY = "COPY (SELECT * FROM charges ORDER BY recorded_at, charge_id) TO '{target}' (FORMAT csv)"


def resident_mb(pid: int) -> float:
    """Memory of a process now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 / 2**20


@contextmanager
def peak_mb(pid: int) -> Iterator[list[float]]:
    """The most memory of a process above what it has now, once it is left."""
    idle, found, done = resident_mb(pid), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            found[0] = max(found[0], resident_mb(pid) - idle)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()


def filled(folder: Path, rows: int) -> None:
    """A data folder with a ledger of one month."""
    Store(StorageOptions(data_dir=folder / "data"), packages=("metering",)).close()
    step = min(STEP_MICROSECONDS, MONTH_MICROSECONDS // (rows // 4 + 1))
    with duckdb.connect(str(folder / "data" / "nightrate.duckdb")) as plain:
        plain.execute("SET TimeZone = 'UTC'")
        plain.execute(FILL.format(rows=rows, step=step))


def copied(folder: Path) -> tuple[float, float]:
    """Seconds that DuckDB's own COPY takes, and MB of the table that DuckDB keeps once it read all of it."""
    with duckdb.connect(str(folder / "nightrate.duckdb"), config={"threads": "2"}) as plain:
        plain.execute("SET TimeZone = 'UTC'")
        begun = time.perf_counter()
        plain.execute(COPY.format(target=folder / "reference.csv"))
        seconds = time.perf_counter() - begun
        kept = plain.execute(
            "SELECT memory_usage_bytes FROM duckdb_memory() WHERE tag = 'BASE_TABLE'"
        ).fetchone()
        return seconds, (kept[0] if kept else 0) / 2**20


def exported(server: Server, kind: str, form: str) -> tuple[int, float]:
    """Rows of an export, and the seconds until its last byte is here."""
    begun = time.perf_counter()
    asked = {"period": "2026-11", "format": form}
    with server.session.get(
        f"{server.url}/v1/billing/exports/{kind}", params=asked, stream=True, timeout=600
    ) as reply:
        reply.raise_for_status()
        for _ in reply.iter_content(1 << 20):
            pass
        return int(reply.headers["x-nightrate-rows"]), time.perf_counter() - begun


def measured(folder: Path, rows: int, kinds: list[str], cache_mib: int) -> None:
    """Fills a ledger, then measures one after the other."""
    filled(folder, rows)
    with multiprocessing.get_context("spawn").Pool(1) as alone:
        reference, table_mb = alone.apply(copied, [folder / "data"])
    print(
        f"{'DuckDB COPY csv':16} {rows:>9,} rows {reference:7.2f} s {rows / reference:>9,.0f} rows/s, "
        f"the whole table is {table_mb:.0f} MB of DuckDB's cache, at most {cache_mib} MB are kept"
    )
    for kind, form in (only.split(":") for only in kinds):
        with our_server(folder, "http://127.0.0.1:9/v1", 1) as server, peak_mb(server.pid) as peak:
            exported_rows, seconds = exported(server, kind, form)
            cpu = server.cpu_seconds()
        print(
            f"{kind + ' ' + form:16} {exported_rows:>9,} rows {seconds:7.2f} s {exported_rows / seconds:>9,.0f} rows/s "
            f"{reference / seconds:5.2f} of COPY {cpu:6.2f} s of processor {peak[0]:5.0f} MB above idle",
            flush=True,
        )


def main() -> None:
    """Measures each size of a ledger."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="1000000")
    parser.add_argument("--kinds", default="charges:csv,charges:parquet,charges:jsonl,focus:csv,usage:csv")
    parser.add_argument("--cache", type=int, default=StorageOptions().database_memory_bytes // 2**20)
    asked = parser.parse_args()
    os.environ["NIGHTRATE_STORAGE__DATABASE_MEMORY_BYTES"] = str(asked.cache * 2**20)
    for rows in map(int, asked.rows.split(",")):
        with tempfile.TemporaryDirectory() as name:
            measured(Path(name), rows, asked.kinds.split(","), asked.cache)


if __name__ == "__main__":
    main()
