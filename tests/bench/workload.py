"""What benchmarks share: vectors and their baseline, topics, configuration, publishing, use of a machine."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from tests.bench.embeddings import Vectors
from tests.builders.baselines import fit

from driftgauge.baseline.artifact import Baseline, save

CLUSTERS = 20
DISTINCT = 2_000
PARTITIONS = 6


def draw_vectors(dimension: int, clusters: int = CLUSTERS, number: int = DISTINCT) -> Vectors:
    """Return vectors around centres, (number, dimension)."""
    random = np.random.default_rng(dimension)
    # Without centres some clusters of many dimensions would stay empty.
    centres = random.standard_normal((clusters, dimension), np.float32)
    return random.standard_normal((number, dimension), np.float32) + centres[np.arange(number) % clusters]


def save_fitted(vectors: Vectors, stream: str, path: Path, clusters: int = CLUSTERS) -> Baseline:
    """Fit the baseline of a stream, and write it."""
    baseline = fit(vectors, stream=stream, clusters=clusters)
    save(baseline, path)
    return baseline


def create_topics(bootstrap: str, topics: Mapping[str, int]) -> None:
    """Create topics with these numbers of partitions, if they are not there."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    known = admin.list_topics(timeout=60).topics
    # Record times may be event times of last year, by which retention would delete the records.
    kept = {"retention.ms": "-1"}
    new = [NewTopic(name, number, config=kept) for name, number in topics.items() if name not in known]
    for created in admin.create_topics(new).values() if new else ():
        created.result(60)


def write_config(
    folder: Path,
    bootstrap: str,
    name: str,
    events: str,
    stream: Mapping[str, Any],
    partitions: int = PARTITIONS,
    **settings: object,
) -> Path:
    """Create the topics of a deployment, and write its configuration.

    Args:
        folder: Where the configuration is written, and where baselines are.
        bootstrap: The broker's address.
        name: The name of the deployment, with which the topics of its results begin.
        events: The topic of events.
        stream: The settings of its stream, or of those of a pattern.
        partitions: The number of partitions of the topic of events.
        settings: Further settings.
    """
    windows, dead_letters = f"{name}.windows", f"{name}.dead-letters"
    create_topics(bootstrap, {events: partitions, windows: 1, dead_letters: 1})
    document = {
        "kafka": {"bootstrap.servers": bootstrap, "group.id": name},
        "topics": {"events": [events], "windows": windows, "dead_letters": dead_letters},
        "streams": [dict(stream)],
        "http": {"port": 0},
        **settings,
    }
    config = folder / f"{name}.yaml"
    config.write_text(yaml.safe_dump(document))
    return config


class Publisher:
    """Publishes to a topic; it waits if the client's queue is full."""

    def __init__(self, bootstrap: str, topic: str, linger_ms: int = 20) -> None:
        self._topic = topic
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": linger_ms})

    def send(self, value: bytes, **where: Any) -> None:
        """Publish a record; see the options of `Producer.produce`."""
        while True:
            try:
                self._producer.produce(self._topic, value, **where)
            except BufferError:
                self._producer.poll(1)
            else:
                self._producer.poll(0)
                return

    def flush(self) -> None:
        """Wait until the broker has accepted all records; exit with a message if it does not."""
        if self._producer.flush(120):
            sys.exit(f"the broker did not accept all records of {self._topic}")


def processor_s(pid: int | str = "self") -> float:
    """Return the processor time of a process, in seconds, its clients and all its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int | str = "self") -> float:
    """Return the memory that a process holds now."""
    pages = Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 2**20
