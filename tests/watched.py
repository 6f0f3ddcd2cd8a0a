"""Builders of baselines, configurations and recorded events, for tests that read files."""

import gzip
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import yaml

from driftgauge.baseline.artifact import Baseline, BaselineMetadata, save
from driftgauge.config import Settings, load_settings
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.reference import SegmentReference
from driftgauge.core.statistics.overdispersion import Overdispersion

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z
CLUSTERS = 4


def build_segment_reference(value: str, counts: tuple[int, ...], key: str = "country") -> SegmentReference:
    """Return the baseline of one segment."""
    return SegmentReference(
        key=key,
        value=value,
        counts=np.array(counts, dtype=np.int64),
        mean=np.zeros(2),
        covariance=np.diag([0.2, 0.1]),
    )


SEGMENTS = (
    build_segment_reference("de", (25, 15, 10, 5)),
    build_segment_reference("other", (15, 15, 10, 5)),
)
"""By country: Germany, and all others."""


def build_baseline(
    stream: str = "images",
    *,
    model_version: str | None = None,
    metric: DistanceMetric = DistanceMetric.EUCLIDEAN,
    segments: tuple[SegmentReference, ...] = (),
    overdispersion: Overdispersion | None = None,
    created_ms: int = MONDAY_MS - DAY_MS,
    clusters: int = CLUSTERS,
) -> Baseline:
    """Return a baseline whose centroids are the unit vectors: an event's vector identifies its cluster."""
    counts = np.array([40, 30, 20, 10], dtype=np.int64)[:clusters]
    return Baseline(
        metadata=BaselineMetadata(
            stream=stream,
            model_version=model_version,
            dimension=CLUSTERS,
            clusters=clusters,
            metric=metric,
            fitted_count=100,
            reference_count=int(counts.sum()),
            window_ms=None if overdispersion is None else HOUR_MS,
            training_set=False,
            stability=None,
            seed=0,
            created_ms=created_ms,
            versions={"numpy": "2"},
        ),
        centroids=Centroids(np.eye(clusters, CLUSTERS, dtype=np.float32), metric),
        counts=counts,
        quantile_levels=np.array([0.5, 0.99]),
        distance_quantiles=np.tile(np.array([0.1, 0.2], dtype=np.float32), (clusters, 1)),
        mean=np.array([0.42, 0.34, 0.26, 0.18]),  # of the events below, in this mix
        components=np.eye(CLUSTERS, dtype=np.float32)[:2],
        variances=np.array([0.2, 0.1]),
        overdispersion=overdispersion,
        segments=segments,
    )


def write_config(folder: Path, *streams: dict[str, Any], **sections: Any) -> Path:
    """Write a configuration; a stream's fields override those of a valid one."""
    path = folder / "driftgauge.yaml"
    valid = {"name": "images", "windows": ["1h", "1d"], "min_events": 5}
    baseline = {"baseline": "images.safetensors"}
    tree = {
        "kafka": {"bootstrap.servers": "localhost:9092", "group.id": "driftgauge"},
        "streams": [
            {**valid, **({} if "baselines" in stream else baseline), **stream} for stream in streams or ({},)
        ],
        **sections,
    }
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def settings_in(folder: Path, *streams: dict[str, Any], **sections: Any) -> Settings:
    """Write a configuration and load it."""
    return load_settings(write_config(folder, *streams, **sections), {})


def save_baseline(
    folder: Path, stream: str = "images", *, file: str | None = None, **fields: Any
) -> Baseline:
    """Write a baseline of a stream, by default into a file with the stream's name."""
    baseline = build_baseline(stream, **fields)
    save(baseline, folder / (file or f"{stream}.safetensors"))
    return baseline


def event(time_ms: float, cluster: int, *, stream: str = "images", **fields: Any) -> bytes:
    """Return an event as a line of JSON, its vector near its cluster's centroid."""
    vector = [0.1] * CLUSTERS
    vector[cluster] = 0.9
    return orjson.dumps({"stream": stream, "timestamp": int(time_ms), "embedding": vector, **fields})


def write_events(path: Path, lines: Iterable[bytes]) -> Path:
    """Write lines of JSON, compressed where the name ends in .gz."""
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
