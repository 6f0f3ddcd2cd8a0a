"""What the page costs: `python -m tests.bench.page`, two minutes.

The topic of window results holds 60,000 windows: 100 streams, 3 sizes, 200 windows of each, 20 clusters.
`driftgauge page` reads them all; measured are its memory, and the time of the overview and of a stream, each
rendered again, with a new result before it, and within seconds of another request.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Producer
from tests.bench.workload import CLUSTERS, create_topics, draw_vectors, save_fitted
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
EVENTS, RESULTS = "page.events", "page.windows"
DIMENSION = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=200, help="of each address (default: 200)")
    options = parser.parse_args()
    with Broker() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(broker.bootstrap, folder)
        with ReplicaProcess(config, folder / "empty.log", role=None) as page:
            page.wait_until_ready()
            empty_mib = resident_mib(page)
        publish_results(broker.bootstrap)
        with ReplicaProcess(config, folder / "page.log", role=None) as page:
            began_s = time.monotonic()
            page.wait_until_ready()
            read_s = time.monotonic() - began_s
            say(f"60,000 results read in {read_s:.1f} s")
            say(f"memory: {empty_mib:.0f} MiB without a window, {resident_mib(page):.0f} MiB with 60,000")
            measure_answers(broker.bootstrap, page, options.requests)
            say(f"memory: {resident_mib(page):.0f} MiB at the end")


def prepare(bootstrap: str, folder: Path) -> Path:
    """Create the topics, fit the baseline and write the configuration."""
    create_topics(bootstrap, [], [RESULTS])
    save_fitted(draw_vectors(DIMENSION), STREAMS[0], folder / "baseline.safetensors")
    document = {
        "kafka": {"bootstrap.servers": bootstrap, "group.id": "page"},
        "topics": {"events": [EVENTS], "windows": RESULTS, "dead_letters": "page.dead-letters"},
        "streams": [{"name": STREAMS[0], "baseline": "baseline.safetensors", "windows": ["1h", "1d"]}],
        "http": {"port": 0},
    }
    config = folder / "driftgauge.yaml"
    config.write_text(json.dumps(document))
    return config


def result(stream: str, size_ms: int, number: int) -> bytes:
    """Return a result with 20 clusters; a tenth of the streams drifts in its last 50 windows."""
    drifts = stream.endswith("7") and number >= WINDOWS - 50
    tree: Any = record_tree(number, "drift" if drifts else "ok", size_ms=size_ms, stream=stream)
    tree["clusters"] = [{**tree["clusters"][0], "id": cluster} for cluster in range(CLUSTERS)]
    tree["js_divergence"] = 0.01 + 0.005 * (hash((stream, size_ms, number)) % 1_000) / 1_000 + 0.1 * drifts
    return orjson.dumps(tree)


def publish_results(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4"})
    for number in range(WINDOWS):
        for stream in STREAMS:
            for size_ms in SIZES:
                producer.produce(RESULTS, result(stream, size_ms, number))
        if producer.flush(60):
            sys.exit("the broker did not accept all results")


def measure_answers(bootstrap: str, page: ReplicaProcess, requests: int) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    for path in ("/?", f"/?stream={STREAMS[7]}&window=1h"):
        for is_new in (True, False):
            times_ms, size = [], 0
            used_s = processor_s(page)
            for number in range(requests):
                producer.produce(RESULTS, result(STREAMS[number % 100], HOUR_MS, WINDOWS - 1))
                producer.flush(60)
                time.sleep(PAUSE_S)
                began_s = time.perf_counter()
                # Each address has an answer of its own.
                size = len(fetch(page.port, f"{path}&n={number}" if is_new else path))
                times_ms.append(1_000 * (time.perf_counter() - began_s))
            used_ms = 1_000 * (processor_s(page) - used_s) / requests
            say(
                f"{path}, {'rendered again' if is_new else 'as asked often'}: median "
                f"{statistics.median(times_ms):.1f} ms, 95th percentile "
                f"{np.quantile(times_ms, 0.95):.1f} ms, "
                f"{used_ms:.1f} ms of processor a request, {size / 1024:.0f} KiB"
            )


def fetch(port: int, path: str) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=HEADERS)
        response = connection.getresponse()
        body = response.read()
        if response.status != 200:
            sys.exit(f"{path}: status {response.status}: {body[:300]!r}")
        return body
    finally:
        connection.close()


def resident_mib(process: ReplicaProcess) -> float:
    return int(proc(process, "statm").split()[1]) * 4 / 1024


def processor_s(process: ReplicaProcess) -> float:
    user, system = proc(process, "stat").rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / 100


def proc(process: ReplicaProcess, file: str) -> str:
    return Path(f"/proc/{process.pid}/{file}").read_text()


if __name__ == "__main__":
    main()
