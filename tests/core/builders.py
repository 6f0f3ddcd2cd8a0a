"""What the core's tests are made of: a stream whose vectors say which cluster they belong to."""

import hashlib
from collections import Counter

import numpy as np

from driftgauge.core.assignment import Centroids, Metric
from driftgauge.core.batch import EventBatch
from driftgauge.core.pipeline import Pipeline
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.table import Table
from driftgauge.core.window import Window

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z

CLUSTERS = 4
NEVER_MS = 10**15  # of a timeout that is not to strike


def build_reference(name="first", *, shift=0):
    """A baseline whose centroids are the unit vectors: unit vector i is of cluster i + `shift`."""
    content = f"the file of baseline {name}".encode()
    return Reference(
        baseline_id="sha256:" + hashlib.sha256(content).hexdigest(),
        centroids=Centroids(np.roll(np.eye(CLUSTERS, dtype=np.float32), shift, axis=0), Metric.EUCLIDEAN),
        counts=np.array([40, 30, 20, 10], dtype=np.int64),
        content=content,
    )


FIRST = build_reference("first")
# Under this baseline every event is of another cluster than under the first one.
OTHER = build_reference("other", shift=1)


def build_spec(name="images", **changes):
    """A stream by the hour, never idle and never published incomplete."""
    fields = {
        "name": name,
        "reference": FIRST,
        "sizes_ms": (HOUR_MS,),
        "disorder_ms": 0,
        "lateness_ms": 10 * MINUTE_MS,
        "idle_ms": NEVER_MS,
        "incomplete_ms": NEVER_MS,
        "min_events": 1,
    }
    return StreamSpec(**{**fields, **changes})


def build_partitions(number):
    """The partitions of a topic."""
    return [("embeddings", index) for index in range(number)]


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
    """One replica that holds every partition, with the bookkeeping of its source; each round is committed."""

    def __init__(self, *specs, partition_count=1, now_ms=MONDAY_MS):
        self.specs = specs
        self.now_ms = now_ms
        self.partitions = build_partitions(partition_count)
        self.table = Table()
        self.table.expect(self.partitions)
        self.positions = dict.fromkeys(range(partition_count), 0)
        self.changes = []
        self.begin()

    def begin(self, *specs):
        """Make the pipeline anew from the table, as after a restart, with these specs if any."""
        self.specs = specs or self.specs
        self.pipeline = Pipeline(
            self.specs,
            held=dict(enumerate(self.partitions)),
            every=self.partitions,
            table=self.table,
            find_reference=lambda spec, key: {spec.reference.key: spec.reference, FIRST.key: FIRST}.get(key),
            established=set(),
            now_ms=self.now_ms,
        )

    def read(self, *events, stream="images", partition=0):
        """Read (time_ms, cluster) events from one partition; return what became of them."""
        first = self.positions[partition]
        self.positions[partition] += len(events)
        rows = [(partition, first + i, time_ms, cluster) for i, (time_ms, cluster) in enumerate(events)]
        return self.pipeline.count(build_batch(rows, stream), self.now_ms)

    def advance(self, ends=None, *, ended=False):
        """One round, told where partitions end only if `ends` says so; return its results."""
        moved = self.pipeline.advance(self.now_ms, self.positions, ends or {}, ended=ended)
        for change in moved.changes:
            self.table.apply(change)
        self.changes = moved.changes
        return moved.results

    def close(self, *, after_ms=0, ended=False):
        """After some wall time, do rounds until nothing changes; return their results."""
        self.now_ms += after_ms
        results = []
        for _ in range(10):
            results += self.advance(ended=ended)
            if not self.changes:
                return results
        raise AssertionError("it does not come to rest")

    def ask(self, *, after_ms=0):
        """After some wall time, return the partitions whose ends the next round needs."""
        self.now_ms += after_ms
        return self.pipeline.ask(self.now_ms)

    def fall_silent(self, after_ms):
        """After some wall time, do rounds that find every silent partition read to its end."""
        results = self.close(after_ms=after_ms)
        asked = self.ask()
        return results + self.advance({code: self.positions[code] for code in asked}) + self.close()


def summary(results):
    """(size, start, revision, counts) of each result."""
    return [(r.window.size_ms, r.window.start_ms, r.revision, tuple(r.counts.tolist())) for r in results]
