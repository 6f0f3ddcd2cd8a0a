"""CPU time of the core's steps: `python tests/bench/core.py`, one BLAS thread, median of repeats."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.builders.batches import build_columns  # noqa: E402
from tests.builders.clocks import DAY_MS, MINUTE_MS, MONDAY_MS, SECOND_MS  # noqa: E402
from tests.builders.references import build_random_reference  # noqa: E402
from tests.builders.specs import ALARM, DEFAULTS, build_spec  # noqa: E402

from driftgauge.core.counting.accumulator import Accumulator  # noqa: E402
from driftgauge.core.counting.assignment import Centroids, DistanceMetric  # noqa: E402
from driftgauge.core.counting.batch import EventBatch  # noqa: E402
from driftgauge.core.counting.hashing import HASH_BINS, hash_vectors  # noqa: E402
from driftgauge.core.counting.interval import IntervalCounter, ShardDelta  # noqa: E402
from driftgauge.core.counting.partial import CommitId, Part, PartitionProgress  # noqa: E402
from driftgauge.core.counting.projection import SPREAD_STEP, SPREADS  # noqa: E402
from driftgauge.core.counting.tally import Tally, tally_batch  # noqa: E402
from driftgauge.core.local import parts_of  # noqa: E402
from driftgauge.core.reference import Reference  # noqa: E402
from driftgauge.core.spec import StreamSpec  # noqa: E402
from driftgauge.core.windows.scoring import WindowScorer  # noqa: E402
from driftgauge.core.windows.shard import ShardState  # noqa: E402

EVENTS = 1_000  # a typical poll
PARTITIONS = 6
CLUSTERS = 20
DIMENSION = 8
COMPONENTS = 32
BASELINE_COUNT = 50_000
SEGMENTS = 10
REPEATS = 200


def measure(title: str, step: Callable[[], object], *, per: int, unit: str) -> None:
    step()
    seconds = []
    for _ in range(REPEATS):
        start = time.thread_time()
        step()
        seconds.append(time.thread_time() - start)
    say(title, statistics.median(seconds) / per, unit)


def say(title: str, seconds: float, unit: str) -> None:
    sys.stdout.write(f"{title:80} {seconds * 1e6:11.3f} us/{unit}\n")


def assign(random: np.random.Generator, clusters: int, dimension: int) -> None:
    centroids = Centroids(random.standard_normal((clusters, dimension), np.float32), DistanceMetric.EUCLIDEAN)
    vectors = random.standard_normal((EVENTS, dimension), np.float32)
    title = f"assign, k={clusters} d={dimension}"
    measure(title, lambda: centroids.assign(vectors), per=EVENTS, unit="event")


def tally_events(random: np.random.Generator, groups: int, title: str) -> None:
    cluster = random.integers(CLUSTERS, size=EVENTS)
    group = np.sort(random.integers(groups, size=EVENTS))
    group = np.unique(group, return_inverse=True)[1]
    outliers = random.random(EVENTS) < 0.01
    coordinates = random.integers(-(2**20), 2**20, size=(EVENTS, COMPONENTS))

    spreads = random.integers(2**17, size=(EVENTS, SPREADS))
    hashes = random.integers(HASH_BINS, size=EVENTS)

    def step() -> None:
        tally_batch(
            group,
            int(group.max()) + 1,
            CLUSTERS,
            cluster=cluster,
            outliers=outliers,
            coordinates=coordinates,
            spreads=spreads,
            hashes=hashes,
        )

    measure(f"tally, {title}", step, per=EVENTS, unit="event")


def count_batch(random: np.random.Generator, clusters: int, dimension: int) -> None:
    """Measure the counting of a batch, by its steps and as a whole."""
    reference = build_random_reference(
        "counted", random, dimension=dimension, clusters=clusters, segments=SEGMENTS
    )
    batch = draw_batch(random, "counted", EVENTS, dimension, MINUTE_MS)
    cluster = reference.centroids.assign(batch.vectors)
    size = f"k={clusters} d={dimension} r={reference.components}"
    measure(f"hash, {size}", lambda: hash_vectors(batch.vectors), per=EVENTS, unit="event")
    project, outliers = reference.projection.measure, reference.are_outliers
    measure(f"project, {size}", lambda: project(batch.vectors), per=EVENTS, unit="event")
    measure(f"novelty, {size}", lambda: outliers(batch.vectors, cluster), per=EVENTS, unit="event")
    names = [f"5f0c7d1e-{number:08x}" for number in range(EVENTS)]
    countries = [{"country": f"c{number}"} for number in random.integers(2 * SEGMENTS, size=EVENTS)]
    for title, keys, variant in (
        ("", (), batch),
        (", names", (), replace(batch, event_ids=names)),
        (
            f", names and {SEGMENTS} segments",
            ("country",),
            replace(batch, event_ids=names, segments=countries),
        ),
    ):
        spec = build_hourly("counted", reference, segment_keys=keys)
        accumulator = Accumulator("counted", reference, spec.scheme(reference))

        def step(accumulator: Accumulator = accumulator, variant: EventBatch = variant) -> None:
            accumulator.add(variant, accumulator.assign(variant))

        measure(f"count with assignment, {size}{title}", step, per=EVENTS, unit="event")


def score_window(random: np.random.Generator, clusters: int) -> None:
    """Measure scoring a closed window; the first call creates the scorer; each window has its own count."""
    shares = random.dirichlet(np.full(clusters, 3.0))
    reference = build_random_reference("judged", random, dimension=128, clusters=clusters, segments=SEGMENTS)
    parts = [
        replace(part, counts=random.multinomial(BASELINE_COUNT // SEGMENTS, shares))
        for part in reference.segments
    ]
    reference = replace(reference, counts=random.multinomial(BASELINE_COUNT, shares), segments=tuple(parts))

    def draw(events: int) -> Tally:
        counts = random.multinomial(events, shares)
        spreads = np.full(SPREADS, events / SPREAD_STEP, np.int64)
        none, sums = np.zeros(1, np.int64), np.zeros(COMPONENTS, np.int64)
        hashes = random.multinomial(events, np.full(HASH_BINS, 1 / HASH_BINS))
        return Tally(
            np.concatenate([counts, none, hashes, sums, spreads, np.zeros(SPREADS, np.int64)]), clusters
        )

    for keys in ((), ("country",)):
        spec = build_hourly("judged", reference, segment_keys=keys)
        names = [(part.key, part.value) for part in reference.segments_by(keys)]
        scorer: WindowScorer | None = None
        seconds = []
        for count in random.integers(2_000, 20_000, REPEATS).tolist():
            whole = draw(count)
            segments = {name: draw(count // SEGMENTS) for name in names}
            start = time.thread_time()
            scorer = scorer or WindowScorer(spec, reference, None, calibrated=False)
            scorer.score(whole)
            scorer.judge_segments(segments, {})
            seconds.append(time.thread_time() - start)
        title = f"judge, k={clusters} r={reference.components}, {len(names)} segments"
        say(f"{title}: the first window", seconds[0], "window")
        say(f"{title}: all others", statistics.median(seconds[1:]), "window")
        say(f"{title}: 95th percentile", np.quantile(seconds[1:], 0.95), "window")


class CountedStreams:
    """Streams with hourly and daily windows, counted by one producer on all partitions, in one shard."""

    def __init__(self, random: np.random.Generator, streams: int, partitions: int, lateness_ms: int) -> None:
        self._random = random
        reference = build_random_reference("shared", random, dimension=DIMENSION, segments=SEGMENTS)
        specs = [build_hourly(f"stream-{number}", reference, lateness_ms) for number in range(streams)]
        self._names = [spec.name for spec in specs]
        self._partitions = {code: ("events", code) for code in range(partitions)}
        self._counter = IntervalCounter(specs)
        self._position, self._commits, self.now_ms = 0, 0, MONDAY_MS + DAY_MS
        self.state = ShardState(specs, ("events",), 1)
        self._baseline = reference.key

    def count(self, events: int, span_ms: int, streams: int | None = None) -> None:
        """Count events of each stream, spread over the last `span_ms` of the day and all partitions."""
        for name in self._names[:streams]:
            batch = draw_batch(
                self._random, name, events, DIMENSION, span_ms, len(self._partitions), self._baseline
            )
            self._counter.count([batch], self.now_ms)

    def commit(self) -> list[Part]:
        """Return the parts of a commit of the counted events."""
        delta = self._counter.take(self._partitions, 1).get(0, ShardDelta())
        progress = [
            PartitionProgress(
                partition=partition,
                topic_id="id",
                partitions=len(self._partitions),
                start=self._position,
                end=self._position + 1,
                begins=self._position == 0,
                lost=0,
                since_ms=MONDAY_MS,
                caught_up_ms=self.now_ms,
                streams=delta.times.get(code, {}),
            )
            for code, partition in self._partitions.items()
        ]
        self._position += 1
        self._commits += 1
        return list(parts_of(CommitId("bench", 0, self._commits), 1, delta, progress))

    def apply(self, parts: list[Part]) -> None:
        for part in parts:
            self.state.apply(self.state.position.offset, self.now_ms, part)

    def step(self) -> None:
        """Apply a commit, close due windows, and drain the changelog records."""
        self.apply(self.commit())
        self.state.close_windows()
        list(self.state.drain_changes("bench"))


def draw_batch(
    random: np.random.Generator,
    stream: str,
    events: int,
    dimension: int,
    span_ms: int,
    partitions: int = PARTITIONS,
    baseline: str = "",
) -> EventBatch:
    """Return events of the last `span_ms` of Monday, spread over all partitions."""
    number = np.arange(events, dtype=np.int64)
    time_ms = MONDAY_MS + DAY_MS - span_ms + np.linspace(0, span_ms - 1, events).astype(np.int64)
    vectors = random.standard_normal((events, dimension), np.float32)
    return build_columns(stream, number % partitions, number, time_ms, vectors, baseline=baseline)


def build_hourly(
    name: str, reference: Reference, lateness_ms: int = 10 * MINUTE_MS, segment_keys: tuple[str, ...] = ()
) -> StreamSpec:
    alarm = replace(ALARM, level=1e-4, segment_keys=segment_keys)
    changes = {"lateness_ms": lateness_ms, "min_events": 100, "alarm": alarm}
    return build_spec(name, reference=reference, **{**DEFAULTS, **changes})


def apply_commit(random: np.random.Generator, streams: int) -> None:
    """Measure applying a commit to a shard with one pane of each stream."""
    group = CountedStreams(random, streams, PARTITIONS, 10 * MINUTE_MS)
    seconds = []
    for _ in range(REPEATS):
        group.count(PARTITIONS, MINUTE_MS)
        parts = group.commit()
        start = time.thread_time()
        group.apply(parts)
        seconds.append(time.thread_time() - start)
        group.state.close_windows()
        list(group.state.drain_changes("bench"))
    say(f"apply a commit, a pane of {streams} streams", statistics.median(seconds), "commit")


def closing_round(random: np.random.Generator, streams: int, partitions: int) -> None:
    """Measure a closing round, with and without events of the streams."""
    group = CountedStreams(random, streams, partitions, 10 * MINUTE_MS)
    group.count(partitions, DAY_MS)
    # Longer than idle_timeout, so that all due windows are closed.
    for _ in range(80):
        group.now_ms += SECOND_MS
        group.step()
    for active, title in ((0, "without events"), (streams, "with events")):
        close, write = [], []
        for _ in range(20):
            group.now_ms += SECOND_MS
            group.count(partitions, MINUTE_MS, active)
            group.apply(group.commit())
            started = time.thread_time()
            group.state.close_windows()
            closed = time.thread_time()
            list(group.state.drain_changes("bench"))
            close.append(closed - started)
            write.append(time.thread_time() - closed)
        name = f"{streams} streams, {partitions} partitions, {title}"
        say(f"closing round, {name}", statistics.median(close), "round")
        say(f"changes of a round, {name}", statistics.median(write), "round")


def main() -> None:
    random = np.random.default_rng(0)
    with threadpool_limits(1):
        assign(random, 20, 128)
        assign(random, 64, 512)
        tally_events(random, 1, "live: one pane")
        tally_events(random, 24, "catching up: 24 panes")
        count_batch(random, 20, 128)
        count_batch(random, 64, 512)
        for clusters in (2, 3, 5, 20, 50, 300):
            score_window(random, clusters)
        apply_commit(random, 16)
        closing_round(random, 1_000, 12)
        closing_round(random, 16, 500)


if __name__ == "__main__":
    main()
