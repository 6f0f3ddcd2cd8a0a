"""What the core's tests are made of: a stream whose vectors say which cluster they belong to."""

import hashlib
from collections import Counter
from dataclasses import fields, is_dataclass

import numpy as np

from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.projection import Projection
from driftgauge.core.reference import Reference, SegmentReference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec
from driftgauge.core.windows.result import Verdict, VerdictMemory, WindowResult
from driftgauge.core.windows.window import Window

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z

CLUSTERS = 4
NEVER_MS = 10**15  # of a timeout that is not to strike


# The share of each cluster in a baseline's vectors, which are unit vectors.
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
COMPONENTS = 2


def build_reference(name="first", *, shift=0, count=100, overdispersion=None, segments=()):
    """A baseline whose centroids are the unit vectors: unit vector i is of cluster i + `shift`."""
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


def build_projection(shift=0):
    """The mean and the leading components of the vectors behind such a baseline."""
    mean = np.roll(SHARES, -shift)
    variances, directions = np.linalg.eigh(np.diag(mean) - np.outer(mean, mean))
    leading = np.argsort(-variances)[:COMPONENTS]
    return Projection(mean, directions.T[leading].astype(np.float32), variances[leading])


def build_segment_reference(key, value, *counts):
    """A segment of so many unit vectors of each cluster."""
    projection = build_projection()
    along = projection.coordinates(np.eye(CLUSTERS, dtype=np.float32)) * projection.step
    mean = np.average(along, axis=0, weights=counts)
    covariance = np.cov(along, rowvar=False, fweights=counts)
    return SegmentReference(key, value, np.array(counts), mean, covariance)


FIRST = build_reference("first")
# Under this baseline every event is of another cluster than under the first one.
OTHER = build_reference("other", shift=1)
ALARM = Alarm(level=0.001, js_divergence=0.01, mean_shift=0.05)


def build_schedule(*later, first=FIRST):
    """A baseline schedule: the first baseline, then (from_ms, reference)."""
    return (
        ScheduledBaseline(first),
        *(ScheduledBaseline(reference, from_ms) for from_ms, reference in later),
    )


def build_spec(name="images", *, reference=FIRST, **changes):
    """A stream by the hour with one baseline, never idle and never published incomplete."""
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


def build_partitions(number):
    """The partitions of a topic."""
    return [("embeddings", index) for index in range(number)]


def build_tally(*counts, reference=FIRST, outliers=0):
    """The values of a tally of so many unit vectors of each cluster, (k + 1 + r,) int64."""
    its = np.array(counts, dtype=np.int64)
    coordinates = reference.projection.coordinates(reference.centroids.values)
    return np.concatenate([its, [outliers], its @ coordinates])


def build_batch(events, stream="images", *, baseline=FIRST.key, credible_ms=None, event_ids=(), segments=()):
    """A batch of (partition, offset, time_ms, cluster); event times are credible unless told otherwise."""
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


def build_result(window, revision=0, **changes):
    """A result without a score."""
    values = {
        "stream": "images",
        "window": window,
        "revision": revision,
        "counts": np.array([1, 2, 0, 0]),
        "baseline_counts": FIRST.counts,
        "baseline_id": FIRST.baseline_id,
        "missing": (),
        "events_lost": False,
        "published_ms": 0,
        "score": None,
        "verdict": Verdict.INSUFFICIENT,
        "superseded": None,
        "slow_drift": None,
        "slow_drift_limit": 4.0,
        "segments": (),
        "examples": {},
        "memory": VerdictMemory(),
    }
    return WindowResult(**{**values, **changes})


def plain(value):
    """A result, or a part of one, as plain values to be compared bit by bit."""
    if is_dataclass(value):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    return value


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


def summary(results):
    """(size, start, revision, counts) of each result."""
    return [(r.window.size_ms, r.window.start_ms, r.revision, tuple(r.counts.tolist())) for r in results]
