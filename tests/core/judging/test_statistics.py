"""The statistics on tallies: what windows are compared with, and what the overdispersion is measured by."""

import math
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.judging.calibration import Calibration, SegmentCalibration, Source
from driftgauge.core.judging.clean_windows import WindowSums
from driftgauge.core.statistics.duplicates import DuplicatesNull
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion
from driftgauge.core.statistics.spread import SPREAD, Spread
from tests.builders.batches import build_values, of_segment, read_tally
from tests.builders.clocks import HOUR_MS
from tests.builders.references import COMPONENTS, RICH, SEGMENTED, build_arrays, build_segment_arrays
from tests.core.judging.judged_stream import build_scorer

COUNTS = np.array([400, 300, 200, 100])
OUTLIERS = np.array([6, 4, 3, 2])
MOMENTS = (
    (50_000, 1.0, 0.5, 1.0, 4.0),
    (40_000, 1.2, 0.25, 0.5, 3.5),
    (50_000, 0.98, 0.01, 0.0, 3.0),
)
HASHES = np.arange(128) % 8
REFERENCE = replace(RICH, arrays=build_arrays(np.full(128, 500), MOMENTS))


def tally(count=1_000, spreads=(1.1, 1.3, 1.0), **fields):
    """A tally of events with these mean spreads."""
    sums = np.rint(count * np.array(spreads) / SPREAD_STEP)
    others = {"cluster_counts": COUNTS, "cluster_outliers": OUTLIERS, "hash_counts": HASHES} | fields
    return read_tally(build_values(spread_sums=sums, **others))


def test_standardized_values_are_in_standard_errors_of_the_window():
    novelty, spread = (
        each.null(REFERENCE, None, Overdispersion.independent(COMPONENTS)).standardized(tally())
        for each in (NOVELTY, SPREAD)
    )
    errors = [math.sqrt(variance / 1_000) for _, _, variance, *_ in MOMENTS]
    assert spread == pytest.approx([0.1 / errors[0], 0.1 / errors[1], 0.02 / errors[2]], rel=1e-3)
    # 15 outliers among 1,000 events, of which about 0.01 lie beyond the radius.
    assert novelty == pytest.approx([5 / math.sqrt(9.9)], rel=0.02)


def test_repetition_is_measured_of_whole_but_not_of_segment():
    ratio = DuplicatesNull(REFERENCE.arrays["hash_counts"], 1.0, math.inf).ratio(HASHES)
    own = read_tally(of_segment(tally().values))
    whole, segment = (
        WindowSums.empty(REFERENCE, part).add(seen, REFERENCE, part).windows.others
        for part, seen in ((None, tally()), (SEGMENTED.segments[0], own))
    )
    assert whole["duplicates"] == pytest.approx([ratio])
    assert segment.keys() == {"novelty", "spread"}


def test_repetition_is_that_of_each_window_alone():
    warm_up = WindowSums.empty(REFERENCE)
    for _ in range(MIN_WINDOWS):
        warm_up = warm_up.add(tally(), REFERENCE)
    ratio = DuplicatesNull(REFERENCE.arrays["hash_counts"], 1.0, math.inf).ratio(HASHES)
    assert warm_up.overdispersion(REFERENCE).of("duplicates", 1) == pytest.approx(ratio)
    alone = Overdispersion.independent(COMPONENTS)
    groups = Overdispersion(50, 40.0, np.eye(COMPONENTS) * 40, {"duplicates": np.array([90.0])})
    repeated = tally(1_000, (1.0, 1.2, 0.98), hash_counts=np.bincount([0] * 1_000, minlength=128))
    windows, both = (build_scorer(REFERENCE, each) for each in (alone, replace(alone, baseline=groups)))
    found = [each.score(repeated).findings["duplicates"] for each in (windows, both)]
    assert found[0] == found[1]
    assert both.misfits({None: repeated}) == frozenset()


def test_variance_of_both_parts_is_that_of_the_windows_count():
    groups = Overdispersion(50, 40.0, np.eye(COMPONENTS) * 40)
    overdispersion = replace(Overdispersion.independent(COMPONENTS), baseline=groups)
    scorer, larger = build_scorer(REFERENCE, overdispersion), tally(4_000, cluster_counts=4 * COUNTS[::-1])
    scorer.score(tally())
    assert scorer.score(larger).p_value == build_scorer(REFERENCE, overdispersion).score(larger).p_value


@pytest.mark.parametrize("number", [None, 0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_recentred_baseline_expects_what_the_warm_up_showed_by_its_share(share, number):
    counts = np.array([10_000, 20_000, 30_000, 40_000])
    sums = np.full(COMPONENTS, 10**9)
    moved = {"cluster_counts": counts, "cluster_outliers": counts // 20, "clipped_coordinate_sums": sums}
    warm_up, other = (tally(100_000, spreads, **moved) for spreads in ((1.1, 1.3, 1.0), (1.05, 1.25, 0.99)))
    own = replace(SEGMENTED.segments[0], arrays=build_segment_arrays(100, MOMENTS))
    baseline = replace(REFERENCE, segments=(own,))
    independent = Overdispersion.independent(COMPONENTS)
    whole, part = (SegmentCalibration(independent, values=warm_up.values, share=share) for _ in range(2))
    calibration = Calibration(
        Source.WARM_UP, HOUR_MS, 0, 0, len(warm_up.values), whole, {(own.key, own.value): part}
    )
    found = []
    for reference in (baseline, calibration.recentre(baseline)):
        segment = None if number is None else reference.segments[number]
        compared = reference if segment is None else segment
        nulls = [each.null(reference, segment, independent) for each in (MEAN_SHIFT, NOVELTY, SPREAD)]
        tested = [null.test(warm_up) for null in nulls]
        found.append((compared.counts / compared.counts.sum(), *tested, nulls[-1].test(other)))
    (shares, shift, novelty, spread, _), (new_shares, left, new_novelty, new_spread, lesser) = found
    assert new_shares == pytest.approx(share * counts / 100_000 + (1 - share) * shares, abs=1e-4)
    assert left.centroid_distance == pytest.approx((1 - share) * shift.centroid_distance, abs=1e-9)
    assert new_novelty.excess == pytest.approx((1 - share) * novelty.excess, abs=0.001)
    for was, now, mean, more, power in zip(
        spread.tests, new_spread.tests, (1.0, 1.2, 0.98), (0.1, 0.1, 0.02), (1, 1, 8), strict=True
    ):
        scale = (mean / (mean + share * more)) ** power
        assert now.change == pytest.approx((1 + was.change) * scale - 1, abs=1e-4)
    # Not between the mean of the warm-up and that of vectors that the components were fitted on.
    assert share < 1 or max(lesser.p_values) < 1e-6


def test_baseline_without_spread_has_no_test():
    here = SPREAD.null(RICH, None, Overdispersion.independent(COMPONENTS))
    assert here.test(tally()) == Spread(None, None, None)
    assert here.standardized(tally()).tolist() == [0, 0, 0]
    assert here.least(1_000, 1e-4) is None
