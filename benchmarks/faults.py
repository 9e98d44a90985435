"""What files that fail their validation leave in memory and in the database.

    python -m benchmarks.faults [--files 300 --lines 5000]

Submits many files in which every line is bad, so that each task names its first 1,000 faults. The reference, in the same run on a
service of its own, are as many files with one bad line. Prints megabytes, judges nothing.
"""

import argparse
import tempfile
from pathlib import Path

from benchmarks.memory import MEGA, held
from benchmarks.surroundings import our_server


def measure(name: str, folder: Path, files: int, lines: int) -> None:
    """Submits them one after the other."""
    file = folder / f"{name}.jsonl"
    file.write_bytes(b"{no JSON\n" * lines)
    with our_server(folder / name, "http://127.0.0.1:9/v1", 1) as server:
        server.run(server.submit(file))
        before = held(server, "VmRSS")
        for _ in range(files):
            server.run(server.submit(file))
        grown = held(server, "VmRSS") - before
    stored = sum(path.stat().st_size for path in (folder / name).rglob("nightrate.duckdb*")) / MEGA
    print(f"  {name:<24}{grown:>9.0f} MB more in memory{stored:>9.1f} MB of database")


def main() -> None:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--lines", type=int, default=5000)
    options = parser.parse_args()
    print(f"\n{options.files} files that fail their validation")
    with tempfile.TemporaryDirectory() as folder:
        measure("one fault (reference)", Path(folder), options.files, 1)
        measure("all lines bad", Path(folder), options.files, options.lines)


if __name__ == "__main__":
    main()
