"""The cases of the benchmark of inputs: a topic of events and a baseline for each encoding and dimension."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from confluent_kafka import Producer
from confluent_kafka.schema_registry import SchemaRegistryClient
from tests.bench.input_framed import FRAMED
from tests.bench.input_values import ENCODINGS, STREAM
from tests.bench.workload import CLUSTERS, DISTINCT, PARTITIONS, create_topics, draw_vectors, save_fitted
from tests.output import say

from driftgauge.baseline.artifact import load

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
        before: A checkout of an earlier commit to compare with.
    """

    encoding: str
    dimension: int
    events: int
    folder: Path
    registry: str | None = None
    before: Path | None = None

    @property
    def is_framed(self) -> bool:
        return self.encoding in FRAMED

    @property
    def topic(self) -> str:
        return f"bench-{self.encoding}-{self.dimension}"

    @property
    def title(self) -> str:
        return f"{self.encoding}, {self.dimension}"

    @property
    def matrices(self) -> Path:
        """The arrays of the baseline, for the engines that do not read baselines."""
        return self.folder / f"{self.dimension}.npz"

    def baseline(self, *, is_before: bool = False) -> Path:
        """Return the file of the baseline, as this or the earlier commit fits it."""
        return self.folder / f"{self.dimension}{'-before' * is_before}.safetensors"

    def config(self, bootstrap: str, group: str, *, is_before: bool = False) -> Path:
        """Write the configuration for one run of the service, now or before; return its file."""
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
                    "baseline": str(self.baseline(is_before=is_before)),
                    "windows": ["1h", "1d"],
                    "allowed_disorder": "1h",
                }
            ],
            "http": {"port": 0},
            **({} if is_before else {"allowed_age": "10000d"}),
        }
        settings = (FRAMED if self.is_framed else ENCODINGS)[self.encoding].settings
        if settings is not None:
            document["inputs"] = {self.topic: settings}
        if self.is_framed:
            document["schema_registry"] = {"url": self.registry}
        path = self.folder / f"{group}.yaml"
        path.write_text(yaml.safe_dump(document))
        return path


def environment_before(checkout: Path) -> dict[str, str]:
    """Return the variables with which Python finds the service of another checkout first."""
    return {"PYTHONPATH": str(checkout.resolve() / "service")}


def prepare(bootstrap: str, cases: list[Case]) -> None:
    """Fit the baselines, and fill a topic for each case with events of two days."""
    create_topics(bootstrap, [case.topic for case in cases], [])
    vectors: dict[int, np.ndarray] = {}
    for case in cases:
        if case.dimension not in vectors:
            vectors[case.dimension] = draw_vectors(case.dimension)
            _fit(case, vectors[case.dimension])
        _publish(bootstrap, case, vectors[case.dimension])


def _fit(case: Case, vectors: np.ndarray) -> None:
    save_fitted(vectors, STREAM, case.baseline())
    baseline = load(case.baseline())
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
        path = case.folder / f"{case.dimension}.npy"
        np.save(path, vectors)
        command = [sys.executable, "-m", "driftgauge", "baseline", "fit", str(path), "--stream", STREAM]
        options = ["--clusters", str(CLUSTERS), "--out", str(case.baseline(is_before=True))]
        environment = {**os.environ, **environment_before(case.before)}
        subprocess.run([*command, *options], check=True, capture_output=True, env=environment)


def _publish(bootstrap: str, case: Case, vectors: np.ndarray) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20, "batch.size": 1_000_000})
    if case.is_framed:
        write = FRAMED[case.encoding].make_write(SchemaRegistryClient({"url": case.registry}), case.topic)
    else:
        write = ENCODINGS[case.encoding].write
    size = 0
    for number in range(case.events):
        time_ms = START_MS + number * 2 * DAY_MS // case.events
        value = write(vectors[number % DISTINCT], time_ms)
        size += len(value)
        while True:
            try:
                producer.produce(
                    case.topic, value, key=STREAM, timestamp=time_ms, partition=number % PARTITIONS
                )
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        sys.exit(f"the broker did not accept all events of {case.topic}")
    say(f"{case.title}, bytes of a value: {size / case.events:,.0f}")
