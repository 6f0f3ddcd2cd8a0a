"""The tail of quadratic forms in normal variables: exact cases, extreme values."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import chdtri, fdtrc

from driftgauge.core.statistics.nulls.quadratic_form import QuadraticForm, effective_degrees

# The variances along the leading components of real image embeddings.
OF_IMAGES = np.array([13.2, 7.2, 6.9, 6.4, 5.9, 5.5, 4.6, 4.2, 3.4, 1.8, 0.56, 0.17, 0.08] + 19 * [0.02])
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


@given(WEIGHTS, st.floats(5, 1e6), st.floats(0, 1e12), st.floats(0, 1e12))
def test_tail_is_falling_probability(weights, degrees, one, other):
    form = QuadraticForm(np.array(weights), degrees)
    near, far = form.tail(min(one, other)), form.tail(max(one, other))
    assert sys.float_info.min <= far <= near * (1 + 1e-4) <= 1 + 1e-4


@pytest.mark.parametrize("degrees", [20.0, math.inf])
def test_tail_of_extreme_values_is_valid(degrees):
    form = QuadraticForm(OF_IMAGES, degrees)
    assert form.tail(0.0) == 1.0
    assert form.tail(5e-324) == 1.0
    assert form.tail(1e-20) == pytest.approx(1.0)
    assert sys.float_info.min <= form.tail(1e300) < 1e-60


def test_effective_degrees_of_few_large_weights_are_few():
    assert effective_degrees(np.full(7, 0.3)) == pytest.approx(7)
    assert effective_degrees(np.array([5.0, 0.0, 0.0])) == pytest.approx(1)
    assert effective_degrees(OF_IMAGES) == pytest.approx(8.4, abs=0.2)
