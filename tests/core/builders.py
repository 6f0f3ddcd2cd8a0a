"""Builders for the core's tests: streams whose vectors identify their cluster."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.projection import Projection
from driftgauge.core.partition import Partition
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.windows.result import WindowResult
from driftgauge.core.windows.window import Window

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z

CLUSTERS = 4
NEVER_MS = 10**15  # a timeout that never expires

# The share of each cluster in a baseline's vectors, which are unit vectors.
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
COMPONENTS = 2


def build_reference(
    name: str = "first",
    *,
    shift: int = 0,
    count: int = 100,
    overdispersion: Overdispersion | None = None,
    segments: tuple[SegmentReference, ...] = (),
) -> Reference:
    """Return a baseline whose centroids are the unit vectors: unit vector i is of cluster i + `shift`."""
    return Reference(
        baseline_id="sha256:" + hashlib.sha256(name.encode()).hexdigest(),
        centroids=Centroids(
            np.roll(np.eye(CLUSTERS, dtype=np.float32), shift, axis=0), DistanceMetric.EUCLIDEAN
        ),
        counts=np.rint(SHARES * count).astype(np.int64),
        radii=np.full(CLUSTERS, 0.5, dtype=np.float32),
        projection=build_projection(shift),
        overdispersion=overdispersion,
        overdispersion_ms=None if overdispersion is None else HOUR_MS,
        segments=segments,
    )


def build_projection(shift: int = 0) -> Projection:
    """Return the mean and the leading components of the vectors behind such a baseline."""
    mean = np.roll(SHARES, -shift)
    variances, directions = np.linalg.eigh(np.diag(mean) - np.outer(mean, mean))
    leading = np.argsort(-variances)[:COMPONENTS]
    return Projection(mean, directions.T[leading].astype(np.float32), variances[leading])


def build_segment_reference(key: str, value: str, *counts: int) -> SegmentReference:
    """Return a segment with this number of unit vectors of each cluster."""
    projection = build_projection()
    along = projection.coordinates(np.eye(CLUSTERS, dtype=np.float32)) * projection.step
    mean = np.average(along, axis=0, weights=counts)
    covariance = np.cov(along, rowvar=False, fweights=counts)
    return SegmentReference(key, value, np.array(counts), mean, covariance)


FIRST = build_reference("first")
# This baseline assigns every event to another cluster than the first one does.
OTHER = build_reference("other", shift=1)
ALARM = Alarm(level=0.001, js_divergence=0.01, mean_shift=0.05)


def build_schedule(*later: tuple[int, Reference], first: Reference = FIRST) -> tuple[ScheduledBaseline, ...]:
    """Return a baseline schedule: the first baseline, then (from_ms, reference)."""
    return (
        ScheduledBaseline(first),
        *(ScheduledBaseline(reference, from_ms) for from_ms, reference in later),
    )


def build_spec(name: str = "images", *, reference: Reference = FIRST, **changes: Any) -> StreamSpec:
    """Return a stream with hourly windows and one baseline, never idle and never incomplete."""
    fields = {
        "name": name,
        "baselines": build_schedule(first=reference),
        "sizes_ms": (HOUR_MS,),
        "disorder_ms": 0,
        "lateness_ms": 10 * MINUTE_MS,
        "idle_ms": NEVER_MS,
        "incomplete_ms": NEVER_MS,
        "give_up_ms": NEVER_MS,
        "min_events": 1,
        "alarm": ALARM,
    }
    return StreamSpec(**{**fields, **changes})


def build_partitions(number: int) -> list[Partition]:
    """Return the partitions of a topic."""
    return [("embeddings", index) for index in range(number)]


def build_tally(*counts: int, reference: Reference = FIRST, outliers: int = 0) -> NDArray[np.int64]:
    """Return the tally of this number of unit vectors of each cluster, (k + 1 + r,) int64."""
    clusters = np.array(counts, dtype=np.int64)
    coordinates = reference.projection.coordinates(reference.centroids.values)
    return np.concatenate([clusters, [outliers], clusters @ coordinates])


def build_batch(
    events: Sequence[tuple[int, int, int, int]],
    stream: str = "images",
    *,
    baseline: str = FIRST.key,
    credible_ms: ArrayLike | None = None,
    event_ids: Sequence[str] = (),
    segments: Sequence[Any] = (),
) -> EventBatch:
    """Return a batch of (partition, offset, time_ms, cluster); event times are credible by default."""
    partition, offset, time_ms, cluster = np.array(events, dtype=np.int64).reshape(-1, 4).T
    return EventBatch(
        stream=stream,
        baseline=baseline,
        row=np.arange(len(events)),
        partition=partition.astype(np.int32),
        offset=offset,
        time_ms=time_ms,
        credible_ms=time_ms if credible_ms is None else np.asarray(credible_ms, dtype=np.int64),
        vectors=np.eye(CLUSTERS, dtype=np.float32)[cluster],
        event_ids=event_ids,
        segments=segments,
    )


def counts_of(events: Iterable[tuple[int, int, int, int]], window: Window) -> tuple[int, ...]:
    """Return the window's histogram, counted event by event."""
    clusters = Counter(
        cluster for _, _, time_ms, cluster in events if window.start_ms <= time_ms < window.end_ms
    )
    return tuple(clusters[cluster] for cluster in range(CLUSTERS))


def windows_of(events: Iterable[tuple[int, int, int, int]], sizes_ms: Sequence[int]) -> set[Window]:
    """Return every window that holds an event."""
    return {
        Window(size_ms, time_ms // size_ms * size_ms) for _, _, time_ms, _ in events for size_ms in sizes_ms
    }


def summary(results: Iterable[WindowResult]) -> list[tuple[int, int, int, tuple[int, ...]]]:
    """Return (size, start, revision, counts) of each result."""
    return [
        (each.window.size_ms, each.window.start_ms, each.revision, tuple(each.counts.tolist()))
        for each in results
    ]
