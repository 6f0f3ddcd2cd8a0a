"""The null distribution of the divergence against simulated and enumerated windows without drift."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import chdtrc, gammaln, logsumexp
from scipy.stats import hypergeom

from driftgauge.core.statistics.nulls.divergence_null import DivergenceNull
from tests.builders.statistics import divergence, divergences_of, draw_baseline, draw_divergences, split_pool

# Factors by which the sampled windows vary more than the null: the first is the null, and the last reaches
# beyond one in ten million with 20 clusters.
_SPREADS = (1.0, 1.5, 2.5, 4.0)
_BATCH = 20_000


class Sample:
    """Divergences of sampled windows, base 2, with their importance weights."""

    def __init__(self, divergences: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        order = np.argsort(divergences)[::-1]
        self._divergences = divergences[order]
        self._weights = weights[order] / len(weights)
        self._reached = np.cumsum(self._weights)

    def at(self, level: float) -> tuple[float, float, float]:
        """Return the divergence of about this tail probability, its tail probability, and the standard error.

        The tail probability includes all windows of the same divergence.
        """
        rank = min(int(np.searchsorted(self._reached, level)), len(self._reached) - 1)
        divergence = self._divergences[rank] * (1 - 1e-9)
        last = np.searchsorted(-self._divergences, -divergence, side="right")
        reached = float(self._reached[last - 1])
        squares = float(np.square(self._weights[:last]).sum())
        return float(divergence), reached, float(np.sqrt(max(squares - reached**2 / len(self._weights), 0.0)))


def sample_windows(pool: NDArray[np.int64], count: int, windows: int) -> Sample:
    """Draw windows of `count` events from the pool by importance sampling of the far tail.

    The proposal is a mixture of the null, multivariate hypergeometric, and of Dirichlet-multinomial
    distributions with larger variance. The weight of a window is its likelihood ratio of null to proposal.
    The divergence is symmetric, so the smaller part of the pool is drawn; at most a quarter of it.

    Args:
        pool: (k,) int64, the events of window and baseline in each cluster.
        count: The window's events.
        windows: The number of windows, a multiple of 20,000.
    """
    random = np.random.default_rng([count, windows])
    total = int(pool.sum())
    drawn = min(count, total - count)
    # The variance of a Dirichlet-multinomial over that of a multinomial variable is 1 + n / concentration.
    variances = [spread * (1 - drawn / total) for spread in _SPREADS[1:]]
    parameters = [drawn / (variance - 1) * pool / total for variance in variances]
    divergences, weights = [], []
    for _ in range(windows // _BATCH):
        each = _BATCH // len(_SPREADS)
        counts = np.concatenate(
            [random.multivariate_hypergeometric(pool, drawn, each, method="marginals")]
            + [random.multinomial(drawn, random.dirichlet(own, each)) for own in parameters]
        )
        divergences.append(divergences_of(counts, pool))
        null = _log_hypergeometric(counts, pool)
        proposals = [null, *(_log_dirichlet_multinomial(counts, own) for own in parameters)]
        weights.append(np.exp(null - logsumexp(proposals, axis=0)) * len(proposals))
    return Sample(np.concatenate(divergences), np.concatenate(weights))


def _log_hypergeometric(counts: NDArray[np.int64], pool: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the log-probability of each window, a row of `counts`, under the null."""
    return _log_choose(pool, counts).sum(axis=1) - _log_choose(pool.sum(), counts[0].sum())


def _log_choose(total: NDArray[np.int64], chosen: NDArray[np.int64]) -> NDArray[np.float64]:
    ways: NDArray[np.float64] = gammaln(total + 1) - gammaln(chosen + 1) - gammaln(total - chosen + 1)
    return ways


def _log_dirichlet_multinomial(
    counts: NDArray[np.int64], parameters: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the log-probability of each window under the parameters of the Dirichlet distribution."""
    own = gammaln(counts + parameters) - gammaln(parameters) - gammaln(counts + 1)
    count, total = counts[0].sum(), parameters.sum()
    ways: NDArray[np.float64] = own.sum(axis=1) + gammaln(count + 1) + gammaln(total) - gammaln(count + total)
    return ways


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
    window = split_pool(np.asarray(pool), count)
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


def exact_tail(windows, probabilities, pool):
    """The divergences of all possible windows, ascending, and the tail probability of each."""
    divergences = divergences_of(windows, pool)
    order = np.argsort(divergences)
    return divergences[order], np.cumsum(probabilities[order][::-1])[::-1]


def exact_tail_of_two(pool, count):
    first = np.arange(max(count - pool[1], 0), min(count, pool[0]) + 1)
    probabilities = hypergeom.pmf(first, pool.sum(), pool[0], count)
    return exact_tail(np.column_stack([first, count - first]), probabilities, pool)


LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)


@pytest.mark.parametrize(
    ("pool", "count", "tolerance"),
    [([445, 667], 112, 0.3), ([15_400, 28_600], 4_000, 0.07), ([390_000, 910_000], 300_000, 0.01)],
)
def test_p_value_of_two_clusters_is_near_exact_tail(pool, count, tolerance):
    null = null_given(pool, count)
    divergences, exact = exact_tail_of_two(np.array(pool), count)
    for level in LEVELS:
        index = int(np.argmax(exact <= level))
        assert null.p_value(divergences[index]) == pytest.approx(exact[index], rel=tolerance)


@pytest.mark.parametrize(
    ("pool", "count"), [([14_985, 15], 5_000), ([149_998, 2], 100_000), ([1_199_000, 1_000], 100_000)]
)
def test_p_value_with_dominant_cluster_is_not_far_below_exact(pool, count):
    null = null_given(pool, count)
    divergences, exact = exact_tail_of_two(np.array(pool), count)
    for level in LEVELS[1:]:
        for index in np.flatnonzero(exact <= level)[:1]:
            assert null.p_value(divergences[index]) > 0.8 * exact[index]


# The least and most ratio of the p-value to the simulated one, at 1e-2, 1e-4 and 1e-7.
RARE = {
    "well filled": (np.full(20, 1_050), 1_000, ((0.95, 1.05), (0.9, 1.1), (0.7, 1.2))),
    "uneven": (21_000 // np.arange(4, 80, 4), 1_000, ((0.95, 1.05), (0.8, 1.1), (0.25, 1.2))),
    "a window of five times the baseline": (np.full(20, 600), 10_000, ((0.95, 1.05), (0.9, 1.1), (0.8, 1.2))),
    "fewer than three events a cluster": (np.full(20, 102), 40, ((0.85, 1.1), (0.9, 1.7), (0.9, 6.0))),
    "many clusters": (np.full(100, 210), 1_000, ((0.8, 1.2), (0.7, 1.4), (0.5, 2.5))),
}


@pytest.mark.parametrize("case", RARE)
def test_p_value_of_rare_divergence_matches_importance_sampling(case):
    pool, count, bounds = RARE[case]
    null = null_given(pool, count)
    sample = sample_windows(pool, count, 60_000)
    for level, (least, most) in zip((1e-2, 1e-4, 1e-7), bounds, strict=True):
        divergence, share, error = sample.at(level)
        assert share == pytest.approx(level, rel=0.5)
        assert least * share - 4 * error < null.p_value(divergence) < most * share + 4 * error


def test_large_windows_have_chi_squared_divergence():
    count, baseline_count = 10_000_000, 10**9
    null = DivergenceNull.of(np.full(20, 500_000), np.full(20, 50_000_000), 1.0)
    scale = 8 * math.log(2) * count * baseline_count / (count + baseline_count)
    assert null.expected == pytest.approx(19 / scale, rel=0.01)
    for statistic in (10, 20, 40, 90):
        assert null.p_value(statistic / scale) == pytest.approx(chdtrc(19, statistic), rel=0.02)


def alarm_rates(random, shares, count, baseline_count, baselines, windows, overdispersion=1):
    """The share of each baseline's windows with p-values of at most 5 %, and at most 1 %, (baselines, 2)."""
    alarms = []
    for _ in range(baselines):
        baseline_counts = overdispersion * random.multinomial(baseline_count // overdispersion, shares)
        p_values = np.array(
            [
                DivergenceNull.of(window, baseline_counts, overdispersion).p_value(
                    divergence(window, baseline_counts)
                )
                for window in overdispersion * random.multinomial(count // overdispersion, shares, windows)
            ]
        )
        alarms.append([np.mean(p_values <= 0.05), np.mean(p_values <= 0.01)])
    return np.array(alarms)


SHARES = {
    "Dirichlet": np.random.default_rng(0).dirichlet(np.full(5, 3.0)),
    "equal": np.full(20, 1 / 20),
    "few filled": np.append(np.full(5, 1 / 5), np.zeros(45)),
    "Zipf's law": 1 / np.arange(1, 101) / (1 / np.arange(1, 101)).sum(),
}


@pytest.mark.parametrize("ratio", [1, 10])
@pytest.mark.parametrize("name", SHARES)
def test_level_holds_on_average_over_baselines(name, ratio):
    random = np.random.default_rng(ratio)
    alarms = alarm_rates(random, SHARES[name], 250, ratio * 250, 60, 30)
    # Four standard errors, with the baselines as clusters of the sample, and the error of the approximation.
    errors = 4 * alarms.std(axis=0) / math.sqrt(len(alarms)) + np.array([0.004, 0.0015])
    assert (np.abs(alarms.mean(axis=0) - [0.05, 0.01]) < errors).all()


@pytest.mark.parametrize("outside", [0.5, 3.0, 20.0])
def test_level_holds_for_baseline_of_one_cluster(outside):
    # Of 5,000 events that many are outside of the dominant cluster.
    shares = np.full(50, outside / 5_000 / 49)
    shares[0] = 1 - shares[1:].sum()
    alarms = alarm_rates(np.random.default_rng(0), shares, 250, 5_000, 60, 40)
    assert (alarms.mean(axis=0) < [0.055, 0.012]).all()
