"""Power and least drift: against known figures, scipy and simulated windows."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import chdtri, chndtr, chndtrinc, fdtri, ncfdtr

from driftgauge.core.judging.scoring import least_drift
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.divergence import DIVERGENCE
from driftgauge.core.statistics.mean_shift import MEAN_SHIFT
from driftgauge.core.statistics.power import POWER, js_divergence_power, js_needed, mean_shift_power
from driftgauge.recorded.planning import resolve_reference
from tests.examples import examples

HOURLY = 1 / 8_766
JS_SHARE = DIVERGENCE.weights[0] / registry.total_weight()
T2_SHARE = MEAN_SHIFT.weights[0] / registry.total_weight()
LEVELS = st.floats(-11, -2).map(lambda exponent: 10**exponent)


@st.composite
def references(draw):
    components = draw(st.integers(1, 64))
    return resolve_reference(
        None,
        clusters=draw(st.integers(2, 200)),
        components=components,
        baseline_count=draw(st.one_of(st.none(), st.integers(components + 2, 10**9))),
        overdispersion=draw(st.floats(1, 5)),
    )


@pytest.mark.parametrize(
    ("clusters", "at_a_tenth", "at_half_of_that"),
    [(5, 417, 1_667), (10, 520, 2_078), (20, 658, 2_629), (50, 924, 3_694)],
)
def test_least_count_of_histogram_matches_noncentral_chi_squared(clusters, at_a_tenth, at_half_of_that):
    # 80 % power at a level of .001 for the test alone, against an infinite baseline.
    assert math.ceil(js_needed(clusters, 0.001) / 0.1**2) == at_a_tenth
    assert math.ceil(js_needed(clusters, 0.001) / 0.05**2) == at_half_of_that


@given(st.integers(2, 500), LEVELS)
def test_least_divergence_matches_scipys_inverse(clusters, level):
    expected = chndtrinc(chdtri(clusters - 1, level), clusters - 1, 1 - POWER)
    assert js_needed(clusters, level) * 8 * math.log(2) == pytest.approx(expected, rel=1e-9)


@given(st.integers(2, 500), LEVELS)
def test_histogram_power_without_drift_is_level(clusters, level):
    assert js_divergence_power(0.0, clusters, level) == pytest.approx(level, rel=1e-4)


@given(st.integers(1, 64), st.integers(66, 10**15), LEVELS)
def test_mean_power_without_drift_is_level(components, baseline_count, level):
    assert mean_shift_power(0.0, components, baseline_count, level) == pytest.approx(level, rel=1e-4)


@given(st.integers(2, 200), LEVELS, st.floats(0, 100))
def test_histogram_power_is_that_of_noncentral_chi_squared(clusters, level, noncentrality):
    expected = 1 - chndtr(chdtri(clusters - 1, level), clusters - 1, noncentrality)
    assert js_divergence_power(noncentrality, clusters, level) == pytest.approx(expected, abs=1e-9)


@given(st.integers(1, 64), st.integers(66, 10**6), LEVELS, st.floats(0, 100))
def test_mean_power_is_hotellings(components, baseline_count, level, noncentrality):
    degrees = baseline_count - components
    expected = 1 - ncfdtr(components, degrees, noncentrality, fdtri(components, degrees, 1 - level))
    power = mean_shift_power(noncentrality, components, baseline_count, level)
    assert power == pytest.approx(expected, abs=1e-6)


@settings(max_examples=examples(50))
@given(references(), LEVELS, st.integers(1, 10**9))
def test_least_drift_has_target_power(reference, level, count):
    clusters, components = reference.centroids.clusters, reference.components
    effective = 1 / (1 / count + 1 / reference.mean_count) / reference.overdispersion.counts
    least = least_drift(reference, count, level)
    noncentrality = 8 * math.log(2) * effective * least["js_divergence"]
    if noncentrality < math.inf:
        power = js_divergence_power(noncentrality, clusters, level * JS_SHARE)
        assert power == pytest.approx(POWER, abs=1e-6)
    noncentrality = effective * least["mean_shift"]
    if noncentrality < math.inf:
        power = mean_shift_power(noncentrality, components, reference.mean_count, level * T2_SHARE)
        assert power == pytest.approx(POWER, abs=1e-6)


# Each is a case in which scipy's ncfdtr is NaN.
@pytest.mark.parametrize(
    ("noncentrality", "components", "baseline_count", "level"),
    [(10**3.2, 1, 1_000, 0.01), (10**3.3, 32, 10_000, 1e-11), (10**3.4, 2, 100, 1e-11), (4_000, 1, 7, 0.01)],
)
def test_power_at_large_shift_is_full(noncentrality, components, baseline_count, level):
    assert mean_shift_power(noncentrality, components, baseline_count, level) == 1


@given(st.integers(1, 64), st.integers(2, 10**6), LEVELS, st.floats(1e3, 1e4), st.floats(1, 1.1))
def test_mean_power_does_not_fall_with_shift(components, more, level, noncentrality, growth):
    powers = [
        mean_shift_power(value, components, components + more, level)
        for value in (noncentrality, growth * noncentrality)
    ]
    assert 0 <= powers[0] <= powers[1] + 1e-9 <= 1 + 1e-9


@pytest.mark.parametrize("baseline_count", [2, 31, 32])
def test_baseline_with_too_few_events_has_no_mean_power(baseline_count):
    assert mean_shift_power(1e9, 32, baseline_count, 0.01) == 0
    reference = resolve_reference(None, baseline_count=baseline_count)
    assert least_drift(reference, 10**6, 0.01)["mean_shift"] == math.inf
