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
from driftgauge.core.pipeline import Pipeline, Round
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.table import Table

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
    sys.stdout.write(f"{title:80} {statistics.median(seconds) / per * 1e6:9.3f} us/{unit}\n")


def assign(random: np.random.Generator, clusters: int, dimension: int) -> None:
    centroids = Centroids(random.standard_normal((clusters, dimension), np.float32), Metric.EUCLIDEAN)
    vectors = random.standard_normal((EVENTS, dimension), np.float32)
    title = f"assign, k={clusters} d={dimension}"
    measure(title, lambda: centroids.assign(vectors), per=EVENTS, unit="event")


def add(random: np.random.Generator, span_ms: int, title: str) -> None:
    panes = Panes(HOUR_MS, CLUSTERS)
    columns = (
        random.integers(PARTITIONS, size=EVENTS).astype(np.int32),
        MONDAY_MS + random.integers(span_ms, size=EVENTS),
        random.integers(CLUSTERS, size=EVENTS),
    )
    title = f"panes add, {PARTITIONS} partitions, {title}"
    measure(title, lambda: panes.add(*columns), per=EVENTS, unit="event")


class Run:
    """Ten streams by the hour and the day, a day of events behind them, 24 panes a partition."""

    def __init__(self, random: np.random.Generator, lateness_ms: int) -> None:
        self._random = random
        specs = [build_spec(random, f"stream-{number}", lateness_ms) for number in range(STREAMS)]
        self._names = [spec.name for spec in specs]
        partitions = {code: ("events", code) for code in range(PARTITIONS)}
        self._table = Table()
        self._table.expect(partitions.values())
        self._pipeline = Pipeline(
            specs,
            held=partitions,
            every=partitions.values(),
            table=self._table,
            find_reference=lambda spec, _: spec.reference,
            established=set(),
            now_ms=MONDAY_MS,
        )
        self._positions = dict.fromkeys(range(PARTITIONS), 0)
        self.count(5_000, DAY_MS)
        # What a round counted is closed by the next, which finds it in the table.
        for _ in range(3):
            self.apply(self.advance())

    def count(self, events: int, span_ms: int) -> None:
        """Count as many events of each stream, spread over the end of the day."""
        for name in self._names:
            batch = EventBatch(
                stream=name,
                row=np.arange(events),
                partition=(np.arange(events) % PARTITIONS).astype(np.int32),
                offset=np.arange(events, dtype=np.int64),
                time_ms=MONDAY_MS + DAY_MS - span_ms + np.linspace(0, span_ms - 1, events).astype(np.int64),
                vectors=self._random.standard_normal((events, DIMENSION), np.float32),
            )
            self._pipeline.count(batch, MONDAY_MS)
        self._positions = {code: at + events for code, at in self._positions.items()}

    def advance(self) -> Round:
        moved = self._pipeline.advance(MONDAY_MS, self._positions, {})
        self._pipeline.ask(MONDAY_MS)
        return moved

    def apply(self, moved: Round) -> None:
        for change in moved.changes:
            self._table.apply(change)


def build_spec(random: np.random.Generator, name: str, lateness_ms: int) -> StreamSpec:
    centroids = Centroids(random.standard_normal((CLUSTERS, DIMENSION), np.float32), Metric.EUCLIDEAN)
    return StreamSpec(
        name=name,
        reference=Reference(f"sha256:{name}", centroids, np.full(CLUSTERS, 1_000, np.int64), bytes(10_000)),
        sizes_ms=(HOUR_MS, DAY_MS),
        disorder_ms=30 * SECOND_MS,
        lateness_ms=lateness_ms,
        idle_ms=MINUTE_MS,
        incomplete_ms=5 * MINUTE_MS,
        min_events=100,
    )


def rounds(random: np.random.Generator, lateness_ms: int, title: str) -> None:
    run = Run(random, lateness_ms)
    title = f"{STREAMS} streams, {PARTITIONS} partitions, {title}"
    measure(f"round without events, {title}", run.advance, per=1, unit="round")

    def busy() -> None:
        run.count(PARTITIONS, MINUTE_MS)
        run.apply(run.advance())

    run.count(PARTITIONS, MINUTE_MS)
    moved = run.advance()
    if not moved.changes or moved.results:
        sys.exit(f"{title}: a round should count, and close nothing")
    measure(f"round with events of each stream, {title}", busy, per=1, unit="round")
    measure(f"table, a change, {title}", lambda: run.apply(moved), per=len(moved.changes), unit="change")


def main() -> None:
    random = np.random.default_rng(0)
    with threadpool_limits(1):
        assign(random, 20, 128)
        assign(random, 64, 512)
        add(random, MINUTE_MS, "live: one pane")
        add(random, DAY_MS, "catching up: 24 panes")
        rounds(random, 10 * MINUTE_MS, "one hour correctable")
        rounds(random, DAY_MS, "all hours correctable")


if __name__ == "__main__":
    main()
