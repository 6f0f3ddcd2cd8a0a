"""The CUSUM detector of slow drift: run length without drift, clipping."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import lambertw, ndtr

from driftgauge.core.statistics.cusum import advance, threshold

P_VALUES = st.floats(0, 1)
STATISTICS = st.floats(0, 1_000)


def average_run_length(limit, cells=400):
    """The exact average run length without drift, with clipped z: a Markov chain over cells.

    Source: D. Brook and D. A. Evans, An approach to the probability distribution of CUSUM run
    length, Biometrika 59, 1972.
    """
    ends = np.arange(1, cells + 1) * limit / cells
    states = np.concatenate([[0.0], ends - limit / cells / 2])
    steps = np.concatenate([[0.0], ends]) - states[:, None] + 0.5
    at_most = np.where(steps >= 4, 1.0, ndtr(steps))
    moves = np.diff(at_most, axis=1, prepend=0.0)
    return np.linalg.solve(np.eye(cells + 1) - moves, np.ones(cells + 1))[0]


@pytest.mark.parametrize("windows", [10, 50, 202, 1_000, 8_766, 1_000_000])
def test_threshold_has_exact_average_run_length(windows):
    assert average_run_length(threshold(windows)) == pytest.approx(windows, rel=0.02)


@given(STATISTICS, P_VALUES, P_VALUES)
def test_advance_is_monotonic_in_p_value(statistic, one, other):
    assert advance(statistic, min(one, other)) >= advance(statistic, max(one, other))


def test_advance_matches_hand_computed_steps():
    assert advance(0.0, 0.5) == 0
    assert advance(2.0, 0.5) == 1.5
    assert advance(1.0, float(ndtr(-2))) == pytest.approx(2.5)
    assert advance(0.0, 0.9) == 0


@pytest.mark.parametrize(("p_value", "after"), [(0.0, 13.5), (1e-300, 13.5), (1e-20, 13.5), (1.0, 5.5)])
def test_advance_clips_extreme_p_values(p_value, after):
    assert advance(10.0, p_value) == after


@given(st.floats(10, 1_000))
def test_threshold_matches_scipys_lambert_function(windows):
    base = windows / 2 + 1
    expected = -base - lambertw(-np.exp(-base), -1).real - 1.166
    assert threshold(windows) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("windows", [9.9, 0, -1, math.nan, math.inf])
def test_threshold_rejects_run_length_below_ten_or_infinite(windows):
    with pytest.raises(ValueError, match="at least 10 windows"):
        threshold(windows)
