"""A whole task sent by the service itself and by Ray actors on the same machine, in one run (docs/ray.md).

    python benchmarks/engines.py --requests 20000

Against an nginx that answers at once. The processor time is the service's own: with Ray that of the actors and of the
process that speaks to them comes on top, but need not be of this machine. Prints figures, judges nothing.
"""

import sys
from pathlib import Path

# As a script too: from the root, where a module called statistics hides none of the same name.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

import argparse
import os
import tempfile

from benchmarks.loops import Load
from benchmarks.surroundings import fast_upstream
from benchmarks.throughput import middle, whole_task


def main() -> None:
    """Measures what the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[64, 1000])
    parser.add_argument("--bytes", type=int, default=1000, help="size of a request")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    os.environ["NIGHTRATE_EXECUTOR__RAY_ACTORS"] = str(options.actors)
    for concurrency in options.concurrency:
        load = Load(options.requests, concurrency, options.bytes)
        print(f"\n{load.requests:,} requests of {load.bytes_each:,} B, {concurrency} in flight, at once")
        rates = {}
        for engine in ("local", "ray"):
            os.environ["NIGHTRATE_EXECUTOR__ENGINE"] = engine
            with tempfile.TemporaryDirectory() as folder, fast_upstream(Path(folder)) as url:
                run = middle(whole_task(Path(folder), url, load, options.runs))
            rates[engine] = run.rate
            print(
                f"  {engine:<8}{run.rate:>10,.0f}/s {run.cpu_microseconds:>8,.0f} µs CPU of the service each"
            )
        print(f"  ray / local = {rates['ray'] / rates['local']:.2f}")


if __name__ == "__main__":
    main()
