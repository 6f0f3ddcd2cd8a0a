"""The null distribution of the divergence against simulated and enumerated windows without drift."""

import math

import numpy as np
import pytest
from scipy.special import chdtrc, gammaln, logsumexp

from driftgauge.core.statistics.nulls.divergence_null import DivergenceNull
from tests.builders.statistics import divergences_of, draw_baseline, draw_divergences, split_pool

# Few clusters and many; fewer events than clusters; a baseline smaller than the window.
SETTINGS = [
    (2, 112, 1_000),
    (5, 100, 5_000),
    (20, 100, 1_000),
    (20, 500, 300),
    (50, 500, 5_000),
    (50, 40, 900),
    (300, 500, 5_000),
]


def null_given(pool, count):
    """The null distribution of windows of `count` events from a pool (k,)."""
    window = split_pool(pool, count)
    return DivergenceNull.of(window, pool - window, 1.0)


@pytest.mark.parametrize(("clusters", "count", "baseline_count"), SETTINGS)
def test_p_value_is_share_of_simulated_windows(clusters, count, baseline_count):
    pool = draw_baseline(clusters, count + baseline_count)
    null = null_given(pool, count)
    simulated = np.sort(draw_divergences(pool, count, 40_000 if clusters < 300 else 10_000))
    assert null.expected == pytest.approx(simulated.mean(), rel=0.005 if clusters > 2 else 0.02)
    for level in (0.9, 0.5, 0.1, 0.01):
        observed = simulated[int((1 - level) * len(simulated))]
        share = np.mean(simulated >= observed * (1 - 1e-9))
        # Four standard errors of the share, and the error of the approximation.
        tolerance = 4 * math.sqrt(share * (1 - share) / len(simulated))
        tolerance += (0.05 if clusters > 2 else 0.25) * share
        assert null.p_value(observed) == pytest.approx(share, abs=tolerance)


def test_distribution_depends_on_pool_alone():
    pool, count = draw_baseline(20, 2_200), 200
    one, other = (split_pool(pool, count, seed) for seed in (0, 1))
    assert not np.array_equal(one, other)
    assert DivergenceNull.of(one, pool - one, 1.0) == DivergenceNull.of(other, pool - other, 1.0)


def exact_tail(pool, count):
    """The divergences of all possible windows, ascending, and the tail probability of each."""
    others = np.indices(np.minimum(pool[:-1], count) + 1).reshape(len(pool) - 1, -1).T
    last = count - others.sum(axis=1)
    windows = np.column_stack([others, last])[(last >= 0) & (last <= pool[-1])]
    logarithms = -(gammaln(windows + 1) + gammaln(pool - windows + 1)).sum(axis=1)
    probabilities = np.exp(logarithms - logsumexp(logarithms))
    divergences = divergences_of(windows, pool)
    order = np.argsort(divergences)
    return divergences[order], np.cumsum(probabilities[order][::-1])[::-1]


LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5)


@pytest.mark.parametrize(
    ("pool", "count", "least", "most"),
    [
        ([445, 667], 112, 0.7, 1.3),
        ([15_400, 28_600], 4_000, 0.93, 1.07),
        ([390_000, 910_000], 300_000, 0.98, 1.01),
        ([150] * 4, 100, 0.85, 1.05),
        ([900, 500, 300, 200, 100], 40, 0.95, 1.25),
        # One cluster has nearly all events: the p-value is not far below the exact one.
        ([14_985, 15], 5_000, 0.8, math.inf),
        ([149_998, 2], 100_000, 0.8, math.inf),
        ([1_199_000, 1_000], 100_000, 0.8, math.inf),
    ],
)
def test_p_value_is_near_exact_tail(pool, count, least, most):
    null = null_given(np.array(pool), count)
    divergences, exact = exact_tail(np.array(pool), count)
    for level in LEVELS if most < math.inf else LEVELS[1:4]:
        for index in np.flatnonzero(exact <= level)[:1]:
            assert least * exact[index] < null.p_value(divergences[index]) < most * exact[index]


def test_large_windows_have_chi_squared_divergence():
    count, baseline_count = 10_000_000, 10**9
    null = DivergenceNull.of(np.full(20, 500_000), np.full(20, 50_000_000), 1.0)
    scale = 8 * math.log(2) * count * baseline_count / (count + baseline_count)
    assert null.expected == pytest.approx(19 / scale, rel=0.01)
    for statistic in (10, 20, 40, 90):
        assert null.p_value(statistic / scale) == pytest.approx(chdtrc(19, statistic), rel=0.02)
