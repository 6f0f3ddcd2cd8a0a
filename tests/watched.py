"""A fitted baseline, its configuration and recorded events, for the tests that stand on files."""

import gzip
from pathlib import Path

import numpy as np
import orjson
import yaml

from driftgauge.baseline.artifact import Baseline, BaselineMetadata, save
from driftgauge.config import load_settings
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.reference import SegmentReference

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z
CLUSTERS = 4


def build_segment(value, counts, key="country"):
    """What the events of one segment are compared with."""
    return SegmentReference(
        key=key,
        value=value,
        counts=np.array(counts, dtype=np.int64),
        mean=np.zeros(2),
        covariance=np.diag([0.2, 0.1]),
    )


SEGMENTS = (build_segment("de", (25, 15, 10, 5)), build_segment("other", (15, 15, 10, 5)))
"""By country: Germany, and the others."""


def build_baseline(
    stream="images",
    *,
    model_version=None,
    metric=DistanceMetric.EUCLIDEAN,
    segments=(),
    overdispersion=None,
    created_ms=MONDAY_MS - DAY_MS,
    clusters=CLUSTERS,
):
    """A baseline whose centroids are the unit vectors: an event's vector says its cluster."""
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


def write_config(folder, *streams, **sections):
    """Write a configuration; a stream's fields lie over those of one that is sound."""
    path = folder / "driftgauge.yaml"
    sound = {"name": "images", "windows": ["1h", "1d"], "min_events": 5}
    baseline = {"baseline": "images.safetensors"}
    tree = {
        "kafka": {"bootstrap.servers": "localhost:9092", "group.id": "driftgauge"},
        "streams": [
            {**sound, **({} if "baselines" in stream else baseline), **stream} for stream in streams or ({},)
        ],
        **sections,
    }
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def settings_in(folder, *streams, **sections):
    return load_settings(write_config(folder, *streams, **sections), {})


def save_baseline(folder, stream="images", *, file=None, **fields):
    """Write a baseline of a stream, into a file of the stream's name unless told otherwise."""
    baseline = build_baseline(stream, **fields)
    save(baseline, folder / (file or f"{stream}.safetensors"))
    return baseline


def event(time_ms, cluster, *, stream="images", **fields):
    """One event as a line of JSON, its vector near its cluster's centroid."""
    vector = [0.1] * CLUSTERS
    vector[cluster] = 0.9
    return orjson.dumps({"stream": stream, "timestamp": int(time_ms), "embedding": vector, **fields})


def write_events(path: Path, lines):
    content = b"".join(line + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path
