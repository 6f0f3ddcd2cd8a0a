"""The overdispersion of clean windows: at least that of independent events, positive definite."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion


@given(arrays(np.float64, (25, 5), elements=st.floats(-1e3, 1e3)), st.integers(MIN_WINDOWS, 10**6))
def test_covariance_is_positive_definite(shifts, windows):
    overdispersion = Overdispersion.estimate(windows, 0.0, shifts.T @ shifts / windows, {})
    assert (np.diag(overdispersion.means) > 0).all()
    scales = np.sqrt(np.diag(overdispersion.means))
    assert np.linalg.eigvalsh(overdispersion.means / np.outer(scales, scales))[0] > 0
    np.testing.assert_array_equal(overdispersion.means, overdispersion.means.T)
    assert np.trace(overdispersion.means) >= 5 * (1 - 1e-9)


def test_underdispersed_windows_count_as_independent():
    overdispersion = Overdispersion.estimate(50, 0.2, np.diag([0.1, 0.3]), {})
    assert overdispersion.counts == 1
    assert np.trace(overdispersion.means) == pytest.approx(2)


@given(st.integers(20, 10_000), st.floats(1, 20), st.integers(2, 300), st.floats(0, 30))
def test_overdispersion_of_tail_is_at_least_that_of_counts(windows, counts, clusters, excess):
    overdispersion = Overdispersion(windows, counts, np.diag([1 + excess, 1, 1, 1]))
    assert overdispersion.of_tail(clusters) >= counts * (1 - 1e-9)


def test_overdispersion_of_tail_ignores_unevenness_by_chance():
    # From W windows each has a relative standard error of sqrt(2 / W).
    windows, all_over = 20, 5.0
    chance = all_over * math.sqrt(2 / windows) * np.tile([1, -1], 4)
    even, estimated, uneven = (
        Overdispersion(windows, all_over, np.diag(all_over + share * chance)).of_tail(20)
        for share in (0, 1, 2)
    )
    assert even == pytest.approx(estimated, rel=1e-9)
    assert even < 0.95 * uneven


def test_variances_of_window_and_baseline_add_up():
    # n = 200 and m = 600, of which the baseline's events come in groups.
    windows = Overdispersion(100, 2.0, np.diag([3.0, 1.0]), {"spread": np.array([2.0, 3.0])})
    others = {"spread": np.array([6.0, 7.0]), "novelty": np.array([5.0])}
    groups = Overdispersion(30, 6.0, np.diag([9.0, 5.0]), others)
    both = replace(windows, baseline=groups).at(200, 600, 1_000)
    assert both.counts * (1 / 200 + 1 / 600) == pytest.approx(2 / 200 + 6 / 600)
    np.testing.assert_allclose(both.means * (1 / 200 + 1 / 1_000), np.diag([0.024, 0.01]))
    assert both.of("spread", 2) == pytest.approx([3.0, 4.0])
    assert both.of("novelty", 1) == pytest.approx([2.0])
    assert both.windows == 109
    assert windows.at(200, 600, 1_000) is windows
    # Windows of few groups vary as one of fewer windows does.
    few = replace(windows, kurtosis=100.0).at(200, 600, 1_000)
    assert (few.kurtosis, few.reduce(40)) == (0.5, pytest.approx(1 / (1 / 40 + 1 / 8)))
    assert few.of_tail(10) > windows.of_tail(10)
