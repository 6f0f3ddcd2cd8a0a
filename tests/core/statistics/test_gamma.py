"""Tests of `driftgauge.core.statistics.gamma`."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import pearson3

from driftgauge.core.statistics.gamma import gamma_quantile, gamma_tail


@given(st.floats(-3, 8), st.floats(0.01, 3))
def test_tail_is_that_of_pearsons_third_type(standardized, skewness):
    expected = max(float(pearson3.sf(standardized, skewness)), sys.float_info.min)
    assert gamma_tail(standardized, skewness) == pytest.approx(expected, rel=1e-6)


@given(st.floats(1e-12, 0.5), st.floats(0.01, 3))
def test_quantile_inverts_tail(tail, skewness):
    assert gamma_tail(gamma_quantile(tail, skewness), skewness) == pytest.approx(tail, rel=1e-6)


def test_tail_is_never_zero():
    assert gamma_tail(1e6, 0.1) == sys.float_info.min
    assert gamma_tail(-1e6, 0.1) == 1
