"""P-values of several tests, segments and windows: the Cauchy combination, the alarm budget, the CUSUM."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import lambertw, ndtr
from scipy.stats import false_discovery_control

from driftgauge.core.statistics.budget import benjamini_hochberg, window_level
from driftgauge.core.statistics.combination import combine
from driftgauge.core.statistics.cusum import advance, threshold
from tests.builders.clocks import DAY_MS, HOUR_MS

P_VALUE = st.floats(0, 1)
P_VALUES = st.lists(P_VALUE, min_size=1, max_size=5)


@given(st.lists(st.floats(1e-6, 0.99), min_size=1, max_size=5))
def test_combine_is_p_value_of_mean_cauchy_variable(p_values):
    mean = np.mean([math.tan(math.pi * (0.5 - p_value)) for p_value in p_values])
    assert combine(p_values) == pytest.approx(0.5 - math.atan(mean) / math.pi, abs=1e-9)


@given(P_VALUES)
def test_combine_returns_same_p_value_in_any_order(p_values):
    combined = combine(p_values)
    assert sys.float_info.min <= combined <= 0.99 * (1 + 1e-12)
    assert combine(p_values[::-1]) == pytest.approx(combined, rel=1e-12)


@given(P_VALUES, P_VALUE, P_VALUE)
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


@pytest.mark.parametrize(
    ("budget", "sizes_ms", "level"),
    [
        (1, [HOUR_MS], 1 / 8_766),
        (2, [HOUR_MS], 2 / 8_766),
        (1, [DAY_MS], 1 / 365.25),
        (1, [HOUR_MS, DAY_MS], 1 / (8_766 + 365.25)),
        (1, [HOUR_MS] * 10, 1 / 87_660),
    ],
)
def test_window_level_is_budget_over_windows_of_year(budget, sizes_ms, level):
    assert window_level(budget, sizes_ms) == pytest.approx(level, rel=1e-12)


@pytest.mark.parametrize(("budget", "sizes_ms"), [(1, [7 * DAY_MS]), (1_000, [HOUR_MS])])
def test_window_level_of_large_budget_is_one_percent(budget, sizes_ms):
    assert window_level(budget, sizes_ms) == 0.01


@given(st.lists(P_VALUE, min_size=1, max_size=30))
def test_benjamini_hochberg_matches_scipy(p_values):
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values), rtol=1e-12)


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


@given(STATISTICS, P_VALUE, P_VALUE)
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
