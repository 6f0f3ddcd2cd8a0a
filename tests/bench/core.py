"""Processor time of the core: counting an event, judging a window: `python -m tests.bench.core`.

With one BLAS thread; medians of repeats.
"""

import math
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import orjson
from numpy.typing import NDArray
from tests.builders.batches import build_columns, build_values, of_segment
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS, MONDAY_MS
from tests.builders.references import build_random_reference
from tests.builders.specs import ALARM, DEFAULTS, build_spec
from tests.output import say
from threadpoolctl import threadpool_limits

from driftgauge.core.counting.accumulator import Accumulator
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.batch import EventBatch
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.numbers import Number
from driftgauge.core.counting.projection import MINOR_COMPONENTS, SPREAD_STEP, SPREADS
from driftgauge.core.counting.tally import Tally
from driftgauge.core.reference import Reference
from driftgauge.core.spec import StreamSpec
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import PaneCounts, PaneKey
from driftgauge.core.windows.completeness import Completeness
from driftgauge.core.windows.stream_judge import StreamJudge
from driftgauge.core.windows.stream_state import StreamState
from driftgauge.events.baseline_contract import BaselineContract
from driftgauge.events.decoder import Decoder
from driftgauge.events.records import Records, StoredRecord

EVENTS = 1_000  # a typical poll
PARTITIONS = 6
CLUSTERS = 20
BASELINE_COUNT = 50_000
SEGMENTS = 10
REPEATS = 200
WARM_UP = 336  # windows of two weeks: slow drift is tested by days
DRIFT = 0.1  # of the events, after it


def measure(title: str, steps: Mapping[str, Callable[[], object]]) -> None:
    """Print the processor time of steps of `EVENTS` events, and what each takes more than the first."""
    seconds = np.empty((REPEATS, len(steps)))
    # In turns, since a busy machine slows all steps of a turn.
    for own in seconds:
        for number, step in enumerate(steps.values()):
            start = time.thread_time()
            step()
            own[number] = time.thread_time() - start
    us = seconds * 1e6 / EVENTS
    times = zip(steps, np.median(us, axis=0), np.median(us - us[:, :1], axis=0), strict=True)
    say(f"{title}, us an event: " + ", ".join(f"{name} {own:.2f} ({more:+.2f})" for name, own, more in times))


def count_batch(random: np.random.Generator, dimension: int) -> None:
    """Measure the counting of a batch, with the assignment to clusters."""
    reference = build_random_reference(
        "counted", random, dimension=dimension, clusters=CLUSTERS, segments=SEGMENTS
    )
    batch = draw_batch(random, dimension)
    names = [f"5f0c7d1e-{number:08x}" for number in range(EVENTS)]
    countries = [{"country": f"c{number}"} for number in random.integers(2 * SEGMENTS, size=EVENTS)]
    named = replace(batch, event_ids=names, segments=countries)
    segmented = build_hourly("counted", reference, ("country",))
    steps = {
        "plain": build_step(build_hourly("counted", reference), reference, batch),
        f"with ids and {SEGMENTS} segments": build_step(segmented, reference, named),
    }
    measure(f"counting {dimension} numbers", steps)


def build_step(spec: StreamSpec, reference: Reference, batch: EventBatch) -> Callable[[], object]:
    """Return what counts a batch."""
    accumulator = Accumulator("counted", spec, reference)
    return lambda: accumulator.add(batch, accumulator.assign(batch))


def count_numbers(random: np.random.Generator, dimension: int) -> None:
    """Measure what a number beside the vector adds to reading and counting."""
    reference = build_random_reference("counted", random, dimension=dimension, clusters=CLUSTERS)
    batch = draw_batch(random, dimension)

    def build_reading(numbers: tuple[Number, ...]) -> Callable[[], object]:
        """Return what reads the batch, each event with these numbers, and counts it."""
        own = {"numbers": {each.name: 0.9375 for each in numbers}} if numbers else {}
        events = [
            {"stream": "counted", "timestamp": time_ms, "embedding_b64": b64encode(each).decode(), **own}
            for time_ms, each in zip(batch.time_ms.tolist(), batch.vectors, strict=True)
        ]
        raw = [StoredRecord(orjson.dumps(each), stored_ms=each["timestamp"]) for each in events]
        records = Records(raw, batch.partition, batch.offset, batch.time_ms)
        contract = BaselineContract(
            *("counted", reference.key, dimension, None, DistanceMetric.EUCLIDEAN),
            numbers=tuple(each.name for each in numbers),
        )
        decoder = Decoder([contract], lead_ms=0)
        spec = replace(build_hourly("counted", reference), numbers=numbers)
        accumulator = Accumulator("counted", spec, reference)

        def step() -> None:
            (read,) = decoder.decode(records).batches
            accumulator.add(read, accumulator.assign(read))

        return step

    steps = {"without": build_reading(()), "with": build_reading((Number("confidence", 0.0, 1.0),))}
    measure(f"reading and counting {dimension} numbers in base64, a number beside them", steps)


def judge_window(random: np.random.Generator, clusters: int, keys: tuple[str, ...]) -> None:
    """Measure judging a closed window, after a warm-up and in slow drift; each has its own count."""
    reference = build_random_reference("judged", random, dimension=128, clusters=clusters, segments=SEGMENTS)
    shares = random.dirichlet(np.full(clusters, 3.0))
    reference = replace(
        reference,
        counts=random.multinomial(BASELINE_COUNT, shares),
        segments=tuple(
            replace(part, counts=random.multinomial(BASELINE_COUNT // SEGMENTS, shares))
            for part in reference.segments
        ),
    )
    drifted = (1 - DRIFT) * shares + DRIFT * random.dirichlet(np.full(clusters, 3.0))
    spec = build_hourly("judged", reference, keys)
    spec = replace(spec, alarm=replace(spec.alarm, warm_up=(0, WARM_UP * HOUR_MS)))
    state, scheme = StreamState("judged"), spec.scheme(reference)
    judge = StreamJudge(spec, state, lambda *_: ())
    names = [(part.key, part.value) for part in reference.segments_by(keys)]
    seconds, lasting = [], 0
    for number, count in enumerate(random.integers(2_000, 20_000, WARM_UP + REPEATS).tolist()):
        mix = shares if number < WARM_UP else drifted
        window = Window(HOUR_MS, number * HOUR_MS)
        for name in names:
            values = of_segment(draw_tally(random, reference, count // SEGMENTS, mix), reference)
            state.restore(PaneKey("judged", scheme.of_segments.key, window, name), PaneCounts(values))
        tally = Tally(draw_tally(random, reference, count, mix), scheme.fields)
        start = time.thread_time()
        result = judge.judge(window, tally, reference, Completeness(), 0)
        if number >= WARM_UP:
            seconds.append(time.thread_time() - start)
            lasting += result.slow_drift_since_ms not in {None, window.start_ms}
    say(
        f"judging, {clusters} clusters, {len(names)} segments: {np.median(seconds) * 1e3:.1f} ms a window; "
        f"{lasting / REPEATS:.0%} in slow drift"
    )


def draw_tally(
    random: np.random.Generator, reference: Reference, count: int, shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the tally of independent events with these shares of the clusters."""
    noise = math.sqrt(count)
    return build_values(
        reference,
        cluster_counts=random.multinomial(count, shares),
        cluster_outliers=random.multinomial(count // 100, shares),
        clipped_coordinate_sums=random.normal(0, noise / reference.projection.step, reference.components),
        spread_sums=(count + random.normal(0, noise / 4, SPREADS)) / SPREAD_STEP,
        minor_sums=random.normal(0, 1e6 * noise, MINOR_COMPONENTS),
        hash_counts=random.multinomial(count, np.full(HASH_BINS, 1 / HASH_BINS)),
    )


def draw_batch(random: np.random.Generator, dimension: int) -> EventBatch:
    """Return events of the last minute of Monday, spread over all partitions."""
    number = np.arange(EVENTS, dtype=np.int64)
    time_ms = MONDAY_MS + DAY_MS - MINUTE_MS + np.linspace(0, MINUTE_MS - 1, EVENTS).astype(np.int64)
    vectors = random.standard_normal((EVENTS, dimension), np.float32)
    return build_columns("counted", number % PARTITIONS, number, time_ms, vectors)


def build_hourly(name: str, reference: Reference, segment_keys: tuple[str, ...] = ()) -> StreamSpec:
    """Return a stream with windows of an hour and a day, and with segments by these keys."""
    alarm = replace(ALARM, level=1e-4, segment_keys=segment_keys)
    return build_spec(name, reference=reference, **{**DEFAULTS, "min_events": 100, "alarm": alarm})


def main() -> None:
    random = np.random.default_rng(0)
    with threadpool_limits(1):
        for dimension in (128, 512):
            count_batch(random, dimension)
        count_numbers(random, 128)
        for clusters in (CLUSTERS, 300):
            for keys in ((), ("country",)):
                judge_window(random, clusters, keys)


if __name__ == "__main__":
    main()
