"""The tests of spread: exact for normal vectors, of the right level for heavy tails and bursts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, norm, t

from driftgauge.core.statistics.nulls.means_null import describe
from driftgauge.core.statistics.nulls.tails import student_p_value
from driftgauge.core.statistics.spread import Spread, SpreadChange, SpreadNull

COMPONENTS = 32
# The mean of 32 squared standard normal coordinates: chi-squared over its degrees of freedom.
NORMAL = (10**9, 1.0, 2 / COMPONENTS, math.sqrt(8 / COMPONENTS), 3 + 12 / COMPONENTS)


class OneSpread:
    """The null distribution of one spread, three times."""

    def __init__(self, moments=NORMAL, overdispersion=1.0, windows=math.inf, fitted=None):
        means = None if fitted is None else np.full(2, fitted)
        self._null = SpreadNull(np.array([moments] * 3).T, np.full(3, overdispersion), windows, means)

    def test(self, mean, count):
        return self._null.changes(np.full(3, mean), count).components

    def power(self, change, count, level):
        return self._null.power(count, level)(change)[0]


def moments_of(values):
    """Return the moments of one spread."""
    return describe(values[:, None])[:, 0]


@pytest.mark.parametrize("count", [5, 200, 10_000])
def test_p_value_of_normal_vectors_is_exact(count):
    here = OneSpread()
    for level in (0.1, 1e-2, 1e-4, 1e-7, 1e-12):
        degrees = COMPONENTS * count
        upper, lower = (
            here.test(value(level, degrees) / degrees, count).p_value for value in (chi2.isf, chi2.ppf)
        )
        assert upper == pytest.approx(2 * level, rel=2e-3)
        # The lower tail is that of the normal variable, which is heavier.
        assert lower > 1.99 * level


@pytest.mark.parametrize("tail", [5.0, 1.0])
def test_level_holds_for_heavy_tails(tail):
    # Gamma variables with a skewness of 0.9 and 2; each pair has its own baseline.
    random = np.random.default_rng(int(tail))
    p_values = []
    for _ in range(100):
        reference = random.gamma(tail, size=2_000)
        here = OneSpread(moments_of(reference))
        p_values += [
            here.test(float(mean), 100).p_value for mean in random.gamma(tail, size=(50, 100)).mean(axis=1)
        ]
    assert np.mean(np.array(p_values) < 0.1) == pytest.approx(0.1, abs=0.02)
    assert np.mean(np.array(p_values) < 0.01) == pytest.approx(0.01, abs=0.005)


@given(st.floats(0.5, 2), st.integers(1, 10**6), st.floats(-0.5, 3), st.floats(1, 20))
def test_p_value_falls_with_size_of_change(mean, count, skewness, overdispersion):
    moments = (10_000, 1.0, 0.5, skewness, 3.0)
    here = OneSpread(moments, overdispersion, 50)
    near, far = (here.test(value, count) for value in (mean, 1 + 1.5 * (mean - 1)))
    assert 0 < far.p_value <= 1
    # A skewed mean has its median beside 0.
    assert far.p_value <= near.p_value or near.p_value > 0.8
    assert near.change == pytest.approx(mean - 1)


@pytest.mark.parametrize("fitted", [0.9, 1.1])
def test_change_is_that_beyond_means_of_new_and_fitted_vectors(fitted):
    here = OneSpread(fitted=fitted)
    assert all(here.test(mean, 100).p_value > 0.9 for mean in (fitted, 1.0, (1 + fitted) / 2))
    for mean in (0.8, 1.2):
        nearest = float(np.clip(mean, min(fitted, 1), max(fitted, 1)))
        expected = OneSpread().test(1 + mean - nearest, 100).p_value
        assert here.test(mean, 100).p_value == pytest.approx(expected)
    assert here.power(0.2, 100, 0.01) == pytest.approx(
        OneSpread().power(min(0.2, 1.2 - fitted), 100, 0.01), rel=0.2
    )


@pytest.mark.parametrize("values", [np.full(100, 0.7), np.arange(19.0), np.zeros(0)])
def test_equal_and_few_numbers_have_no_moments(values):
    """The kurtosis of few is bounded by their number, so the test would believe their variance."""
    assert not describe(values[:, None]).any()
    assert describe(np.arange(20.0)[:, None]).any()


@pytest.mark.parametrize("skewness", [0.01, 1.0, 10.0, 30.0, -10.0])
def test_window_like_baseline_is_not_significant_at_any_skewness(skewness):
    for count, overdispersion in ((1, 1.0), (1, 1e4), (100, 50.0)):
        here = OneSpread((10_000, 1.0, 0.5, skewness, skewness**2 + 3), overdispersion)
        assert here.test(1.0, count).p_value > 0.03


@pytest.mark.parametrize("mean", [0.5, 0.68, 1.5])
@pytest.mark.parametrize("skewness", [-3.0, 0.5, 5.0, 10.0])
def test_overdispersion_does_not_lower_p_value(skewness, mean):
    moments = (10_000, 1.0, 0.5, skewness, skewness**2 + 3)
    p_values = [OneSpread(moments, phi).test(mean, 100).p_value for phi in (1.0, 2.0, 4.0, 8.0, 50.0)]
    assert p_values == sorted(p_values)


def test_spreads_excess_is_the_larger():
    small, large = (SpreadChange(0.1, excess, 0.5) for excess in (0.05, 0.08))
    assert Spread(small, large).excess == 0.08
    assert Spread(large, None).excess == 0.08
    assert Spread(None, None).excess == 0


@given(st.floats(0, 30), st.integers(20, 10_000))
def test_student_p_value_is_that_of_estimated_deviation(z, windows):
    assert student_p_value(float(norm.sf(z)), windows) == pytest.approx(t.sf(z, windows), rel=1e-9)
