"""What the telemetry's tests are made of: one stream of four clusters, watched by the hour and the day."""

import numpy as np

from driftgauge.core.assignment import Centroids, Metric
from driftgauge.core.pipeline import StreamSpec
from driftgauge.core.result import Window, WindowResult, score
from driftgauge.telemetry.metrics import Telemetry, WatchedStream

HOUR_MS = 3_600_000
DAY_MS = 86_400_000
BASELINE_COUNTS = np.array([40, 30, 20, 10], dtype=np.int64)


def build_spec(name="images"):
    return StreamSpec(
        name=name,
        baseline_id="sha256:abc",
        centroids=Centroids(np.eye(4, dtype=np.float32), Metric.EUCLIDEAN),
        baseline_counts=BASELINE_COUNTS,
        sizes_ms=(HOUR_MS, DAY_MS),
        disorder_ms=30_000,
        lateness_ms=600_000,
        idle_ms=60_000,
        min_events=20,
    )


def build_telemetry(*names):
    streams = [WatchedStream(build_spec(name), "v7", 1_700_000_000_500) for name in names or ("images",)]
    return Telemetry("0.1.0", streams, ["embeddings"])


def build_result(counts=(10, 20, 30, 40), *, stream="images", size_ms=HOUR_MS, number=1, revision=0):
    """A window's result; it is scored if it has 20 events. `number` counts windows since the epoch."""
    counts = np.array(counts, dtype=np.int64)
    return WindowResult(
        stream=stream,
        window=Window(size_ms, number * size_ms),
        revision=revision,
        counts=counts,
        baseline_counts=BASELINE_COUNTS,
        baseline_id="sha256:abc",
        score=score(counts, BASELINE_COUNTS) if counts.sum() >= 20 else None,
    )


def busy_telemetry():
    """A telemetry on which every observer method has been called, so that no family is empty."""
    telemetry = build_telemetry()
    telemetry.assigned([("embeddings", 0), ("embeddings", 1)])
    telemetry.accepted("images", 100)
    telemetry.closed([build_result(), build_result(size_ms=DAY_MS)], closed_ms=DAY_MS * 2)
    telemetry.advanced({"images": DAY_MS * 2}, {("images", HOUR_MS): 1})
    telemetry.read_to("embeddings", 0, position=90, end=100)
    telemetry.polled(DAY_MS * 2)
    telemetry.committed()
    return telemetry


def families(telemetry):
    return {family.name: family for family in telemetry.registry.collect()}
