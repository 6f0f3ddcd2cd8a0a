"""The tail of quadratic forms in normal variables: exact cases, simulation, extreme values."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtri, fdtrc

from driftgauge.core.statistics.nulls.quadratic_form import QuadraticForm, effective_degrees
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


@pytest.mark.parametrize("degrees", [20.0, math.inf])
def test_tail_of_extreme_values_is_valid(degrees):
    form = QuadraticForm(np.array(SPECTRA["images"]), degrees)
    assert form.tail(0.0) == 1.0
    assert form.tail(5e-324) == 1.0
    assert form.tail(1e-20) == pytest.approx(1.0)
    assert sys.float_info.min <= form.tail(1e300) < 1e-60


def test_effective_degrees_of_few_large_weights_are_few():
    assert effective_degrees(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_degrees(np.array([5.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_degrees(np.array(SPECTRA["images"])) == pytest.approx(8.4, abs=0.2)
