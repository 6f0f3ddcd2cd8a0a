"""Resident memory over ten million events at full speed: `python tests/bench/memory.py`.

Ten streams of 20 clusters with windows of a minute, an hour and a day, vectors of 128 floats as bytes, both
roles in one process. A publisher in this process stays ahead of the service; event time passes at a minute
every 10,000 events, so windows of all sizes close all the time.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.builders.clocks import MINUTE_MS, MONDAY_MS  # noqa: E402
from tests.harness.broker import Broker  # noqa: E402
from tests.harness.service import ReplicaProcess  # noqa: E402
from tests.output import say  # noqa: E402

from driftgauge.baseline.artifact import save  # noqa: E402
from driftgauge.baseline.fitting import fit_baseline  # noqa: E402

TOPIC = "memory"
STREAMS = [f"stream-{number}" for number in range(10)]
DIMENSION = 128
CLUSTERS = 20
PARTITIONS = 6
DISTINCT = 2_000
EVENTS_A_MINUTE = 10_000
REPORTS = 10
# The publisher waits beyond this lead, so that the broker's page cache stays small.
LEAD = 1_000_000
STALLED_S = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=10_000_000, help="default: 10,000,000")
    events = parser.parse_args().events
    with Broker() as broker, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = prepare(broker.bootstrap, folder)
        with ReplicaProcess(config, folder / "serve.log") as service:
            service.wait_until_ready()
            run(broker.bootstrap, service, events)
            service.stop()


def prepare(bootstrap: str, folder: Path) -> Path:
    """Fit the baselines, create the topics and write the configuration."""
    for stream in STREAMS:
        baseline = fit_baseline(
            vectors(), stream=stream, clusters=CLUSTERS, created_ms=0, progress=lambda _: None
        )
        save(baseline, folder / f"{stream}.safetensors")
    topics = [
        # The record's time is the event's, by which the default retention would delete.
        NewTopic(TOPIC, PARTITIONS, config={"retention.ms": "-1", "retention.bytes": str(2**28)}),
        NewTopic(f"{TOPIC}.windows", 1),
        NewTopic(f"{TOPIC}.dead-letters", 1),
    ]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics(topics).values():
        created.result(30)
    document = {
        "kafka": {"bootstrap.servers": bootstrap, "group.id": TOPIC},
        "topics": {
            "events": [TOPIC],
            "windows": f"{TOPIC}.windows",
            "dead_letters": f"{TOPIC}.dead-letters",
        },
        "inputs": {
            TOPIC: {
                "encoding": "bytes",
                "stream": {"header": "stream"},
                "timestamp": {"record": "timestamp"},
                "embedding": {"record": "value"},
            }
        },
        "streams": [
            {"name": stream, "baseline": f"{stream}.safetensors", "windows": ["1m", "1h", "1d"]}
            for stream in STREAMS
        ],
        "http": {"port": 0},
    }
    config = folder / "driftgauge.yaml"
    config.write_text(yaml.safe_dump(document))
    return config


def vectors() -> np.ndarray:
    """Return float32 vectors, of shape (DISTINCT, DIMENSION)."""
    random = np.random.default_rng(0)
    centres = random.standard_normal((CLUSTERS, DIMENSION), np.float32)
    return random.standard_normal((DISTINCT, DIMENSION), np.float32) + centres[np.arange(DISTINCT) % CLUSTERS]


def run(bootstrap: str, service: ReplicaProcess, events: int) -> None:
    """Publish all events, and print the service's memory after each tenth of them was counted."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 1_000_000})
    values = [vector.tobytes() for vector in vectors()]
    step, most_mib, began_s = events // REPORTS, 0.0, time.monotonic()
    sent = counted = reported = 0
    moved_s = began_s
    while counted < events:
        if sent < min(events, counted + LEAD):
            for number in range(sent, min(sent + EVENTS_A_MINUTE, events)):
                producer.produce(
                    TOPIC,
                    values[number % DISTINCT],
                    headers=[("stream", STREAMS[number % len(STREAMS)].encode())],
                    timestamp=MONDAY_MS + number // EVENTS_A_MINUTE * MINUTE_MS,
                    partition=number % PARTITIONS,
                )
            sent = min(sent + EVENTS_A_MINUTE, events)
            if producer.flush(60):
                sys.exit("the broker did not accept all events")
        else:
            time.sleep(0.2)
        scrape = service.scrape()
        before, counted = counted, sum(scrape.outcomes().values())
        memory_mib = (scrape.value("process_resident_memory_bytes") or 0.0) / 2**20
        most_mib = max(most_mib, memory_mib)
        if counted > before:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > STALLED_S:
            sys.exit(f"{counted:,} of {events:,} events were counted, and no more in {STALLED_S:g} s")
        if counted >= (reported + 1) * step:
            reported = counted // step
            rate = counted / (time.monotonic() - began_s)
            say(f"{counted:12,} events, {rate:8,.0f} a second: {memory_mib:4.0f} MiB, at most {most_mib:.0f}")


if __name__ == "__main__":
    main()
