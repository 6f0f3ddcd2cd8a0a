"""Hypothesis strategies for the values that the core passes on to be published or stored."""

import math
from collections.abc import Iterable

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from driftgauge.config.fields import STREAM_NAME
from driftgauge.core.counting.examples import Example, Examples, FarExample
from driftgauge.core.counting.numbers import TALLY_ROWS
from driftgauge.core.judging.calibration import Calibration, SegmentCalibration, Source
from driftgauge.core.judging.clean_windows import CleanWindows, WindowSums
from driftgauge.core.judging.measuring import Measurement
from driftgauge.core.judging.scoring import Score, SegmentResult
from driftgauge.core.judging.verdict import SlowDrift, Verdict, VerdictHistory, VerdictMemory
from driftgauge.core.statistics.divergence import Divergence
from driftgauge.core.statistics.duplicates import Duplicates
from driftgauge.core.statistics.mean_shift import MeanShift
from driftgauge.core.statistics.novelty import Novelty
from driftgauge.core.statistics.overdispersion import Overdispersion, OverdispersionEstimator
from driftgauge.core.statistics.spread import Spread, SpreadChange
from driftgauge.core.statistics.statistic import Findings
from driftgauge.core.window import Window
from driftgauge.core.windows.changelog import CalibrationKey, HistoryKey, Key, MeasurementKey
from driftgauge.core.windows.result import WindowResult
from tests.builders.clocks import DAY_MS
from tests.builders.results import KINDS, STATISTICS

Mutation = tuple[int, int, bytes]
"""A position as a share of 2^16, how many bytes from there on are removed, and what is put there."""

MUTATIONS = st.lists(
    st.tuples(st.integers(0, 2**16), st.integers(0, 3), st.binary(max_size=6)), min_size=1, max_size=3
)


def mutate(record: bytes, mutations: Iterable[Mutation]) -> bytes:
    """Return the mutated record; its first byte, the version, stays."""
    for share, removed, added in mutations:
        at = 1 + share * (len(record) - 1) // 2**16
        record = record[:at] + added + record[at + removed :]
    return record


LAST = 2**63 - 1

STREAMS = st.from_regex(STREAM_NAME, fullmatch=True)
# Anything that an event or a configuration may say; UTF-8 has no lone surrogates.
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
SEGMENTS = st.tuples(TEXTS, TEXTS)
FARTHEST = st.lists(
    st.builds(FarExample, st.integers(0, 2**31 - 1), st.integers(0, 2**32 - 1), TEXTS, TEXTS), max_size=3
).map(tuple)
TIMES = st.integers(-LAST, LAST)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
MAYBE_FLOATS = st.none() | FLOATS
PARTITIONS = st.tuples(st.from_regex(r"[a-zA-Z0-9._-]{1,249}", fullmatch=True), st.integers(0, 2**20))
DIGESTS = st.binary(min_size=32, max_size=32).map(lambda digest: f"sha256:{digest.hex()}")
VERDICTS = st.sampled_from(Verdict)
RECENT = st.lists(st.booleans(), max_size=2).map(tuple)
BLOCKS = st.tuples(TIMES, arrays.arrays(np.int64, 1, elements=TIMES))
RECALLS = st.builds(
    VerdictMemory,
    RECENT,
    st.builds(
        SlowDrift,
        st.floats(0, exclude_min=True, allow_infinity=False),
        st.none() | TIMES,
        st.tuples(BLOCKS),
    ),
    st.dictionaries(SEGMENTS, RECENT, max_size=3),
)


def vectors(size: int) -> st.SearchStrategy[np.ndarray]:
    return arrays.arrays(np.float64, size, elements=FLOATS)


PROBABILITIES = st.floats(0, 1)
SIZES = st.floats(0, 1) | st.just(math.inf)
CHANGES = st.none() | st.builds(SpreadChange, FLOATS, FLOATS, PROBABILITIES)


def scores(clusters: int) -> st.SearchStrategy[Score]:
    """Return a strategy of scores over `clusters` clusters."""
    findings = {
        "js_divergence": st.builds(
            Divergence, FLOATS, FLOATS, vectors(clusters), FLOATS, FLOATS, PROBABILITIES
        ),
        "mean_shift": st.builds(
            MeanShift,
            t2=FLOATS,
            p_value=PROBABILITIES,
            centroid_distance=FLOATS,
            centroid_p_value=PROBABILITIES,
            excess=FLOATS,
        ),
        "novelty": st.builds(Novelty, FLOATS, FLOATS, PROBABILITIES, vectors(clusters)),
        "spread": st.builds(Spread, CHANGES, CHANGES, CHANGES),
        "duplicates": st.builds(Duplicates, FLOATS, PROBABILITIES),
    }
    return st.builds(
        Score,
        findings=st.fixed_dictionaries(findings).map(Findings),
        p_value=FLOATS,
        evidence=st.fixed_dictionaries(dict.fromkeys(KINDS, FLOATS)),
        kind=st.none() | st.sampled_from(KINDS),
        detectable=st.fixed_dictionaries(dict.fromkeys(STATISTICS, SIZES)),
        calibrated=st.booleans(),
    )


def results(clusters: int) -> st.SearchStrategy[WindowResult]:
    """Return a strategy of results over `clusters` clusters: scored or not, complete or not."""
    counts = st.integers(0, 2**50)
    return st.builds(
        WindowResult,
        stream=STREAMS,
        window=st.builds(Window, st.integers(1, 3_660 * DAY_MS), st.integers(0, 2**47)),
        revision=st.integers(0, 2**40),
        counts=arrays.arrays(np.int64, clusters, elements=counts).filter(lambda array: array.any()),
        baseline_counts=arrays.arrays(np.int64, clusters, elements=counts).filter(lambda array: array.any()),
        baseline_id=DIGESTS,
        missing=st.lists(PARTITIONS, max_size=3).map(tuple),
        events_lost=st.booleans(),
        published_ms=TIMES,
        score=st.none() | scores(clusters),
        verdict=VERDICTS,
        superseded=st.none() | VERDICTS,
        slow_drift=MAYBE_FLOATS,
        slow_drift_since_ms=st.none() | st.integers(0, 2**47),
        slow_drift_limit=FLOATS,
        segments=st.lists(
            st.builds(
                SegmentResult,
                segment=SEGMENTS,
                count=st.integers(0, LAST),
                js_divergence=MAYBE_FLOATS,
                excess=st.none() | st.fixed_dictionaries(dict.fromkeys(STATISTICS, FLOATS)),
                p_value=MAYBE_FLOATS,
                adjusted_p_value=MAYBE_FLOATS,
                calibrated=st.none() | st.booleans(),
                verdict=VERDICTS,
            ),
            max_size=3,
        ).map(tuple),
        examples=st.dictionaries(
            st.integers(0, clusters - 1), st.lists(TEXTS, min_size=1, max_size=3).map(tuple), max_size=3
        ),
        memory=st.none() | RECALLS,
        counted_twice=st.booleans(),
        incomplete_reason=st.none() | TEXTS,
        farthest=FARTHEST,
    )


RESULTS = st.integers(1, 5).flatmap(results)

NUMBER_TALLIES = st.dictionaries(
    TEXTS,
    arrays.arrays(np.int64, st.tuples(st.just(TALLY_ROWS), st.integers(1, 4)), elements=st.integers(0, LAST)),
    max_size=2,
)
EXAMPLE_ROWS = st.lists(
    st.builds(Example, st.integers(0, 5), st.integers(0, 2**32 - 1), TEXTS), max_size=6
).map(tuple)
EXAMPLES = st.builds(Examples, EXAMPLE_ROWS, FARTHEST)


@st.composite
def overdispersions(draw: st.DrawFn, components: int) -> Overdispersion:
    """Draw an overdispersion along r components, with or without that of the baseline."""
    positive = st.floats(0, 1e100)
    of_baseline = draw(st.none() | st.just(Overdispersion.independent(components)))
    return Overdispersion(
        draw(st.floats(1, math.inf)),
        draw(positive),
        draw(arrays.arrays(np.float64, (components, components), elements=positive)),
        {"spread": draw(arrays.arrays(np.float64, 3, elements=positive))},
        of_baseline,
        draw(positive),
    )


@st.composite
def sums_of_windows(draw: st.DrawFn, clusters: int, components: int) -> WindowSums:
    """Draw the sums over some windows of k clusters and r components."""
    shifts = draw(arrays.arrays(np.float64, (3, components), elements=st.floats(-1e40, 1e40)))
    positive = st.floats(0, 1e100)
    return WindowSums(
        draw(arrays.arrays(np.int64, clusters + components, elements=st.integers(1, 2**40))),
        OverdispersionEstimator(
            draw(st.integers(0, 2**31)),
            draw(arrays.arrays(np.float64, clusters, elements=positive)),
            sum(np.outer(row, row) for row in shifts),
            {"spread": draw(arrays.arrays(np.float64, 3, elements=positive))},
        ),
    )


def judging_values(
    clusters: int, components: int
) -> st.SearchStrategy[tuple[type[Key], VerdictHistory | Measurement | Calibration]]:
    """Return a strategy of what judging remembers of windows, with the type of its key."""
    sums, parts = sums_of_windows(clusters, components), overdispersions(components)
    of_segments = st.dictionaries(SEGMENTS, sums, max_size=3)
    clean = st.builds(CleanWindows, sums, st.lists(BLOCKS, max_size=3).map(tuple), of_segments)
    part = st.builds(
        SegmentCalibration,
        parts,
        st.booleans(),
        st.none() | arrays.arrays(np.int64, clusters, elements=st.integers(0, 2**40)),
        st.floats(0, 1),
        st.booleans(),
    )
    interval = st.none() | st.tuples(TIMES, TIMES)
    calibration = st.builds(
        Calibration,
        st.sampled_from(Source),
        TIMES,
        TIMES,
        TIMES,
        st.integers(1, 1_000),
        part,
        st.dictionaries(SEGMENTS, part, max_size=3),
        st.dictionaries(st.sampled_from(STATISTICS), FLOATS),
        st.none() | parts,
    )
    measurement = st.builds(
        Measurement,
        interval,
        TIMES,
        clean,
        st.none() | TIMES,
        st.booleans(),
        st.booleans(),
    )
    history = st.builds(VerdictHistory, TIMES, RECALLS)
    return st.one_of(
        st.tuples(st.just(HistoryKey), history),
        st.tuples(st.just(MeasurementKey), measurement),
        st.tuples(st.just(CalibrationKey), calibration),
    )


JUDGING = st.tuples(st.integers(2, 4), st.integers(1, 4)).flatmap(lambda sizes: judging_values(*sizes))
