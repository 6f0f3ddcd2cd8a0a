"""The tail of quadratic forms in normal variables: exact cases, simulation, extreme values."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import chdtrc, chdtri, fdtrc

from driftgauge.core.statistics.quadratic_form import QuadraticForm, effective_degrees
from tests.builders.statistics import SPECTRA, draw_sums, find_quantile

WEIGHTS = st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=32)


@pytest.mark.parametrize(("number", "error"), [(1, 0.09), (2, 0.05), (5, 0.011), (32, 0.002)])
@pytest.mark.parametrize("p_value", [0.5, 0.1, 1e-2, 1e-3, 1e-4])
def test_tail_of_equal_weights_is_chi_squared(number, error, p_value):
    form = QuadraticForm(np.full(number, 7.0), math.inf)
    assert form.tail(7.0 * chdtri(number, p_value)) == pytest.approx(p_value, rel=error)


@pytest.mark.parametrize(("number", "error"), [(1, 0.09), (2, 0.05), (5, 0.011), (32, 0.002)])
@pytest.mark.parametrize("degrees", [20, 500.5])
@pytest.mark.parametrize("ratio", [0.01, 0.5, 1.0, 2.0, 4.0])
def test_tail_of_equal_estimated_weights_is_f(number, error, degrees, ratio):
    form = QuadraticForm(np.full(number, 7.0), degrees)
    expected = fdtrc(number, degrees, ratio)
    if expected > 1e-6:
        assert form.tail(7.0 * number * ratio) == pytest.approx(expected, rel=error)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("degrees", [40.0, math.inf])
def test_tail_matches_simulated_sums(name, degrees):
    # At 1e-2 three standard errors of the rate are 10 % of it, and the approximation errs by 3 %.
    weights = np.array(SPECTRA[name])
    random = np.random.default_rng(0)
    sums = draw_sums(weights, degrees, 100_000, random)
    for p_value, error in ((0.3, 0.05), (1e-2, 0.13)):
        assert (sums > find_quantile(weights, degrees, p_value)).mean() == pytest.approx(p_value, rel=error)


@given(WEIGHTS, st.floats(5, 1e6), st.floats(0, 1e12), st.floats(0, 1e12))
def test_tail_is_falling_probability(weights, degrees, one, other):
    form = QuadraticForm(np.array(weights), degrees)
    near, far = form.tail(min(one, other)), form.tail(max(one, other))
    assert sys.float_info.min <= far <= near * (1 + 1e-4) <= 1 + 1e-4


@given(WEIGHTS, st.floats(1e-3, 1e3), st.floats(0.1, 10))
def test_tail_is_independent_of_unit(weights, scale, ratio):
    plain, scaled = (QuadraticForm(np.array(weights) * factor, 50) for factor in (1, scale))
    total = sum(weights)
    assert scaled.tail(ratio * total * scale) == pytest.approx(plain.tail(ratio * total), rel=1e-5)


@pytest.mark.parametrize("number", [1, 2, 32])
def test_tail_is_smooth_at_mean(number):
    form = QuadraticForm(np.full(number, 1 / number), math.inf)
    values = 1 + np.linspace(-1e-3, 1e-3, 2_001)
    steps = np.diff([form.tail(value) for value in values])
    slope = chdtrc(number, number * values[1:]) - chdtrc(number, number * values[:-1])
    np.testing.assert_allclose(steps, slope, rtol=0.05, atol=1e-5)


@pytest.mark.parametrize("degrees", [20.0, math.inf])
def test_tail_of_extreme_values_is_valid(degrees):
    form = QuadraticForm(np.array(SPECTRA["images"]), degrees)
    assert form.tail(0.0) == 1.0
    assert form.tail(5e-324) == 1.0
    assert form.tail(1e-20) == pytest.approx(1.0)
    assert sys.float_info.min <= form.tail(1e300) < 1e-60


@given(st.lists(st.floats(1e-2, 1e2), min_size=1, max_size=32), st.floats(5, 1e4), st.floats(1e-2, 1e2))
def test_saddlepoint_matches_brentq(weights, degrees, ratio):
    form = QuadraticForm(np.array(weights), degrees)
    shares, opposite = np.array(weights) / sum(weights), ratio / degrees

    def derivative(point):
        return (shares / (1 - 2 * point * shares)).sum() - ratio / (1 + 2 * point * opposite)

    low, high = -0.5 / opposite * (1 - 1e-9), 0.5 / shares.max() * (1 - 1e-9)
    expected = brentq(derivative, low, high, xtol=1e-14)
    assert form._saddlepoint(ratio) == pytest.approx(expected, rel=1e-6, abs=1e-8)


def test_effective_degrees_of_few_large_weights_are_few():
    assert effective_degrees(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_degrees(np.array([5.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_degrees(np.array(SPECTRA["images"])) == pytest.approx(8.4, abs=0.2)
