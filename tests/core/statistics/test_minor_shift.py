"""The test of the mean along the minor components: its level and its power, and what it leaves out."""

import numpy as np
import pytest

from driftgauge.core.counting.projection import MINOR_COMPONENTS
from driftgauge.core.counting.tally import Directions, Tally
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.minor_shift import (
    MINOR_MOMENTS,
    MINOR_SHIFT,
    MINOR_SPECTRUM,
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


def find(reference, vectors, overdispersion=None):
    """Return the finding of a window, and what the overdispersion is measured by."""
    measured = registry.measure(
        reference, registry.place(reference, vectors, reference.centroids.assign(vectors))
    )
    field = next(each for each in registry.fields_of(reference) if each.name in MINOR_SHIFT.fields)
    sums = measured[-1].vectors.sum(axis=0) @ measured[-1].directions
    counts = np.array([len(vectors)])
    fields = (registry.fields_of(reference)[0]._replace(length=1), field)
    tally = Tally(np.concatenate([counts, sums]).astype(np.int64), fields)
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


def test_shift_along_minor_component_is_found_by_its_size_alone(references):
    reference, random = references[0], np.random.default_rng(8)
    direction = reference.projection.minor[10]
    deviation = np.std(draw(random, 10_000) @ direction)
    vectors = draw(random, 2_000) + direction * np.float32(deviation)
    finding, _ = find(reference, vectors)
    assert finding.excess == pytest.approx(1, abs=0.15)
    assert finding.p_value < 1e-20


def test_overdispersion_makes_p_value_larger(references):
    vectors = draw(np.random.default_rng(9), COUNT) + np.float32(0.03)
    reference = references[0]
    others = {MINOR_SHIFT.name: np.full(MINOR_COMPONENTS, 3.0)}
    varying = Overdispersion(100, 1.0, np.eye(reference.components), others)
    alone, among = (find(reference, vectors, each)[0] for each in (None, varying))
    assert alone.p_value < among.p_value


def test_least_shift_is_found_in_most_windows(references):
    reference, random = references[1], np.random.default_rng(10)
    known = Overdispersion.independent(reference.components)
    least = MINOR_SHIFT.null(reference, None, known).least(COUNT, 0.01)
    moments = reference.arrays[MINOR_MOMENTS]
    tested = np.flatnonzero(moments[2] > 0)
    unit = reference.projection.step * 2.0 ** (9 - 12)
    found = []
    for _ in range(200):
        direction = random.standard_normal(len(tested))
        direction *= np.sqrt(least) / np.linalg.norm(direction)
        along = direction * np.sqrt(moments[2, tested]) * unit
        vectors = draw(random, COUNT) + (along @ reference.projection.minor[tested]).astype(np.float32)
        found.append(find(reference, vectors)[0].p_value < 0.01)
    assert np.mean(found) == pytest.approx(0.8, abs=0.1)


@pytest.mark.parametrize("degrees", [4, 1_000])
def test_chance_makes_no_correlation_in_spectrum(degrees):
    random = np.random.default_rng(13)
    numbers = random.standard_normal((2_000, MINOR_COMPONENTS))
    numbers /= np.sqrt(random.chisquare(degrees, (2_000, 1)) / degrees)

    def spectrum_of(numbers):
        return MINOR_SHIFT.fit({MINOR_SUMS: numbers}, np.zeros(len(numbers), bool))[MINOR_SPECTRUM]

    # By chance they lie between .6 and 1.5, and the test would find too little.
    assert spectrum_of(numbers) == pytest.approx(1, abs=0.1)
    numbers[:, :8] += 2 * numbers[:, :1]
    assert spectrum_of(numbers)[-1] == pytest.approx(6.3, abs=0.7)


def test_component_of_rare_numbers_is_not_tested():
    random = np.random.default_rng(11)
    rare = np.where(random.random(1_000) < 0.002, 1.0, 0.0)
    numbers = np.column_stack([random.standard_normal(1_000), rare, np.zeros(1_000)])
    assert known_variances(describe(numbers)).tolist() == [True, False, False]


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
