"""The alarm budget: window levels, Bonferroni, and the false discovery rate of segments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from driftgauge.core.statistics.budget import MAX_LEVEL, benjamini_hochberg, split_level, window_level
from tests.builders.clocks import DAY_MS, HOUR_MS, MINUTE_MS

SIZES = st.lists(st.sampled_from([MINUTE_MS, 5 * MINUTE_MS, HOUR_MS, DAY_MS, 7 * DAY_MS]), min_size=1)
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


@given(st.floats(1e-6, 1e4), SIZES)
def test_windows_of_year_spend_at_most_budget(budget, sizes_ms):
    level = window_level(budget, sizes_ms)
    spent = sum(365.25 * DAY_MS / size_ms for size_ms in sizes_ms) * level
    assert level <= MAX_LEVEL
    assert spent <= budget * (1 + 1e-9)
    if level < MAX_LEVEL:
        assert spent == pytest.approx(budget, rel=1e-9)


@pytest.mark.parametrize(("budget", "sizes_ms"), [(1, [7 * DAY_MS]), (1_000, [HOUR_MS])])
def test_window_level_of_large_budget_is_one_percent(budget, sizes_ms):
    assert window_level(budget, sizes_ms) == 0.01


@pytest.mark.parametrize("budget", [0, -1, float("nan"), float("inf")])
def test_window_level_rejects_budget_that_is_not_positive(budget):
    with pytest.raises(ValueError, match="no positive number"):
        window_level(budget, [HOUR_MS])


@pytest.mark.parametrize("sizes_ms", [[], [0], [HOUR_MS, -1]])
def test_window_level_rejects_sizes_without_windows(sizes_ms):
    with pytest.raises(ValueError, match="make no windows"):
        window_level(1, sizes_ms)


def test_split_level_halves_level_with_segments():
    assert split_level(0.01, 0) == 0.01
    assert split_level(0.01, 1) == split_level(0.01, 12) == 0.005


def test_benjamini_hochberg_matches_hand_computed_case():
    # Sorted .01 .02 .03 .5, times 4 over the rank: .04 .04 .04 .5
    np.testing.assert_allclose(benjamini_hochberg([0.5, 0.01, 0.03, 0.02]), [0.5, 0.04, 0.04, 0.04])


@given(P_VALUES.filter(len))
def test_benjamini_hochberg_matches_scipy(p_values):
    np.testing.assert_allclose(benjamini_hochberg(p_values), false_discovery_control(p_values), rtol=1e-12)


@given(P_VALUES)
def test_benjamini_hochberg_keeps_order_and_never_lowers_p_value(p_values):
    adjusted = benjamini_hochberg(p_values)
    assert adjusted.shape == (len(p_values),)
    assert (adjusted >= np.array(p_values) * (1 - 1e-12)).all()
    assert (adjusted <= 1).all()
    assert (np.diff(adjusted[np.argsort(p_values)]) >= 0).all()


def test_benjamini_hochberg_keeps_single_p_value():
    assert benjamini_hochberg([0.037]).tolist() == [0.037]


def test_benjamini_hochberg_holds_level_without_drift():
    random = np.random.default_rng(0)
    rounds = 10_000
    found = sum(benjamini_hochberg(p_values).min() <= 0.05 for p_values in random.random((rounds, 10)))
    # Independent uniform p-values: exactly .05; five standard errors of a binomial share.
    assert found / rounds == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / rounds))


def test_benjamini_hochberg_controls_false_discovery_rate():
    random = np.random.default_rng(1)
    false_shares = []
    for _ in range(2_000):
        p_values = random.random(20)
        p_values[:10] *= 1e-3  # segments with drift
        found = benjamini_hochberg(p_values) <= 0.2
        false_shares.append(found[10:].sum() / max(found.sum(), 1))
    # The rate is the level times the share that does not drift; its standard error is below .003.
    assert np.mean(false_shares) == pytest.approx(0.1, abs=0.012)
