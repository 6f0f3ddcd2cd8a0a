"""What the page costs: `python tests/bench/page.py`, six minutes.

The topic of window results holds 60,000 windows: 100 streams, 3 sizes, 200 windows of each, 20 clusters.
First `driftgauge page` reads them all; measured are its memory, and the time of the overview and of a stream,
each rendered again, with a new result before it, and within seconds of another request. Then a service
reads a backlog of events, with and without requests for the overview in turn, whose answers are rendered
again every five seconds; each turn's rate and processor time an event are compared.
"""

import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench.memory import CLUSTERS, DISTINCT, vectors  # noqa: E402
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS  # noqa: E402
from tests.builders.page import record_tree  # noqa: E402
from tests.harness.broker import Broker  # noqa: E402
from tests.harness.service import ReplicaProcess  # noqa: E402
from tests.output import say  # noqa: E402

from driftgauge.baseline.artifact import save  # noqa: E402
from driftgauge.baseline.fitting import fit_baseline  # noqa: E402

STREAMS = [f"stream-{number:03}" for number in range(100)]
SIZES = (5 * MINUTE_MS, HOUR_MS, DAY_MS)
WINDOWS = 200
REQUESTS = 200
PAUSE_S = 0.05
# Browsers ask for this, and the page is made to be sent compressed.
HEADERS = {"Accept-Encoding": "gzip"}
EVENTS, RESULTS = "page.events", "page.windows"
BACKLOG = 18_000_000
PARTITIONS = 6
TURNS, TURN_S, REQUESTS_A_SECOND = 16, 3.0, 5


def main() -> None:
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
            measure_answers(broker.bootstrap, page)
            say(f"memory: {resident_mib(page):.0f} MiB at the end")
        publish_events(broker.bootstrap)
        with ReplicaProcess(config, folder / "serve.log") as service:
            measure_counting(service)


def prepare(bootstrap: str, folder: Path) -> Path:
    """Create the topics, fit the baseline and write the configuration."""
    topics = [
        NewTopic(EVENTS, PARTITIONS, config={"retention.ms": "-1"}),
        NewTopic(RESULTS, 1),
        NewTopic("page.dead-letters", 1),
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics(topics).values():
        created.result(30)
    baseline = fit_baseline(
        vectors(), stream=STREAMS[0], clusters=CLUSTERS, created_ms=0, progress=lambda _: None
    )
    save(baseline, folder / "baseline.safetensors")
    document = {
        "kafka": {"bootstrap.servers": bootstrap, "group.id": "page"},
        "topics": {"events": [EVENTS], "windows": RESULTS, "dead_letters": "page.dead-letters"},
        "inputs": {
            EVENTS: {
                "encoding": "bytes",
                "stream": {"constant": STREAMS[0]},
                "timestamp": {"record": "timestamp"},
                "embedding": {"record": "value"},
            }
        },
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


def publish_events(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "compression.type": "lz4"})
    values = [vector.tobytes() for vector in vectors()]
    for number in range(BACKLOG):
        producer.produce(
            EVENTS,
            values[number % DISTINCT],
            timestamp=MONDAY_MS + number,
            partition=number % PARTITIONS,
        )
        if number % 50_000 == 0 and producer.flush(60):
            sys.exit("the broker did not accept all events")
    producer.flush(60)


def measure_answers(bootstrap: str, page: ReplicaProcess) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    for path in ("/?", f"/?stream={STREAMS[7]}&window=1h"):
        for is_new in (True, False):
            times_ms, size = [], 0
            used_s = processor_s(page)
            for number in range(REQUESTS):
                producer.produce(RESULTS, result(STREAMS[number % 100], HOUR_MS, WINDOWS - 1))
                producer.flush(60)
                time.sleep(PAUSE_S)
                began_s = time.perf_counter()
                # Each address has an answer of its own.
                size = len(fetch(page.port, f"{path}&n={number}" if is_new else path))
                times_ms.append(1_000 * (time.perf_counter() - began_s))
            used_ms = 1_000 * (processor_s(page) - used_s) / REQUESTS
            say(
                f"{path}, {'rendered again' if is_new else 'as asked often'}: median "
                f"{statistics.median(times_ms):.1f} ms, 95th percentile "
                f"{np.quantile(times_ms, 0.95):.1f} ms, "
                f"{used_ms:.1f} ms of processor a request, {size / 1024:.0f} KiB"
            )


def measure_counting(service: ReplicaProcess) -> None:
    service.wait_until_ready()
    service.wait_for("the page to show all streams", lambda: b"stream-099" in fetch(service.port, "/", {}))
    figures: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    at_commit(service)
    for turn in range(2 * TURNS):
        # Quiet and asked, then asked and quiet, so that a trend favours neither.
        is_asked = turn % 4 in (1, 2)
        with asking(service.port) if is_asked else nobody_asking():
            began_s, counted, used_s = at_commit(service)
            time.sleep(TURN_S)
            ended_s, events, total_s = at_commit(service)
        rate = (events - counted) / (ended_s - began_s)
        used_us = 1e6 * (total_s - used_s) / (events - counted)
        figures[is_asked].append((rate, used_us))
        say(f"{'asked' if is_asked else 'quiet'}: {rate:8,.0f} events/s, {used_us:.2f} us")
    for name, index in (("events a second", 0), ("processor an event", 1)):
        ratios = [
            asked[index] / quiet[index] for quiet, asked in zip(figures[False], figures[True], strict=True)
        ]
        mean, error = statistics.mean(ratios) - 1, statistics.stdev(ratios) / TURNS**0.5
        say(f"{name} under {REQUESTS_A_SECOND} requests/s: {mean:+.1%}, standard error {error:.1%}")


def at_commit(service: ReplicaProcess) -> tuple[float, int, float]:
    """Return the time, the count and the processor time at the next commit, when the counters advance."""
    before = service.counted()
    service.wait_for(
        "the next commit; publish more events if there is none", lambda: service.counted() > before
    )
    return time.monotonic(), service.counted(), processor_s(service)


@contextmanager
def nobody_asking() -> Iterator[None]:
    yield


@contextmanager
def asking(port: int) -> Iterator[None]:
    """Ask for the overview several times a second meanwhile."""
    done = threading.Event()

    def ask() -> None:
        while not done.wait(1 / REQUESTS_A_SECOND):
            fetch(port, "/")

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def fetch(port: int, path: str, headers: dict[str, str] = HEADERS) -> bytes:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers)
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
