"""The standardized values of novelty, spread and duplicates on tallies."""

import math
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.counting.tally import Tally
from driftgauge.core.statistics.duplicates import DuplicatesNull
from driftgauge.core.statistics.novelty import NoveltyNull
from driftgauge.core.statistics.spread import Spread, SpreadMoments
from driftgauge.core.windows.distance_tests import DistanceTests, deviations_of
from tests.builders.references import COMPONENTS, RICH, SEGMENTED

COUNTS = np.array([400, 300, 200, 100])
OUTLIERS = np.array([6, 4, 3, 2])
MOMENTS = (
    SpreadMoments(50_000, 1.0, 0.5, 1.0, 4.0, 0.03),
    SpreadMoments(40_000, 1.2, 0.25, 0.5, 3.5, 0.04),
)
HASHES = np.arange(128) % 8
REFERENCE = replace(RICH, spreads=MOMENTS, hash_counts=np.full(128, 500))


def tally(spreads=(1.1, 1.3), parts=(0.05, 0.06)):
    """A tally of a thousand events with these mean spreads, and with these parts of them from outliers."""
    sums = np.rint(1_000 * np.array([*spreads, *parts]) / SPREAD_STEP).astype(np.int64)
    return Tally(
        np.concatenate([COUNTS, OUTLIERS, HASHES, np.zeros(COMPONENTS, np.int64), sums]), len(COUNTS)
    )


def test_standardized_values_are_in_standard_errors():
    values = DistanceTests(REFERENCE, None).standardized(tally())
    errors = [math.sqrt(each.variance * (1 / 1_000 + 1 / each.count)) for each in MOMENTS]
    assert values[1:] == pytest.approx([0.1 / errors[0], 0.1 / errors[1]], rel=1e-3)
    assert values[0] == NoveltyNull(*RICH.outlier_shares, 1.0, math.inf).standardized(OUTLIERS, COUNTS)


def test_distances_hold_repetition_of_whole_but_not_of_segment():
    shift = np.array([0.25, -0.5])
    values, repetition = deviations_of(tally(), REFERENCE, shift)
    assert values[:2].tolist() == shift.tolist()
    # The number of outliers is expected to within its standard error; the spreads are a tenth larger.
    assert values[3:] == pytest.approx([0.1 / math.sqrt(0.5), 0.1 / math.sqrt(0.25)], rel=0.02)
    ratio = DuplicatesNull(REFERENCE.hash_counts, 1.0, math.inf).ratio(HASHES)
    assert repetition == pytest.approx(ratio)
    assert deviations_of(tally(), SEGMENTED.segments[0], shift)[1] == 0


def test_baseline_without_spread_has_no_test():
    here = DistanceTests(RICH, None)
    assert here.spread(tally()) == Spread(None, None)
    assert here.standardized(tally())[1:3].tolist() == [0, 0]
    assert here.least_spread(1_000, 1e-4) == math.inf
