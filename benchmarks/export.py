"""Exports of a ledger of a million charges: rows a second and memory, each in a process of its own.

    python -m benchmarks.export [--rows 1000000] [--kinds charges:csv,charges:parquet]

The reference, in the same run: DuckDB's own COPY of the same rows in the same order to csv. The target is
200,000 rows/s on an idle machine, and memory that does not grow with the number of rows.
"""

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import duckdb

sys.path.insert(0, str(Path(__file__).parent.parent))

from metering.access import ADMIN
from metering.clock import utc_now
from metering.exports import ExportRequest, Exports
from metering.options import BillingOptions, StorageOptions
from metering.store import Store

FILL = """
INSERT INTO charges SELECT 'chg_' || substr(sha256(i::VARCHAR), 1, 40), 'usage', NULL,
    'batch_' || md5((i // 4)::VARCHAR), 'ws_' || ((i // 4) % 50), 'key_' || ((i // 4) % 200), 'model-' || ((i // 4) % 20),
    CASE i % 2 WHEN 0 THEN 'input_tokens' ELSE 'output_tokens' END, CASE (i // 2) % 2 WHEN 0 THEN '128000' ELSE '256000' END,
    'standard', CASE i % 2 WHEN 0 THEN 100 ELSE 0 END, q, 0.8, 0.4, q * 0.0000008::DECIMAL(8, 7), q * 0.0000004::DECIMAL(8, 7),
    q * 0.0000004::DECIMAL(8, 7), 'CNY', moment, moment, '2026-11', sha256('price'), NULL, NULL
FROM (SELECT i, 1000 + (i * 7919) % 100000 AS q,
    TIMESTAMPTZ '2026-11-01 00:00:00+00' + INTERVAL ((i // 4) * 8000977) MICROSECOND AS moment FROM range({rows}) t(i))
"""
COPY = "COPY (SELECT * FROM charges ORDER BY recorded_at, charge_id) TO '{target}' (FORMAT csv)"


def resident_mb() -> float:
    """Memory of this process now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def measured(folder: Path, kind: str, form: str) -> None:
    """One export in this process; prints its figures."""
    store = Store(StorageOptions(data_dir=folder), packages=("metering",))
    idle = peak = resident_mb()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, resident_mb())

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun, used = time.perf_counter(), time.process_time()
    if kind == "reference":
        target = folder / "reference.csv"
        store.close()
        with duckdb.connect(str(folder / "nightrate.duckdb"), config={"threads": "2"}) as plain:
            plain.execute("SET TimeZone = 'UTC'")
            rows = plain.execute(COPY.format(target=target)).fetchone()[0]  # type: ignore[index]
    else:
        request = ExportRequest(kind, form, period="2026-11")
        export = Exports(store, BillingOptions(), utc_now).write(ADMIN, request)
        rows = export.rows
        store.close()
    seconds, cpu = time.perf_counter() - begun, time.process_time() - used
    done.set()
    watcher.join()
    print(
        f"{kind + ' ' + form:20} {rows:>9,} rows {seconds:7.2f} s {rows / seconds:>10,.0f} rows/s "
        f"{cpu:6.2f} s of processor  {peak - idle:6.0f} MB above idle",
        flush=True,
    )


def main() -> None:
    """Fills a ledger, then measures one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kinds", default="charges:csv,charges:parquet,charges:jsonl,focus:csv,usage:csv")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only:
        measured(asked.folder, *asked.only.split(":"))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = Store(StorageOptions(data_dir=folder), packages=("metering",))
        store.close()
        with duckdb.connect(str(folder / "nightrate.duckdb")) as plain:
            plain.execute(FILL.format(rows=asked.rows))
        for only in ("reference:csv", *asked.kinds.split(",")):
            command = [sys.executable, "-m", "benchmarks.export", "--only", only, "--folder", name]
            subprocess.run(command, check=True, cwd=Path(__file__).parent.parent)


if __name__ == "__main__":
    main()
