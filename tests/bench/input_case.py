"""The cases of the throughput benchmark: a topic of events and a baseline for each encoding and dimension."""

import subprocess
import sys
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
        before: A checkout of an earlier version to compare with.
    """

    encoding: str
    dimension: int
    events: int
    folder: Path
    registry: str | None = None
    before: Path | None = None

    @property
    def is_own(self) -> bool:
        """Whether events are in the service's own contract, which all versions read."""
        return not self.is_framed and ENCODINGS[self.encoding].settings is None

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
        """The arrays of the baseline, for the engines that do not read baselines."""
        return self.folder / f"{self.dimension}.npz"

    @property
    def earlier_baseline(self) -> Path:
        """The baseline as the earlier version fits it."""
        return self.folder / f"{self.dimension}-before.safetensors"

    def config(self, bootstrap: str, group: str, *, is_before: bool = False) -> Path:
        """Write the configuration for one run of the service, or of its earlier version; return its file."""
        document = {
            "kafka": {"bootstrap.servers": bootstrap, "group.id": group},
            "topics": {
                "events": [self.topic],
                "windows": f"{group}.windows",
                "dead_letters": f"{group}.dead-letters",
            },
            "streams": [
                {
                    "name": STREAM,
                    "baseline": str(self.earlier_baseline if is_before else self.baseline),
                    "windows": ["1h", "1d"],
                    "allowed_disorder": "1h",
                }
            ],
            "http": {"port": 0},
        }
        if not self.is_own:
            settings = (FRAMED if self.is_framed else ENCODINGS)[self.encoding].settings
            document["inputs"] = {self.topic: settings}
        if self.is_framed:
            document["schema_registry"] = {"url": self.registry}
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
    centroids = baseline.centroids.values
    matrices = {
        "centroids": centroids,
        "half_norms": np.square(centroids).sum(axis=1) / 2,
        "squared_radii": np.square(baseline.radii),
        "mean": baseline.mean,
        "components": baseline.components,
        "variances": baseline.variances,
    }
    np.savez(case.matrices, **{name: each.astype(np.float32) for name, each in matrices.items()})
    if case.before is not None:
        _fit_before(case, vectors)
    return vectors


def _fit_before(case: Case, vectors: np.ndarray) -> None:
    path = case.folder / f"{case.dimension}.npy"
    np.save(path, vectors)
    program = [sys.executable, str(Path(__file__).with_name("input_before.py")), str(case.before)]
    options = ["--stream", STREAM, "--clusters", str(CLUSTERS), "--out", str(case.earlier_baseline)]
    subprocess.run([*program, "baseline", "fit", str(path), *options], check=True, capture_output=True)


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
