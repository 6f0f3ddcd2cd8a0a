"""The CUSUM detector of slow drift: run length without drift, detection delay, clipping."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import lambertw, ndtr

from driftgauge.core.statistics.cusum import advance, threshold

P_VALUES = st.floats(0, 1)
STATISTICS = st.floats(0, 1_000)


def run_length(random, limit, mean):
    """The number of windows until the statistic reaches a limit, for z with this mean."""
    statistic, windows = 0.0, 0
    while statistic < limit:
        statistic = advance(statistic, float(ndtr(-random.normal(mean))))
        windows += 1
    return windows


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


@pytest.mark.parametrize(("windows", "runs"), [(50, 2_000), (500, 800)])
def test_threshold_has_average_run_length_in_simulation(windows, runs):
    random = np.random.default_rng(windows)
    lengths = [run_length(random, threshold(windows), mean=0) for _ in range(runs)]
    # Run lengths are about exponential, so their standard error is mean / sqrt(runs): three of these
    # and the 2 % of the approximation.
    assert np.mean(lengths) == pytest.approx(windows, rel=0.02 + 3 / math.sqrt(runs))


@pytest.mark.parametrize(("mean", "delay"), [(1.0, 14.8), (0.5, 70.3)])
def test_detection_delay_is_that_of_siegmund(mean, delay):
    # Siegmund's approximation, b = 8.39: 2 (exp(-b) + b - 1) at 1, and b^2 at 1/2, where the
    # statistic has no trend. That is good to 5 %, and the standard error of the mean is below 3 %.
    random = np.random.default_rng(1)
    lengths = [run_length(random, threshold(8_766), mean) for _ in range(1_000)]
    assert np.mean(lengths) == pytest.approx(delay, rel=0.12)


def test_single_windows_rarely_find_shift_that_detector_finds():
    # A shift of z of 1 is significant at the level of a page a year in less than 1 of 200 windows.
    level = 1 / 8_766
    random = np.random.default_rng(2)
    assert np.mean(ndtr(-random.normal(1, size=20_000)) < level) < 1 / 200


@given(STATISTICS, P_VALUES)
def test_advance_stays_within_clipped_steps_and_above_zero(statistic, p_value):
    after = advance(statistic, p_value)
    assert 0 <= after <= statistic + 3.5 + 1e-9
    assert after >= statistic - 4.5 - 1e-9


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


def test_single_window_does_not_reach_threshold_of_202_windows():
    assert advance(0.0, 0.0) < threshold(202)
    assert advance(advance(0.0, 0.0), 0.0) > threshold(1_000)


@given(st.floats(10, 1e12), st.floats(10, 1e12))
def test_threshold_is_monotonic_in_run_length(one, other):
    assert 0 < threshold(min(one, other)) <= threshold(max(one, other))


@given(st.floats(10, 1e12))
def test_threshold_solves_siegmunds_equation(windows):
    b = threshold(windows) + 1.166
    assert 2 * (math.exp(b) - b - 1) == pytest.approx(windows, rel=1e-9)


@given(st.floats(10, 1_000))
def test_threshold_matches_scipys_lambert_function(windows):
    base = windows / 2 + 1
    expected = -base - lambertw(-np.exp(-base), -1).real - 1.166
    assert threshold(windows) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("windows", [9.9, 0, -1, math.nan, math.inf])
def test_threshold_rejects_run_length_below_ten_or_infinite(windows):
    with pytest.raises(ValueError, match="at least 10 windows"):
        threshold(windows)
