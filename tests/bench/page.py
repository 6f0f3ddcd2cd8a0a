"""What the page costs: `python -m tests.bench.page`, two minutes.

The topic of window results holds 60,000 windows: 100 streams, 3 sizes, 200 windows of each, 20 clusters.
`driftgauge page` reads them all. Measured are its memory, and the time of the overview and of a stream: after
a new result, and within five seconds of another request.
"""

import argparse
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from tests.bench.usage import resident_mib
from tests.bench.workload import CLUSTERS, Publisher, draw_vectors, save_fitted, write_config
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS
from tests.builders.page import record_tree
from tests.harness.broker import Broker
from tests.harness.service import ReplicaProcess
from tests.output import say

STREAMS = [f"stream-{number:03}" for number in range(100)]
SIZES = (5 * MINUTE_MS, HOUR_MS, DAY_MS)
WINDOWS = 200
PAUSE_S = 0.05
# Browsers ask for this, and the page is made to be sent compressed.
HEADERS = {"Accept-Encoding": "gzip"}
DIMENSION = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--requests", type=int, default=200, help="of each address (default: 200)")
    options = parser.parse_args()
    with Broker() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_fitted(draw_vectors(DIMENSION), STREAMS[0], folder / "baseline.safetensors")
        stream = {"name": STREAMS[0], "baseline": "baseline.safetensors", "windows": ["1h", "1d"]}
        config = write_config(folder, broker.bootstrap, "page", "events", stream)
        publisher = Publisher(broker.bootstrap, "page.windows", linger_ms=0)
        for number in range(WINDOWS):
            for each in STREAMS:
                for size_ms in SIZES:
                    publisher.send(result(each, size_ms, number))
        publisher.flush()
        with ReplicaProcess(config, folder / "page.log", role=None) as page:
            page.wait_until_ready()
            for path in ("/?", f"/?stream={STREAMS[7]}&window=1h"):
                for is_new in (True, False):
                    measure_answers(publisher, page.port, path, options.requests, is_new=is_new)
            say(f"memory: {resident_mib(page.pid):.0f} MiB")


def result(stream: str, size_ms: int, number: int) -> bytes:
    """Return a result with 20 clusters; a tenth of the streams drifts in its last 50 windows."""
    drifts = stream.endswith("7") and number >= WINDOWS - 50
    tree: Any = record_tree(number, "drift" if drifts else "ok", size_ms=size_ms, stream=stream)
    tree["clusters"] = [{**tree["clusters"][0], "id": cluster} for cluster in range(CLUSTERS)]
    tree["js_divergence"] = 0.01 + 0.005 * (hash((stream, size_ms, number)) % 1_000) / 1_000 + 0.1 * drifts
    return orjson.dumps(tree)


def measure_answers(publisher: Publisher, port: int, path: str, requests: int, *, is_new: bool) -> None:
    """Print the time of answers, each after a new result; one that is not new may be asked for again."""
    times_ms = []
    for number in range(requests):
        publisher.send(result(STREAMS[number % 100], HOUR_MS, WINDOWS - 1))
        publisher.flush()
        time.sleep(PAUSE_S)
        began_s = time.perf_counter()
        # Each address has an answer of its own.
        fetch(port, f"{path}&n={number}" if is_new else path)
        times_ms.append(1_000 * (time.perf_counter() - began_s))
    half, most = np.quantile(times_ms, (0.5, 0.95))
    kind = "after a new result" if is_new else "the same address again"
    say(f"{path}, {kind}: median {half:.1f} ms, 95th percentile {most:.1f} ms")


def fetch(port: int, path: str) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            sys.exit(f"{path}: status {response.status}: {body[:300]!r}")
    finally:
        connection.close()


if __name__ == "__main__":
    main()
