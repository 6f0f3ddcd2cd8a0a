"""The tests of novelty, spread and duplicates on tallies: their sums, and their overdispersion."""

import math
from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.projection import SPREAD_STEP
from driftgauge.core.counting.tally import Tally
from driftgauge.core.statistics.duplicates import DuplicatesNull
from driftgauge.core.statistics.novelty import NoveltyNull
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.spread import Spread, SpreadMoments, SpreadNull
from driftgauge.core.statistics.target_power import POWER
from driftgauge.core.windows.distance_tests import DistanceTests, distances_of
from tests.builders.references import COMPONENTS, RICH, SEGMENTED
from tests.builders.results import plain

COUNTS = np.array([400, 300, 200, 100])
OUTLIERS = np.array([6, 4, 3, 2])
MOMENTS = (
    SpreadMoments(50_000, 1.0, 0.5, 1.0, 4.0, 0.03),
    SpreadMoments(40_000, 1.2, 0.25, 0.5, 3.5, 0.04),
)
HASHES = np.arange(128) % 8
REFERENCE = replace(RICH, spreads=MOMENTS, hash_counts=np.full(128, 500))
RELATED = Overdispersion(40, 3.0, np.eye(COMPONENTS), np.array([2.0, 3.0, 4.0, 5.0]))


def tally(spreads=(1.1, 1.3), parts=(0.05, 0.06)):
    """A tally of a thousand events with these mean spreads, and with these parts of them from outliers."""
    sums = np.rint(1_000 * np.array([*spreads, *parts]) / SPREAD_STEP).astype(np.int64)
    return Tally(
        np.concatenate([COUNTS, OUTLIERS, HASHES, np.zeros(COMPONENTS, np.int64), sums]), len(COUNTS)
    )


@pytest.mark.parametrize(("overdispersion", "windows"), [(None, math.inf), (RELATED, 40)])
def test_tests_read_sums_of_tally(overdispersion, windows):
    here = DistanceTests(REFERENCE, overdispersion)
    inflations = [1.0] * 3 if overdispersion is None else [2.0, 3.0, 4.0]
    novelty = NoveltyNull(*RICH.outlier_shares, inflations[0], windows)
    components, residual = (
        SpreadNull(moments, inflation, windows)
        for moments, inflation in zip(MOMENTS, inflations[1:3], strict=True)
    )
    assert plain(here.novelty(tally())) == plain(novelty.test(OUTLIERS, COUNTS))
    found = here.spread(tally())
    for change, expected in zip(
        found.changes,
        (components.test(1.1, 0.05, 1_000), residual.test(1.3, 0.06, 1_000)),
        strict=True,
    ):
        assert change.change == pytest.approx(expected.change, abs=1e-6)
        assert change.outliers == pytest.approx(expected.outliers, abs=1e-6)
        assert change.p_value == pytest.approx(expected.p_value, rel=1e-3)
    assert here.least_novelty(1_000, 1e-4) == novelty.least_excess(1_000, 1e-4)
    found = here.least_spread(1_000, 1e-4)
    powers = [each.power(found, 1_000, 1e-4) for each in (components, residual)]
    assert 1 - (1 - powers[0]) * (1 - powers[1]) == pytest.approx(POWER, abs=1e-4)


def test_standardized_values_are_in_standard_errors():
    values = DistanceTests(REFERENCE, None).standardized(tally())
    errors = [math.sqrt(each.variance * (1 / 1_000 + 1 / each.count)) for each in MOMENTS]
    assert values[1:] == pytest.approx([0.1 / errors[0], 0.1 / errors[1]], rel=1e-3)
    assert values[0] == NoveltyNull(*RICH.outlier_shares, 1.0, math.inf).standardized(OUTLIERS, COUNTS)


def test_distances_hold_repetition_of_whole_but_not_of_segment():
    values = distances_of(tally(), REFERENCE)
    assert values[:3].tolist() == DistanceTests(REFERENCE, None).standardized(tally()).tolist()
    ratio = DuplicatesNull(REFERENCE.hash_counts, 1.0, math.inf).ratio(HASHES)
    assert values[3] == pytest.approx(math.sqrt(ratio))
    part = SEGMENTED.segments[0]
    values = distances_of(tally(), part)
    assert values.tolist() == [*DistanceTests(part, None).standardized(tally()), 0.0]


def test_baseline_without_spread_has_no_test():
    here = DistanceTests(RICH, None)
    assert here.spread(tally()) == Spread(None, None)
    assert here.standardized(tally())[1:3].tolist() == [0, 0]
    assert here.least_spread(1_000, 1e-4) == math.inf
