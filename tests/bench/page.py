"""What the page costs: `python -m tests.bench.page`, two minutes.

The topic of window results holds 60,000 windows: 100 streams, 3 sizes, 200 windows of each, 20 clusters.
`driftgauge page` reads them all. Measured are its memory, and the time of the overview and of a stream: after
a new result, and within five seconds of another request.
"""

import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import numpy as np
import orjson
from tests.bench.workload import CLUSTERS, Publisher, draw_vectors, resident_mib, save_fitted, write_config
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS
from tests.builders.page import record_tree
from tests.harness.broker import Broker
from tests.harness.service import ReplicaProcess
from tests.options import parse_options
from tests.output import say

STREAMS = [f"stream-{number:03}" for number in range(100)]
SIZES = (5 * MINUTE_MS, HOUR_MS, DAY_MS)
WINDOWS = 200


def main() -> None:
    requests = parse_options(__doc__, requests=200).requests
    with Broker() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_fitted(draw_vectors(128), STREAMS[0], folder / "baseline.safetensors")
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
                    measure_answers(publisher, page.port, path, requests, is_new=is_new)
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
        time.sleep(0.05)
        began_s = time.perf_counter()
        # Each address has an answer of its own.
        fetch(port, f"{path}&n={number}" if is_new else path)
        times_ms.append(1_000 * (time.perf_counter() - began_s))
    half, most = np.quantile(times_ms, (0.5, 0.95))
    kind = "after a new result" if is_new else "the same address again"
    say(f"{path}, {kind}: median {half:.1f} ms, 95th percentile {most:.1f} ms")


def fetch(port: int, path: str) -> None:
    """Read an answer, which must be 200, as browsers ask for it: the page is made to be sent compressed."""
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": "gzip"})) as response:
        response.read()


if __name__ == "__main__":
    main()
