"""The Jensen-Shannon divergence and its null distribution, against scipy and enumerated windows."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.special import chdtrc, gammaln, logsumexp, rel_entr

from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.nulls.divergence_null import DivergenceNull
from tests.examples import examples


def divergence(counts, baseline_counts):
    """Return the base-2 Jensen-Shannon divergence of two histograms (k,), at most 1."""
    return min(math.fsum(js_contributions(np.asarray(counts), np.asarray(baseline_counts))), 1.0)


def draw_baseline(clusters, count):
    """Return a histogram (k,) of `count` events whose shares have a Dirichlet concentration of 3."""
    random = np.random.default_rng([clusters, count, 0])
    return random.multinomial(count, random.dirichlet(np.full(clusters, 3.0)))


def split_pool(pool, count, seed=0):
    """Return a random part (k,) of `count` events of a pool (k,)."""
    return np.random.default_rng(seed).multivariate_hypergeometric(pool, count, method="marginals")


def divergences_of(windows, pool):
    """Return the divergence of each window, a row (k,) of the same count, from the rest of the pool (k,)."""
    count = windows[0].sum()
    shares, others = windows / count, (pool - windows) / (pool.sum() - count)
    mean = (shares + others) / 2
    return (rel_entr(shares, mean) + rel_entr(others, mean)).sum(axis=1) / (2 * math.log(2))


def draw_divergences(pool, count, windows):
    """Return the divergences (windows,) of random parts of a pool (k,), of `count` events, from the rest."""
    random = np.random.default_rng([count, windows])
    return divergences_of(random.multivariate_hypergeometric(pool, count, windows, method="marginals"), pool)


BINS = st.one_of(st.just(0), st.integers(0, 1_000))


@st.composite
def histograms(draw, number=2):
    """Histograms of the same length, none of them empty, with many empty bins."""
    clusters = draw(st.integers(1, 30))
    drawn = [draw(st.lists(BINS, min_size=clusters, max_size=clusters)) for _ in range(number)]
    assume(all(map(sum, drawn)))
    return [np.array(counts, dtype=np.int64) for counts in drawn]


@given(histograms())
def test_divergence_is_square_of_scipys_distance(pair):
    assert divergence(*pair) == pytest.approx(jensenshannon(*pair, base=2) ** 2, abs=1e-12)


@given(histograms())
def test_contributions_are_finite_and_not_negative(pair):
    contributions = js_contributions(*pair)
    assert contributions.shape == pair[0].shape
    assert contributions.dtype == np.float64
    assert np.isfinite(contributions).all()
    assert (contributions >= 0).all()


@given(histograms(), st.integers(1, 1_000))
def test_equal_shares_have_zero_divergence(pair, factor):
    assert (js_contributions(pair[0], pair[0] * factor) == 0).all()


@given(histograms(), st.randoms(use_true_random=False))
def test_divergence_is_independent_of_cluster_order(pair, random):
    counts, baseline_counts = pair
    order = list(range(len(counts)))
    random.shuffle(order)
    contributions = js_contributions(counts, baseline_counts)
    np.testing.assert_array_equal(
        js_contributions(counts[order], baseline_counts[order]), contributions[order]
    )
    assert divergence(counts[order], baseline_counts[order]) == divergence(counts, baseline_counts)


def test_large_counts_with_equal_shares_have_zero_divergence():
    assert divergence([10**15, 3 * 10**15], [1, 3]) == 0


def test_contributions_of_nearly_equal_shares_are_not_negative():
    # Shares so close that the terms are smaller than their own rounding errors.
    n = 10**8
    assert (js_contributions(np.array([n + 2, n, n]), np.array([n, n, n + 1])) >= 0).all()


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
        ([1_199_000, 1_000], 100_000, 0.8, math.inf),
    ],
)
def test_p_value_is_near_exact_tail(pool, count, least, most):
    null = null_given(np.array(pool), count)
    divergences, exact = exact_tail(np.array(pool), count)
    for level in LEVELS if most < math.inf else LEVELS[1:4]:
        index = np.flatnonzero(exact <= level)[0]
        assert least * exact[index] < null.p_value(divergences[index]) < most * exact[index]


def test_large_windows_have_chi_squared_divergence():
    count, baseline_count = 10_000_000, 10**9
    null = DivergenceNull.of(np.full(20, 500_000), np.full(20, 50_000_000), 1.0)
    scale = 8 * math.log(2) * count * baseline_count / (count + baseline_count)
    assert null.expected == pytest.approx(19 / scale, rel=0.01)
    for statistic in (10, 20, 40, 90):
        assert null.p_value(statistic / scale) == pytest.approx(chdtrc(19, statistic), rel=0.02)


@st.composite
def baselines(draw, least_clusters, most_clusters, least_count):
    clusters = draw(st.integers(least_clusters, most_clusters))
    counts = st.lists(st.integers(least_count, 500), min_size=clusters, max_size=clusters).filter(any)
    return np.array(draw(counts), dtype=np.int64)


@st.composite
def windows(draw, baseline_counts):
    counts = st.lists(st.integers(0, 400), min_size=len(baseline_counts), max_size=len(baseline_counts))
    return np.array(draw(counts.filter(any)), dtype=np.int64)


PAIRS = st.one_of(baselines(2, 8, 0), baselines(20, 50, 0)).flatmap(
    lambda baseline_counts: st.tuples(st.just(baseline_counts), windows(baseline_counts))
)
OVERDISPERSIONS = st.sampled_from([1.0, 1.7, 3.0, 40.0])


@settings(max_examples=examples(60))
@given(PAIRS, OVERDISPERSIONS, st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_p_value_is_above_zero_at_most_one_and_falls(pair, overdispersion, js_divergences):
    baseline_counts, counts = pair
    null = DivergenceNull.of(counts, baseline_counts, overdispersion)
    p_values = [null.p_value(js_divergence) for js_divergence in sorted(js_divergences)]
    assert all(0 < p_value <= 1 for p_value in p_values)
    assert p_values == sorted(p_values, reverse=True)
    assert 0 <= null.expected <= 1


@settings(max_examples=examples(60))
@given(PAIRS, OVERDISPERSIONS, st.randoms(use_true_random=False))
def test_distribution_does_not_depend_on_order_of_clusters(pair, overdispersion, random):
    baseline_counts, counts = pair
    order = np.array(random.sample(range(len(counts)), len(counts)))
    ordered = DivergenceNull.of(counts[order], baseline_counts[order], overdispersion)
    assert ordered == DivergenceNull.of(counts, baseline_counts, overdispersion)


@settings(max_examples=examples(60))
@given(PAIRS)
def test_window_and_baseline_are_exchangeable(pair):
    baseline_counts, counts = pair
    null = DivergenceNull.of(counts, baseline_counts, 1.0)
    exchanged = DivergenceNull.of(baseline_counts, counts, 1.0)
    assert null.expected == pytest.approx(exchanged.expected, rel=0.02, abs=1e-15)
    assert null.deviation == pytest.approx(exchanged.deviation, rel=0.02, abs=1e-15)


@settings(max_examples=examples(60))
@given(baselines(2, 50, 0), st.integers(1, 3), OVERDISPERSIONS)
def test_window_with_shares_of_baseline_is_not_significant(counts, ratio, overdispersion):
    assert DivergenceNull.of(counts, counts * ratio, overdispersion).p_value(0.0) > 0.2


def test_largest_divergence_of_largest_window_has_p_value():
    baseline_counts = np.append(draw_baseline(19, 10**6), 0)
    counts = np.append(np.zeros(19, dtype=np.int64), 10**9)
    assert 0 < DivergenceNull.of(counts, baseline_counts, 1.0).p_value(1.0) < 1e-300


@pytest.mark.parametrize(
    ("clusters", "baseline_count", "count"), [(4, 19_331, 159), (4, 100_000, 1_000), (20, 10**6, 1_000)]
)
def test_window_equal_to_one_cluster_baseline_is_not_significant(clusters, baseline_count, count):
    shares = np.eye(clusters, dtype=np.int64)[0]
    null = DivergenceNull.of(count * shares, baseline_count * shares, 1.0)
    assert null.expected == 0
    assert null.p_value(0.0) > 0.2


def test_least_possible_divergence_is_not_significant():
    baseline_counts = np.array([96_552, 0, 1, 0, 0, 1])
    counts = np.array([139, 0, 0, 0, 0, 0])
    null = DivergenceNull.of(counts, baseline_counts, 5.0)
    assert null.p_value(divergence(counts, baseline_counts)) > 0.2


def test_sum_of_many_fractions_of_events_is_kept():
    # Of 100 bursts of 40 events none has a cluster of its own.
    window, baseline_counts = np.array([4] * 100 + [0] * 200), np.array([12] * 300)
    singles = np.ones(100, dtype=np.int64)
    singles[:10] = 0
    expected = DivergenceNull.of(1 - singles, singles, 1.0).expected
    assert DivergenceNull.of(window, baseline_counts, 40.0).expected == pytest.approx(expected, rel=1e-9)
