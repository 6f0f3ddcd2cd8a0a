"""The Cauchy combination of p-values: formula, extreme values, level."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.statistics.combination import combine

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=5)


@given(st.lists(st.floats(1e-6, 0.99), min_size=1, max_size=5))
def test_combine_is_p_value_of_mean_cauchy_variable(p_values):
    mean = np.mean([math.tan(math.pi * (0.5 - p_value)) for p_value in p_values])
    assert combine(p_values) == pytest.approx(0.5 - math.atan(mean) / math.pi, abs=1e-9)


@given(P_VALUES)
def test_combine_returns_same_p_value_in_any_order(p_values):
    combined = combine(p_values)
    assert sys.float_info.min <= combined <= 0.99 * (1 + 1e-12)
    assert combine(p_values[::-1]) == pytest.approx(combined, rel=1e-12)


@given(P_VALUES, st.floats(0, 1), st.floats(0, 1))
def test_combine_is_monotonic_in_each_p_value(others, one, other):
    assert combine([*others, min(one, other)]) <= combine([*others, max(one, other)]) * (1 + 1e-12)


@pytest.mark.parametrize("p_value", [0.0, 5e-324, sys.float_info.min])
def test_combine_of_smallest_p_values_is_normal_number(p_value):
    assert combine([p_value, p_value, p_value]) == pytest.approx(sys.float_info.min)
    assert combine([p_value, 0.5, 0.5]) == pytest.approx(3 * sys.float_info.min)


def test_combine_keeps_small_p_value_beside_ones_near_one():
    assert combine([1e-6, 1.0, 1.0]) == pytest.approx(3e-6, rel=1e-3)


@pytest.mark.parametrize("p_values", [[], [0.5, -0.1], [1.1], [math.nan, 0.5]])
def test_combine_rejects_invalid_p_values(p_values):
    with pytest.raises(ValueError, match="not p-values"):
        combine(p_values)
