"""What the core costs: `python tests/bench/core.py`, one BLAS thread, median of repeats."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from driftgauge.core.active import Active
from driftgauge.core.judge import Judge
from driftgauge.core.panes import Panes
from driftgauge.core.pipeline import Pipeline, Round
from driftgauge.core.table import Table
from threadpoolctl import threadpool_limits

from driftgauge.core.counting.assignment import Centroids, Metric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.projection import Projection
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import OTHER, Reference, SegmentReference
from driftgauge.core.spec import Alarm, ScheduledBaseline, StreamSpec

EVENTS = 1_000  # the size of a usual poll
PARTITIONS = 6
STREAMS = 10
CLUSTERS = 20
DIMENSION = 8
COMPONENTS = 32
BASELINE_COUNT = 50_000
SEGMENTS = 10
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
    say(title, statistics.median(seconds) / per, unit)


def say(title: str, seconds: float, unit: str) -> None:
    sys.stdout.write(f"{title:80} {seconds * 1e6:11.3f} us/{unit}\n")


def assign(random: np.random.Generator, clusters: int, dimension: int) -> None:
    centroids = Centroids(random.standard_normal((clusters, dimension), np.float32), Metric.EUCLIDEAN)
    vectors = random.standard_normal((EVENTS, dimension), np.float32)
    title = f"assign, k={clusters} d={dimension}"
    measure(title, lambda: centroids.assign(vectors), per=EVENTS, unit="event")


def add(random: np.random.Generator, span_ms: int, title: str) -> None:
    panes = Panes(HOUR_MS, CLUSTERS, 1)
    cluster = random.integers(CLUSTERS, size=EVENTS)
    partition = random.integers(PARTITIONS, size=EVENTS).astype(np.int32)
    time_ms = MONDAY_MS + random.integers(span_ms, size=EVENTS)
    beyond = random.random(EVENTS) < 0.01
    places = random.integers(-(2**20), 2**20, size=(EVENTS, COMPONENTS))
    whole = np.zeros(EVENTS, dtype=np.intp)

    def step() -> None:
        panes.add(partition, time_ms, whole, cluster=cluster, beyond=beyond, places=places)

    measure(f"panes add, {PARTITIONS} partitions, {title}", step, per=EVENTS, unit="event")


def count(random: np.random.Generator, clusters: int, dimension: int) -> None:
    """The road of a batch after its assignment, by its parts and as a whole."""
    reference = build_reference(random, "counted", clusters, dimension)
    batch = build_batch(random, "counted", EVENTS, dimension, MINUTE_MS)
    cluster = reference.centroids.assign(batch.vectors)
    size = f"k={clusters} d={dimension} r={reference.components}"
    project, radii = reference.projection.places, reference.are_beyond
    measure(f"project, {size}", lambda: project(batch.vectors), per=EVENTS, unit="event")
    measure(f"novelty, {size}", lambda: radii(batch.vectors, cluster), per=EVENTS, unit="event")
    names = [f"5f0c7d1e-{number:08x}" for number in range(EVENTS)]
    countries = [{"country": f"c{number}"} for number in random.integers(2 * SEGMENTS, size=EVENTS)]
    for title, keys, its in (
        ("", (), batch),
        (", names", (), replace(batch, event_ids=names)),
        (
            f", names and {SEGMENTS} segments",
            ("country",),
            replace(batch, event_ids=names, segments=countries),
        ),
    ):
        active = Active(build_spec("counted", reference, 10 * MINUTE_MS, keys), reference)

        def step(active: Active = active, its: EventBatch = its) -> None:
            active.add(its, cluster)

        measure(f"count, {size}{title}", step, per=EVENTS, unit="event")


def judge(random: np.random.Generator, clusters: int) -> None:
    """What a closed window costs: with the first the judge is made, and each has a count of its own."""
    shares = random.dirichlet(np.full(clusters, 3.0))
    reference = build_reference(random, "judged", clusters, 128)
    parts = [
        replace(part, counts=random.multinomial(BASELINE_COUNT // SEGMENTS, shares))
        for part in reference.segments
    ]
    reference = replace(reference, counts=random.multinomial(BASELINE_COUNT, shares), segments=tuple(parts))

    def draw(events: int) -> Tally:
        counts = random.multinomial(events, shares)
        return Tally(np.concatenate([counts, np.zeros(1 + COMPONENTS, np.int64)]), clusters)

    for keys in ((), ("country",)):
        spec = build_spec("judged", reference, 10 * MINUTE_MS, keys)
        names = [(part.key, part.value) for part in reference.segments_by(keys)]
        here: Judge | None = None
        seconds = []
        for count in random.integers(2_000, 20_000, REPEATS).tolist():
            whole, segments = draw(count), {name: draw(count // SEGMENTS) for name in names}
            start = time.perf_counter()
            here = here or Judge(spec, reference, None, calibrated=False)
            here.score(whole)
            here.judge_segments(segments, {})
            seconds.append(time.perf_counter() - start)
        title = f"judge, k={clusters} r={reference.components}, {len(names)} segments"
        say(f"{title}: the first window", seconds[0], "window")
        say(f"{title}: all others", statistics.median(seconds[1:]), "window")
        say(f"{title}: one of twenty takes more than", np.quantile(seconds[1:], 0.95), "window")


class Run:
    """Ten streams by the hour and the day, a day of events behind them, 24 panes a partition."""

    def __init__(self, random: np.random.Generator, lateness_ms: int) -> None:
        self._random = random
        names = [f"stream-{number}" for number in range(STREAMS)]
        specs = [
            build_spec(name, build_reference(random, name, CLUSTERS, DIMENSION), lateness_ms)
            for name in names
        ]
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
            batch = build_batch(self._random, name, events, DIMENSION, span_ms)
            self._pipeline.count(batch, MONDAY_MS)
        self._positions = {code: at + events for code, at in self._positions.items()}

    def advance(self) -> Round:
        moved = self._pipeline.advance(MONDAY_MS, self._positions, {})
        self._pipeline.ask(MONDAY_MS)
        return moved

    def apply(self, moved: Round) -> None:
        for change in moved.changes:
            self._table.apply(change)


def build_batch(
    random: np.random.Generator, stream: str, events: int, dimension: int, span_ms: int
) -> EventBatch:
    """Events of the end of Monday, spread over all partitions."""
    time_ms = MONDAY_MS + DAY_MS - span_ms + np.linspace(0, span_ms - 1, events).astype(np.int64)
    return EventBatch(
        stream=stream,
        baseline=stream,
        row=np.arange(events),
        partition=(np.arange(events) % PARTITIONS).astype(np.int32),
        offset=np.arange(events, dtype=np.int64),
        time_ms=time_ms,
        credible_ms=time_ms,
        vectors=random.standard_normal((events, dimension), np.float32),
    )


def build_reference(random: np.random.Generator, name: str, clusters: int, dimension: int) -> Reference:
    components = min(COMPONENTS, dimension)
    directions, _ = np.linalg.qr(random.standard_normal((dimension, dimension)))
    segment = np.full(clusters, BASELINE_COUNT // clusters // SEGMENTS, np.int64)
    return Reference(
        baseline_id=f"sha256:{name}",
        centroids=Centroids(random.standard_normal((clusters, dimension), np.float32), Metric.EUCLIDEAN),
        counts=np.full(clusters, BASELINE_COUNT // clusters, np.int64),
        radii=np.full(clusters, 2 * dimension**0.5, np.float32),
        projection=Projection(
            np.zeros(dimension), directions[:components].astype(np.float32), np.ones(components)
        ),
        dependence=None,
        dependence_ms=None,
        segments=tuple(
            SegmentReference("country", value, segment, np.zeros(components), np.eye(components))
            for value in (OTHER, *(f"c{number}" for number in range(SEGMENTS - 1)))
        ),
    )


def build_spec(
    name: str, reference: Reference, lateness_ms: int, segment_keys: tuple[str, ...] = ()
) -> StreamSpec:
    return StreamSpec(
        name=name,
        baselines=(ScheduledBaseline(reference),),
        sizes_ms=(HOUR_MS, DAY_MS),
        disorder_ms=30 * SECOND_MS,
        lateness_ms=lateness_ms,
        idle_ms=MINUTE_MS,
        incomplete_ms=5 * MINUTE_MS,
        give_up_ms=HOUR_MS,
        min_events=100,
        alarm=Alarm(level=1e-4, js_divergence=0.01, mean_shift=0.05, segment_keys=segment_keys),
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
        count(random, 20, 128)
        count(random, 64, 512)
        for clusters in (2, 3, 5, 20, 50, 300):
            judge(random, clusters)
        rounds(random, 10 * MINUTE_MS, "one hour correctable")
        rounds(random, DAY_MS, "all hours correctable")


if __name__ == "__main__":
    main()
