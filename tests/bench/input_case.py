"""The cases of the benchmark of inputs: a topic of events and a baseline for each encoding and dimension."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from confluent_kafka.schema_registry import SchemaRegistryClient
from tests.bench.embeddings import Vectors
from tests.bench.input_framed import FRAMED
from tests.bench.input_values import ENCODINGS, STREAM
from tests.bench.workload import (
    DISTINCT,
    PARTITIONS,
    Publisher,
    create_topics,
    draw_vectors,
    save_fitted,
    write_config,
)
from tests.builders.clocks import DAY_MS, MONDAY_MS
from tests.output import say


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
        return f"{self.encoding}, {self.dimension}"

    @property
    def baseline(self) -> Path:
        return self.folder / f"{self.dimension}.safetensors"

    @property
    def matrices(self) -> Path:
        """The arrays of the baseline, for the engine that does not read baselines."""
        return self.folder / f"{self.dimension}.npz"

    def config(self, bootstrap: str, group: str) -> Path:
        """Write the configuration for one run of the service; return its file."""
        settings = (FRAMED if self.is_framed else ENCODINGS)[self.encoding].settings
        further: dict[str, object] = {"allowed_age": "10000d"}
        if settings is not None:
            further["inputs"] = {self.topic: settings}
        if self.is_framed:
            further["schema_registry"] = {"url": self.registry}
        stream = {"name": STREAM, "baseline": self.baseline.name, "windows": ["1h", "1d"]}
        stream["allowed_disorder"] = "1h"
        return write_config(self.folder, bootstrap, group, self.topic, stream, **further)


def prepare(bootstrap: str, cases: list[Case]) -> None:
    """Fit the baselines, and fill a topic for each case with events of two days."""
    create_topics(bootstrap, {case.topic: PARTITIONS for case in cases})
    for case in cases:
        vectors = draw_vectors(case.dimension)
        if not case.baseline.exists():
            _fit(case, vectors)
        _publish(bootstrap, case, vectors)


def _fit(case: Case, vectors: Vectors) -> None:
    baseline = save_fitted(vectors, STREAM, case.baseline)
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


def _publish(bootstrap: str, case: Case, vectors: Vectors) -> None:
    publisher = Publisher(bootstrap, case.topic)
    if case.is_framed:
        write = FRAMED[case.encoding].make_write(SchemaRegistryClient({"url": case.registry}), case.topic)
    else:
        write = ENCODINGS[case.encoding].write
    size = 0
    for number in range(case.events):
        time_ms = MONDAY_MS + number * 2 * DAY_MS // case.events
        value = write(vectors[number % DISTINCT], time_ms)
        size += len(value)
        publisher.send(value, key=STREAM, timestamp=time_ms, partition=number % PARTITIONS)
    publisher.flush()
    say(f"{case.title}, bytes of a value: {size / case.events:,.0f}")
