"""The test of the mean along the minor components: its level and its power, and what it leaves out."""

from dataclasses import replace

import numpy as np
import pytest

from driftgauge.core.counting.projection import MINOR_COMPONENTS
from driftgauge.core.counting.tally import CLUSTER_COUNTS, Directions, Tally, TallyField
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.minor_shift import (
    MINOR_DIRECTIONS,
    MINOR_MOMENTS,
    MINOR_SHIFT,
    MINOR_SUMS,
    known_variances,
)
from driftgauge.core.statistics.nulls.means_null import describe
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.streams import to_reference
from tests.builders.baselines import fit

DIMENSION, COUNT = 64, 200
SCALE = np.arange(1, DIMENSION + 1) ** -0.5


def draw(random: np.random.Generator, *shape: int) -> np.ndarray:
    return (random.standard_t(5, (*shape, DIMENSION)) * SCALE).astype(np.float32)


@pytest.fixture(scope="module")
def references():
    return [
        to_reference(fit(draw(np.random.default_rng(seed), 4_000), clusters=4, seed=seed))
        for seed in range(6)
    ]


def varies(reference):
    return reference.arrays[MINOR_MOMENTS][2] > 0


def count(reference, vectors):
    """Return the sums along the minor components that the service counts of vectors."""
    events = registry.place(reference, vectors, reference.centroids.assign(vectors))
    (added,) = MINOR_SHIFT.measure(events)
    return added.vectors.sum(axis=0) @ added.directions


def tally_of(events, sums):
    fields = (TallyField(CLUSTER_COUNTS, 1), TallyField(MINOR_SUMS, MINOR_COMPONENTS))
    return Tally(np.array([events, *sums]).astype(np.int64), fields)


def find(reference, vectors, overdispersion=None):
    """Return the finding of a window, and what the overdispersion is measured by."""
    tally = tally_of(len(vectors), count(reference, vectors))
    known = overdispersion or Overdispersion.independent(reference.components)
    null = MINOR_SHIFT.null(reference, None, known)
    return null.test(tally), null.standardized(tally)


def test_level_holds_for_new_vectors(references):
    random = np.random.default_rng(7)
    found = [find(each, draw(random, COUNT)) for each in references for _ in range(150)]
    p_values = np.array([finding.p_value for finding, _ in found])
    assert (p_values < 0.05).mean() == pytest.approx(0.05, abs=0.025)
    squares = np.square([standardized for _, standardized in found]).mean(axis=0)
    assert squares[squares > 0] == pytest.approx(1, abs=0.3)
    assert np.mean([finding.excess for finding, _ in found]) == pytest.approx(0, abs=0.02)


def test_windows_vary_no_less_than_independent_events(references):
    reference, vectors = references[0], draw(np.random.default_rng(9), COUNT) + np.float32(0.03)
    ones = {MINOR_SHIFT.name: np.ones(MINOR_COMPONENTS)}
    few = Overdispersion(20, 1.0, np.eye(reference.components), ones)
    assert find(reference, vectors, few)[0].excess == find(reference, vectors)[0].excess


def test_few_groups_and_heavy_tails_make_test_weaker(references):
    reference, vectors = references[0], draw(np.random.default_rng(9), COUNT) + np.float32(0.03)
    groups = replace(Overdispersion.independent(reference.components), kurtosis=0.2)
    assert find(reference, vectors)[0].p_value < find(reference, vectors, groups)[0].p_value
    count, mean, variance, skewness, kurtosis = reference.arrays[MINOR_MOMENTS]
    arrays = {**reference.arrays, MINOR_MOMENTS: np.stack([count, mean, variance, skewness, 50 * kurtosis])}
    least = [
        MINOR_SHIFT.null(each, None, Overdispersion.independent(each.components)).least(COUNT, 0.01)
        for each in (reference, replace(reference, arrays=arrays))
    ]
    assert least[0] < 0.9 * least[1]


def test_component_of_rare_numbers_is_not_tested():
    random = np.random.default_rng(11)
    numbers = random.standard_normal((1_000, MINOR_COMPONENTS))
    numbers[:, 1] = np.where(random.random(1_000) < 0.002, 1.0, 0.0)
    numbers[:, 2] = 0
    moments = MINOR_SHIFT.fit({MINOR_SUMS: numbers}, np.zeros(1_000, bool))[MINOR_MOMENTS]
    assert not moments[:, 1:3].any()
    assert moments[2, [0, 3]].all()
    assert known_variances(describe(numbers[:, :4])).tolist() == [True, False, False, True]


def test_direction_of_rare_numbers_is_no_component():
    vectors = draw(np.random.default_rng(15), 2_000)
    vectors[:, -1] = 0
    vectors[:4, -1] = 1
    # Half of them are fitted on.
    minor = fit(vectors, clusters=4, keep_all=True).arrays[MINOR_DIRECTIONS]
    assert np.abs(minor[:, -1]).max() < 0.5


def test_window_is_compared_with_mean_after_warm_up(references):
    reference = references[0]
    vectors = draw(np.random.default_rng(16), 2_000) + np.float32(0.05)
    tally = tally_of(len(vectors), count(reference, vectors))
    arrays = {**reference.arrays, **MINOR_SHIFT.recentre(reference, None, tally, 1.0)}
    assert find(reference, vectors)[0].p_value < 1e-6
    assert find(replace(reference, arrays=arrays), vectors)[0].p_value == pytest.approx(1)


def test_nothing_is_counted_against_baseline_without_minor_components():
    random = np.random.default_rng(12)
    baseline = fit(random.normal(size=(1_000, 8)), clusters=4)
    reference, vectors = to_reference(baseline), random.normal(size=(50, 8)).astype(np.float32)
    # A p-value of 1 would weaken the combined one, and fitting again would not help.
    assert MINOR_SHIFT not in registry.counted(reference.arrays)
    assert baseline.untested == ()
    assert not MINOR_SHIFT.fields.keys() & {each.name for each in registry.fields_of(reference)}
    events = registry.place(reference, vectors, reference.centroids.assign(vectors))
    assert not any(isinstance(each, Directions) for each in registry.measure(reference, events))
