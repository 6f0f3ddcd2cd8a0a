"""What the core's tests are made of: a stream whose vectors say which cluster they belong to."""

from collections import Counter

import numpy as np

from driftgauge.core.assignment import Centroids, Metric
from driftgauge.core.batch import EventBatch
from driftgauge.core.pipeline import Pipeline, StreamSpec
from driftgauge.core.result import Window

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z

CLUSTERS = 4
NEVER_IDLE_MS = 10**15


def build_spec(name="images", **changes):
    """A stream of one-hot vectors: an event's vector is the centroid of its cluster."""
    fields = {
        "name": name,
        "baseline_id": "sha256:abc",
        "centroids": Centroids(np.eye(CLUSTERS, dtype=np.float32), Metric.EUCLIDEAN),
        "baseline_counts": np.array([40, 30, 20, 10], dtype=np.int64),
        "sizes_ms": (HOUR_MS,),
        "disorder_ms": 0,
        "lateness_ms": 10 * MINUTE_MS,
        "idle_ms": NEVER_IDLE_MS,
        "min_events": 1,
    }
    return StreamSpec(**{**fields, **changes})


def build_batch(events, stream="images"):
    """A batch of (partition, offset, time_ms, cluster)."""
    partition, offset, time_ms, cluster = np.array(events, dtype=np.int64).reshape(-1, 4).T
    return EventBatch(
        stream=stream,
        row=np.arange(len(events)),
        partition=partition.astype(np.int32),
        offset=offset,
        time_ms=time_ms,
        vectors=np.eye(CLUSTERS, dtype=np.float32)[cluster],
    )


def counts_of(events, window):
    """The window's histogram, counted one event at a time."""
    clusters = Counter(
        cluster for _, _, time_ms, cluster in events if window.start_ms <= time_ms < window.end_ms
    )
    return tuple(clusters[cluster] for cluster in range(CLUSTERS))


def windows_of(events, sizes_ms):
    """Every window that holds an event."""
    return {
        Window(size_ms, time_ms // size_ms * size_ms) for _, _, time_ms, _ in events for size_ms in sizes_ms
    }


class Run:
    """A pipeline with the bookkeeping of its source: where each partition has been read to."""

    def __init__(self, *specs, partitions=(0,), now_ms=MONDAY_MS, snapshots=None):
        self.pipeline = Pipeline(specs, partitions, now_ms, snapshots or {})
        self.now_ms = now_ms
        self.positions = dict.fromkeys(partitions, 0)

    def read(self, *events, stream="images", partition=0):
        """Read (time_ms, cluster) events from one partition; return what became of them."""
        first = self.positions[partition]
        self.positions[partition] += len(events)
        rows = [(partition, first + i, time_ms, cluster) for i, (time_ms, cluster) in enumerate(events)]
        return self.pipeline.count(build_batch(rows, stream), self.now_ms)

    def close(self, ends=None, *, after_ms=0):
        """Close after some wall time, told where the partitions end only if `ends` says so."""
        self.now_ms += after_ms
        return self.pipeline.close(self.now_ms, self.positions, ends or {})

    def ask(self, *, after_ms=0):
        """After some wall time, return the partitions whose ends the next closing needs."""
        self.now_ms += after_ms
        return self.pipeline.ask(self.now_ms)

    def fall_silent(self, after_ms):
        """Close after some wall time, told that every silent partition has been read to its end."""
        asked = self.ask(after_ms=after_ms)
        return self.close({partition: self.positions[partition] for partition in asked})


def summary(results):
    """(size, start, revision, counts) of each result."""
    return [(r.window.size_ms, r.window.start_ms, r.revision, tuple(r.counts.tolist())) for r in results]
