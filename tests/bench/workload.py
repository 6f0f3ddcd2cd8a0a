"""What the benchmarks on a broker share: vectors around centres, the baseline fitted on them, the topics."""

from pathlib import Path

import numpy as np
from confluent_kafka.admin import AdminClient, NewTopic
from numpy.typing import NDArray

from driftgauge.baseline.artifact import save
from driftgauge.baseline.fitting import fit_baseline

CLUSTERS = 20
DISTINCT = 2_000
PARTITIONS = 6


def draw_vectors(dimension: int) -> NDArray[np.float32]:
    """Return vectors, (DISTINCT, dimension)."""
    random = np.random.default_rng(dimension)
    # Without centres some clusters of many dimensions would stay empty.
    centres = random.standard_normal((CLUSTERS, dimension), np.float32)
    return random.standard_normal((DISTINCT, dimension), np.float32) + centres[np.arange(DISTINCT) % CLUSTERS]


def save_fitted(vectors: NDArray[np.float32], stream: str, path: Path) -> None:
    """Write the baseline of a stream."""
    save(fit_baseline(vectors, stream=stream, clusters=CLUSTERS, created_ms=0, progress=lambda _: None), path)


def create_topics(bootstrap: str, events: list[str], others: list[str]) -> None:
    """Create topics of events, and others with one partition."""
    # Record times are event times of last year, by which retention would delete the records.
    topics = [NewTopic(name, PARTITIONS, config={"retention.ms": "-1"}) for name in events]
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for created in admin.create_topics([*topics, *(NewTopic(name, 1) for name in others)]).values():
        created.result(60)
