"""The detector of slow drift: run length without drift, delay with it, no say for a single window."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import ndtr

from driftgauge.core.statistics.cusum import advance, threshold

P_VALUES = st.floats(0, 1)
STATISTICS = st.floats(0, 1_000)


def run_length(random, limit, mean):
    """Windows until the statistic reaches a limit, where z has a mean."""
    statistic, windows = 0.0, 0
    while statistic < limit:
        statistic = advance(statistic, float(ndtr(-random.normal(mean))))
        windows += 1
    return windows


def average_run_length(limit, cells=400):
    """The exact average run length without drift, z clipped as it is: a Markov chain over cells.

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
def test_the_threshold_has_the_run_length_asked_for(windows):
    assert average_run_length(threshold(windows)) == pytest.approx(windows, rel=0.02)


@pytest.mark.parametrize(("windows", "runs"), [(50, 2_000), (500, 800)])
def test_windows_without_drift_take_as_long_in_simulation(windows, runs):
    random = np.random.default_rng(windows)
    lengths = [run_length(random, threshold(windows), mean=0) for _ in range(runs)]
    # Run lengths are about exponential, so their standard error is mean / sqrt(runs): three of these
    # and the 2 % of the approximation.
    assert np.mean(lengths) == pytest.approx(windows, rel=0.02 + 3 / math.sqrt(runs))


@pytest.mark.parametrize(("mean", "delay"), [(1.0, 14.8), (0.5, 70.3)])
def test_drift_that_shifts_z_is_found_in_hours_to_days_where_a_false_alarm_takes_a_year_of_hours(mean, delay):
    # Siegmund's approximation, b = 8.39: 2 (exp(-b) + b - 1) at 1, and b^2 at 1/2, where the
    # statistic has no trend. It is good to 5 %, and the standard error of the mean is below 3 %.
    random = np.random.default_rng(1)
    lengths = [run_length(random, threshold(8_766), mean) for _ in range(1_000)]
    assert np.mean(lengths) == pytest.approx(delay, rel=0.12)


def test_single_windows_do_not_find_what_the_detector_finds():
    # A shift of z of 1 is significant at the level of a page a year in less than 1 of 200 windows.
    level = 1 / 8_766
    random = np.random.default_rng(2)
    assert np.mean(ndtr(-random.normal(1, size=20_000)) < level) < 1 / 200


@given(STATISTICS, P_VALUES)
def test_the_statistic_is_never_negative_nor_moved_by_more_than_the_clip(statistic, p_value):
    after = advance(statistic, p_value)
    assert 0 <= after <= statistic + 3.5 + 1e-9
    assert after >= statistic - 4.5 - 1e-9


@given(STATISTICS, P_VALUES, P_VALUES)
def test_a_smaller_p_value_moves_it_further(statistic, one, other):
    assert advance(statistic, min(one, other)) >= advance(statistic, max(one, other))


def test_steps_by_hand():
    assert advance(0.0, 0.5) == 0
    assert advance(2.0, 0.5) == 1.5
    assert advance(1.0, float(ndtr(-2))) == pytest.approx(2.5)
    assert advance(0.0, 0.9) == 0


@pytest.mark.parametrize(("p_value", "after"), [(0.0, 13.5), (1e-300, 13.5), (1e-20, 13.5), (1.0, 5.5)])
def test_p_values_at_the_edges_are_clipped(p_value, after):
    assert advance(10.0, p_value) == after


def test_one_huge_window_alone_alarms_no_detector_of_more_than_202_windows():
    assert advance(0.0, 0.0) < threshold(202)
    assert advance(advance(0.0, 0.0), 0.0) > threshold(1_000)


@given(st.floats(10, 1e12), st.floats(10, 1e12))
def test_a_longer_run_length_has_a_higher_threshold(one, other):
    assert 0 < threshold(min(one, other)) <= threshold(max(one, other))


@given(st.floats(10, 1e12))
def test_the_threshold_solves_siegmunds_equation(windows):
    b = threshold(windows) + 1.166
    assert 2 * (math.exp(b) - b - 1) == pytest.approx(windows, rel=1e-9)


@pytest.mark.parametrize("windows", [9.9, 0, -1, math.nan, math.inf])
def test_a_run_length_without_use_is_refused(windows):
    with pytest.raises(ValueError, match="not a number from 10 on"):
        threshold(windows)
