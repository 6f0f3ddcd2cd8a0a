"""The alarm budget: window levels, Bonferroni, and the false discovery rate of segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from driftgauge.core.statistics.budget import benjamini_hochberg, window_level
from tests.builders.clocks import DAY_MS, HOUR_MS

P_VALUES = st.lists(st.floats(0, 1), max_size=30)


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


@given(P_VALUES.filter(len))
def test_benjamini_hochberg_matches_scipy(p_values):
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values), rtol=1e-12)
