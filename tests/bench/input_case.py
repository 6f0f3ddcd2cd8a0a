"""The cases of the throughput benchmark: a topic of events and a baseline for each encoding and dimension."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from confluent_kafka.schema_registry import SchemaRegistryClient
from tests.bench.input_framed import FRAMED
from tests.bench.input_values import ENCODINGS, STREAM

from driftgauge.baseline.artifact import load, save
from driftgauge.baseline.fitting import fit_baseline

PARTITIONS = 6
CLUSTERS = 20
DISTINCT = 2_000
START_MS = 1_762_128_000_000
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Case:
    """An encoding and a dimension, with their topic.

    Attributes:
        encoding: A key of `ENCODINGS` or `FRAMED`.
        dimension: The length of a vector.
        events: The number of events in the topic.
        folder: Where the baseline and the configuration are.
        registry: The URL of the schema registry, for an encoding of `FRAMED`.
    """

    encoding: str
    dimension: int
    events: int
    folder: Path
    registry: str | None = None

    @property
    def is_framed(self) -> bool:
        return self.encoding in FRAMED

    @property
    def topic(self) -> str:
        return f"bench-{self.encoding}-{self.dimension}"

    @property
    def title(self) -> str:
        return f"{self.encoding}, {self.dimension} floats"

    @property
    def baseline(self) -> Path:
        return self.folder / f"{self.dimension}.safetensors"

    @property
    def matrices(self) -> Path:
        """The centroids and components, for the engines that do not read baselines."""
        return self.folder / f"{self.dimension}.npz"

    def config(self, bootstrap: str, group: str) -> Path:
        """Write the service's configuration for one run, and return its file."""
        settings = (FRAMED if self.is_framed else ENCODINGS)[self.encoding].settings
        document = {
            "schema_registry": {"url": self.registry} if self.is_framed else {},
            "kafka": {"bootstrap.servers": bootstrap, "group.id": group},
            "topics": {
                "events": [self.topic],
                "windows": f"{group}.windows",
                "dead_letters": f"{group}.dead-letters",
            },
            "inputs": {} if settings is None else {self.topic: settings},
            "streams": [
                {
                    "name": STREAM,
                    "baseline": str(self.baseline),
                    "windows": ["1h", "1d"],
                    "allowed_disorder": "1h",
                }
            ],
            "http": {"port": 0},
        }
        path = self.folder / f"{group}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path


def prepare(bootstrap: str, cases: list[Case]) -> None:
    """Fit the baselines, and fill a topic for each case with events of two days."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    # Record times are event times of last year, by which retention would delete the records.
    topics = [NewTopic(case.topic, PARTITIONS, config={"retention.ms": "-1"}) for case in cases]
    for created in admin.create_topics(topics).values():
        created.result(30)
    vectors: dict[int, np.ndarray] = {}
    for case in cases:
        if case.dimension not in vectors:
            vectors[case.dimension] = _draw(case)
        _publish(bootstrap, case, vectors[case.dimension])


def _draw(case: Case) -> np.ndarray:
    random = np.random.default_rng(case.dimension)
    # Without centres some clusters of many dimensions would stay empty.
    centres = random.standard_normal((CLUSTERS, case.dimension), np.float32)
    vectors = random.standard_normal((DISTINCT, case.dimension), np.float32)
    vectors += centres[np.arange(DISTINCT) % CLUSTERS]
    baseline = fit_baseline(
        vectors, stream=STREAM, model_version=None, clusters=CLUSTERS, created_ms=0, progress=lambda _: None
    )
    save(baseline, case.baseline)
    baseline = load(case.baseline)
    np.savez(case.matrices, centroids=baseline.centroids.values, components=baseline.components)
    return vectors


def _publish(bootstrap: str, case: Case, vectors: np.ndarray) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 1_000_000})
    if case.is_framed:
        write = FRAMED[case.encoding].make_write(SchemaRegistryClient({"url": case.registry}), case.topic)
    else:
        write = ENCODINGS[case.encoding].write
    for number in range(case.events):
        time_ms = START_MS + number * 2 * DAY_MS // case.events
        value = write(vectors[number % DISTINCT], time_ms)
        while True:
            try:
                producer.produce(
                    case.topic, value, key=STREAM, timestamp=time_ms, partition=number % PARTITIONS
                )
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        message = f"the broker did not accept all events of {case.topic}"
        raise TimeoutError(message)
