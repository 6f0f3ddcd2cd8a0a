"""What fitting a baseline on a large Parquet file takes: `python tests/bench/fit_memory.py`, some minutes.

The file has times and a segment column, so the overdispersion is measured of the whole and of each segment.
The memory is the most that the process of `driftgauge baseline fit` held at once.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

BLOCK_ROWS = 50_000
CLUSTERS = 20
MONDAY_MS = 1_762_128_000_000
SPACING_MS = 3_600
COUNTRIES = ("de", "fr", "us")


def write(path: Path, rows: int, dimension: int, row_group: int) -> None:
    random = np.random.default_rng(0)
    centres = random.standard_normal((CLUSTERS, dimension), np.float32)
    schema = pa.schema(
        [("embedding", pa.list_(pa.float32())), ("at", pa.timestamp("ms")), ("country", pa.string())]
    )
    pending: list[pa.RecordBatch] = []
    with pa.parquet.ParquetWriter(path, schema, use_dictionary=["country"], compression="none") as file:
        for start in range(0, rows, BLOCK_ROWS):
            count = min(BLOCK_ROWS, rows - start)
            vectors = random.standard_normal((count, dimension), np.float32)
            vectors += centres[random.integers(CLUSTERS, size=count)]
            offsets = pa.array(np.arange(count + 1) * dimension, pa.int32())
            columns = [
                pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
                pa.array(MONDAY_MS + np.arange(start, start + count) * SPACING_MS, pa.timestamp("ms")),
                pa.array(np.array(COUNTRIES)[random.integers(len(COUNTRIES), size=count)]),
            ]
            pending.append(pa.record_batch(columns, schema=schema))
            # Each call starts a row group, so a row group is written at once.
            if (start + count) % row_group == 0 or start + count == rows:
                file.write_table(pa.Table.from_batches(pending), row_group_size=row_group)
                pending = []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--row-group", type=int, default=1_000_000, help="rows in a row group")
    parser.add_argument("--metric", choices=["euclidean", "cosine"], default="euclidean")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "events.parquet"
        # In a process of its own, since the memory of a process passes on to those that it starts.
        writer = os.fork()
        if writer == 0:
            write(path, options.rows, options.dimension, options.row_group)
            os._exit(0)
        if os.waitpid(writer, 0)[1]:
            sys.exit("the file could not be written")
        command = [
            *(sys.executable, "-m", "driftgauge", "baseline", "fit", str(path), "--stream", "bench"),
            *("--time-column", "at", "--segment", "country=de,fr", "--metric", options.metric),
            *("--out", str(Path(folder) / "out.safetensors")),
        ]
        started = time.monotonic()
        child = os.posix_spawn(command[0], command, {**os.environ, "OMP_NUM_THREADS": "1"})
        _, status, usage = os.wait4(child, 0)
        wall = time.monotonic() - started
        if status:
            sys.exit("the baseline was not fitted")
    memory = usage.ru_maxrss / 1024
    raw = options.rows * options.dimension * 4 / 2**20
    processor = usage.ru_utime + usage.ru_stime
    sys.stdout.write(
        f"{options.rows:,} x {options.dimension}, {options.metric}: {memory:,.0f} MiB at most, the vectors "
        f"alone {raw:,.0f}; {wall:.0f} s of wall time, {processor:.0f} s of processor time\n"
    )


if __name__ == "__main__":
    main()
