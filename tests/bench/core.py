"""What the core costs: `python tests/bench/core.py`, one BLAS thread, median of repeats."""

import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
from threadpoolctl import threadpool_limits

from driftgauge.core.assignment import Centroids, Metric
from driftgauge.core.batch import EventBatch
from driftgauge.core.panes import Panes
from driftgauge.core.pipeline import Pipeline, StreamSpec

EVENTS = 1_000  # the size of a usual poll
PARTITIONS = 6
STREAMS = 10
CLUSTERS = 20
DIMENSION = 8
REPEATS = 200

SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 3_600_000
DAY_MS = 86_400_000
MONDAY_MS = 1_762_128_000_000  # 2025-11-03T00:00:00Z


def measure(title: str, step: Callable[[], object], *, per: int, unit: str) -> None:
    step()
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    sys.stdout.write(f"{title:66} {statistics.median(seconds) / per * 1e6:9.3f} us/{unit}\n")


def assign(random: np.random.Generator, clusters: int, dimension: int) -> None:
    centroids = Centroids(random.standard_normal((clusters, dimension), np.float32), Metric.EUCLIDEAN)
    vectors = random.standard_normal((EVENTS, dimension), np.float32)
    title = f"assign, k={clusters} d={dimension}"
    measure(title, lambda: centroids.assign(vectors), per=EVENTS, unit="event")


def add(random: np.random.Generator, span_ms: int, title: str) -> None:
    panes = Panes(HOUR_MS, CLUSTERS)
    columns = (
        random.integers(PARTITIONS, size=EVENTS).astype(np.int32),
        np.arange(EVENTS, dtype=np.int64),
        MONDAY_MS + random.integers(span_ms, size=EVENTS),
        random.integers(CLUSTERS, size=EVENTS),
    )
    title = f"panes add, {PARTITIONS} partitions, {title}"
    measure(title, lambda: panes.add(*columns), per=EVENTS, unit="event")


def pipeline_of(random: np.random.Generator, lateness_ms: int) -> Pipeline:
    """Ten streams by the hour and the day, a day of events behind them, 24 panes open."""
    specs = [
        StreamSpec(
            name=f"stream-{number}",
            baseline_id="sha256:0",
            centroids=Centroids(random.standard_normal((CLUSTERS, DIMENSION), np.float32), Metric.EUCLIDEAN),
            baseline_counts=np.full(CLUSTERS, 1_000, np.int64),
            sizes_ms=(HOUR_MS, DAY_MS),
            disorder_ms=30 * SECOND_MS,
            lateness_ms=lateness_ms,
            idle_ms=MINUTE_MS,
            min_events=100,
        )
        for number in range(STREAMS)
    ]
    pipeline = Pipeline(specs, range(PARTITIONS), MONDAY_MS, {})
    for spec in specs:
        pipeline.count(
            EventBatch(
                stream=spec.name,
                row=np.arange(5_000),
                partition=(np.arange(5_000) % PARTITIONS).astype(np.int32),
                offset=np.arange(5_000, dtype=np.int64),
                time_ms=MONDAY_MS + np.linspace(0, DAY_MS - 1, 5_000).astype(np.int64),
                vectors=random.standard_normal((5_000, DIMENSION), np.float32),
            ),
            MONDAY_MS,
        )
    return pipeline


def close(random: np.random.Generator, lateness_ms: int, title: str) -> None:
    pipeline = pipeline_of(random, lateness_ms)
    positions = dict.fromkeys(range(PARTITIONS), 5_000)

    def turn() -> None:
        pipeline.close(MONDAY_MS, positions, {})
        pipeline.ask(MONDAY_MS)

    def save() -> None:
        pipeline.snapshots()
        pipeline.first_open_offsets()

    title = f"{STREAMS} streams, 1h and 1d, 24 panes, {PARTITIONS} partitions, {title}"
    measure(f"close, {title}", turn, per=1, unit="close")
    measure(f"snapshot, {title}", save, per=1, unit="commit")


def main() -> None:
    random = np.random.default_rng(0)
    with threadpool_limits(1):
        assign(random, 20, 128)
        assign(random, 64, 512)
        add(random, MINUTE_MS, "live: one pane")
        add(random, DAY_MS, "catching up: 24 panes")
        close(random, 10 * MINUTE_MS, "one hour correctable")
        close(random, DAY_MS, "all hours correctable")


if __name__ == "__main__":
    main()
