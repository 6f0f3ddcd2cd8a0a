"""The statistics on tallies: what windows are compared with, and what the overdispersion is measured by."""

import math
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.statistics.duplicates import DuplicatesNull
from driftgauge.core.statistics.novelty import NOVELTY
from driftgauge.core.statistics.spread import SPREAD, Spread, SpreadMoments
from driftgauge.core.windows.warm_up import WarmUp
from tests.builders.batches import build_values, read_tally
from tests.builders.references import COMPONENTS, RICH, SEGMENTED, build_arrays

COUNTS = np.array([400, 300, 200, 100])
OUTLIERS = np.array([6, 4, 3, 2])
MOMENTS = (
    SpreadMoments(50_000, 1.0, 0.5, 1.0, 4.0, 0.03),
    SpreadMoments(40_000, 1.2, 0.25, 0.5, 3.5, 0.04),
)
HASHES = np.arange(128) % 8
REFERENCE = replace(RICH, arrays=build_arrays(np.full(128, 500), MOMENTS))


def tally(spreads=(1.1, 1.3), parts=(0.05, 0.06)):
    """A tally of a thousand events with these mean spreads, and with these parts of them from outliers."""
    sums, of_outliers = (np.rint(1_000 * np.array(each) / SPREAD_STEP) for each in (spreads, parts))
    return read_tally(
        build_values(
            cluster_counts=COUNTS,
            cluster_outliers=OUTLIERS,
            hash_counts=HASHES,
            spread_sums=sums,
            outlier_spread_sums=of_outliers,
        )
    )


def test_standardized_values_are_in_standard_errors_of_the_window():
    novelty, spread = (each.null(REFERENCE, None, None).standardized(tally()) for each in (NOVELTY, SPREAD))
    errors = [math.sqrt(each.variance / 1_000) for each in MOMENTS]
    assert spread == pytest.approx([0.1 / errors[0], 0.1 / errors[1]], rel=1e-3)
    # 15 outliers among 1,000 events, of which about 0.01 lie beyond the radius.
    assert novelty == pytest.approx([5 / math.sqrt(9.9)], rel=0.02)


def test_repetition_is_measured_of_whole_but_not_of_segment():
    ratio = DuplicatesNull(REFERENCE.arrays["hash_counts"], 1.0, math.inf).ratio(HASHES)
    whole, segment = (
        WarmUp.empty(tally().fields, COMPONENTS).add(tally(), REFERENCE, part).windows.others
        for part in (None, SEGMENTED.segments[0])
    )
    assert whole["duplicates"] == pytest.approx([ratio])
    assert segment.keys() == {"novelty", "spread"}


def test_baseline_without_spread_has_no_test():
    here = SPREAD.null(RICH, None, None)
    assert here.test(tally()) == Spread(None, None)
    assert here.standardized(tally()).tolist() == [0, 0]
    assert here.least(1_000, 1e-4) == math.inf
