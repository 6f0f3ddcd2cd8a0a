"""The null distribution of the divergence against simulated and enumerated windows without drift."""

import math

import numpy as np
import pytest
from scipy.special import chdtrc, rel_entr
from scipy.stats import betabinom, dirichlet_multinomial

from driftgauge.core.statistics.concentration import concentration_posterior
from driftgauge.core.statistics.divergence_null import DivergenceNull
from tests.builders.statistics import divergence, draw_baseline, draw_divergences
from tests.core.rare import sample_windows

# Few clusters and many; fewer events than clusters; a baseline smaller than the window.
SETTINGS = [
    (2, 112, 1_000),
    (5, 100, 5_000),
    (20, 100, 1_000),
    (20, 500, 300),
    (50, 500, 5_000),
    (50, 40, 900),
]


@pytest.mark.parametrize(("clusters", "count", "baseline_count"), SETTINGS)
def test_p_value_is_share_of_simulated_windows(clusters, count, baseline_count):
    baseline_counts = draw_baseline(clusters, baseline_count)
    null = DivergenceNull(baseline_counts, 1.0).at(count)
    simulated = np.sort(draw_divergences(baseline_counts, count, 40_000))
    for level in (0.9, 0.5, 0.1, 0.01):
        observed = simulated[int((1 - level) * len(simulated))]
        share = np.mean(simulated >= observed * (1 - 1e-9))
        # Four standard errors of the share, and the error of the approximation.
        tolerance = 4 * math.sqrt(share * (1 - share) / len(simulated))
        tolerance += (0.1 if clusters > 2 else 0.25) * share
        assert null.p_value(observed) == pytest.approx(share, abs=tolerance)


@pytest.mark.parametrize(("clusters", "count", "baseline_count"), SETTINGS)
def test_expected_divergence_is_mean_of_simulated_windows(clusters, count, baseline_count):
    baseline_counts = draw_baseline(clusters, baseline_count)
    simulated = draw_divergences(baseline_counts, count, 20_000)
    # 1 % is three standard errors of either mean; two clusters have more.
    tolerance = 0.015 if clusters > 2 else 0.04
    assert DivergenceNull(baseline_counts, 1.0).at(count).expected == pytest.approx(
        simulated.mean(), rel=tolerance
    )


def exact_tail(windows, probabilities, baseline_counts):
    """The divergences of all possible windows, ascending, and the tail probability of each."""
    shares, baseline_shares = windows / windows[0].sum(), baseline_counts / baseline_counts.sum()
    mean = (shares + baseline_shares) / 2
    divergences = (rel_entr(shares, mean) + rel_entr(baseline_shares, mean)).sum(axis=1) / (2 * math.log(2))
    order = np.argsort(divergences)
    return divergences[order], np.cumsum(probabilities[order][::-1])[::-1]


def exact_tail_of_two(baseline_counts, count):
    first = np.arange(count + 1)
    probabilities = sum(
        probability * betabinom.pmf(first, count, *(baseline_counts + concentration))
        for concentration, probability in zip(*concentration_posterior(baseline_counts), strict=True)
    )
    return exact_tail(np.column_stack([first, count - first]), probabilities, baseline_counts)


def exact_tail_of_three(baseline_counts, count):
    first, second = (counts.ravel() for counts in np.indices((count + 1, count + 1)))
    windows = np.column_stack([first, second, count - first - second])[first + second <= count]
    probabilities = sum(
        probability * dirichlet_multinomial.pmf(windows, baseline_counts + concentration, count)
        for concentration, probability in zip(*concentration_posterior(baseline_counts), strict=True)
    )
    return exact_tail(windows, probabilities, baseline_counts)


LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)


@pytest.mark.parametrize(
    ("baseline_counts", "count", "tolerance"),
    [([400, 600], 112, 0.3), ([14_000, 26_000], 4_000, 0.07), ([300_000, 700_000], 300_000, 0.01)],
)
def test_p_value_of_two_clusters_is_near_exact_tail(baseline_counts, count, tolerance):
    null = DivergenceNull(np.array(baseline_counts), 1.0).at(count)
    divergences, exact = exact_tail_of_two(np.array(baseline_counts), count)
    for level in LEVELS:
        index = int(np.argmax(exact <= level))
        assert null.p_value(divergences[index]) == pytest.approx(exact[index], rel=tolerance)


@pytest.mark.parametrize(
    ("baseline_counts", "count", "tolerance"), [([50, 30, 20], 60, 0.3), ([400, 300, 300], 400, 0.1)]
)
def test_p_value_of_three_clusters_is_near_exact_tail(baseline_counts, count, tolerance):
    null = DivergenceNull(np.array(baseline_counts), 1.0).at(count)
    divergences, exact = exact_tail_of_three(np.array(baseline_counts), count)
    for level in LEVELS:
        index = int(np.argmax(exact <= level))
        assert null.p_value(divergences[index]) == pytest.approx(exact[index], rel=tolerance)


@pytest.mark.parametrize(("baseline_counts", "count"), [([9_990, 10], 5_000), ([50_000, 0], 100_000)])
def test_p_value_with_dominant_cluster_is_not_far_below_exact(baseline_counts, count):
    null = DivergenceNull(np.array(baseline_counts), 1.0).at(count)
    divergences, exact = exact_tail_of_two(np.array(baseline_counts), count)
    for level in LEVELS[1:]:
        index = int(np.argmax(exact <= level))
        assert null.p_value(divergences[index]) > 0.8 * exact[index]


# The least and most ratio of the p-value to the simulated one, at 1e-2, 1e-4 and 1e-7.
RARE = {
    "well filled": (np.full(20, 1_000), 1_000, ((0.95, 1.05), (0.9, 1.1), (0.7, 1.2))),
    "uneven": (20_000 // np.arange(4, 80, 4), 1_000, ((0.95, 1.05), (0.8, 1.1), (0.25, 1.2))),
    "a window of five times the baseline": (np.full(20, 100), 10_000, ((0.95, 1.1), (0.9, 1.2), (0.8, 1.3))),
    "fewer than three events a cluster": (np.full(20, 100), 50, ((0.95, 1.1), (0.9, 1.7), (0.9, 6.0))),
    "many clusters": (np.full(100, 200), 1_000, ((0.8, 1.2), (0.7, 1.4), (0.5, 2.5))),
}


@pytest.mark.parametrize("case", RARE)
def test_p_value_of_rare_divergence_matches_importance_sampling(case):
    baseline_counts, count, bounds = RARE[case]
    null = DivergenceNull(baseline_counts, 1.0).at(count)
    sample = sample_windows(baseline_counts, count, 20_000)
    for level, (least, most) in zip((1e-2, 1e-4, 1e-7), bounds, strict=True):
        divergence, share, error = sample.at(level)
        assert share == pytest.approx(level, rel=0.5)
        assert least * share - 4 * error < null.p_value(divergence) < most * share + 4 * error


@pytest.mark.parametrize(("clusters", "filled"), [(50, 5), (300, 10)])
def test_p_value_with_mostly_empty_clusters_matches_simulation(clusters, filled):
    baseline_counts = np.append(draw_baseline(filled, 25_000), np.zeros(clusters - filled, dtype=np.int64))
    null = DivergenceNull(baseline_counts, 1.0).at(500)
    simulated = np.sort(draw_divergences(baseline_counts, 500, 20_000))
    for level in (0.1, 0.01):
        observed = simulated[int((1 - level) * len(simulated))]
        share = np.mean(simulated >= observed * (1 - 1e-9))
        # Four standard errors of the share, and the error of the approximation.
        tolerance = 4 * math.sqrt(share * (1 - share) / len(simulated)) + 0.15 * share
        assert null.p_value(observed) == pytest.approx(share, abs=tolerance)


# One cluster has all events of a window, all but a few, or nearly all.
ONE_CLUSTER = [
    ([5_000], 50, 250),
    ([20_000], 20, 1_000),
    ([4_998, 2], 50, 250),
    ([8_689, 10, 20, 12, 30, 25, 40, 15, 9, 11, 20, 31], 20, 100),
]


@pytest.mark.parametrize(("filled", "clusters", "count"), ONE_CLUSTER)
def test_level_holds_for_baseline_of_one_cluster(filled, clusters, count):
    baseline_counts = np.zeros(clusters, dtype=np.int64)
    baseline_counts[: len(filled)] = filled
    null = DivergenceNull(baseline_counts, 1.0).at(count)
    simulated = draw_divergences(baseline_counts, count, 100_000)
    assert null.expected == pytest.approx(simulated.mean(), rel=0.03)
    # Few windows differ, so each distinct divergence is tested once.
    divergences, times = np.unique(simulated.round(12), return_counts=True)
    p_values = np.array([null.p_value(max(divergence, 0.0)) for divergence in divergences])
    for level, most in ((0.01, 0.012), (1e-3, 1.2e-3), (1e-4, 1.5e-4)):
        assert times[p_values <= level].sum() / times.sum() < most


def test_large_windows_have_chi_squared_divergence():
    null = DivergenceNull(np.full(20, 50_000_000), 1.0)
    count, baseline_count = 10_000_000, 10**9
    scale = 8 * math.log(2) * count * baseline_count / (count + baseline_count)
    assert null.at(count).expected == pytest.approx(19 / scale, rel=0.01)
    for statistic in (10, 20, 40, 90):
        expected = chdtrc(19, statistic)
        assert null.at(count).p_value(statistic / scale) == pytest.approx(expected, rel=0.02)


def test_null_of_300_clusters_matches_simulation():
    baseline_counts = draw_baseline(300, 3_000)
    null = DivergenceNull(baseline_counts, 1.0)
    simulated = draw_divergences(baseline_counts, 256, 2_000)
    assert null.at(256).expected == pytest.approx(simulated.mean(), rel=0.01)
    assert null.at(256).p_value(float(np.median(simulated))) == pytest.approx(0.5, abs=0.05)


def test_level_holds_on_average_over_baselines():
    random = np.random.default_rng(0)
    alarms = []
    for _ in range(100):
        shares = random.dirichlet(np.full(5, 3.0))
        baseline_counts = random.multinomial(1_280, shares)
        null = DivergenceNull(baseline_counts, 1.0).at(128)
        windows = random.multinomial(128, shares, 60)
        p_values = np.array([null.p_value(divergence(window, baseline_counts)) for window in windows])
        alarms.append(np.mean(p_values <= 0.05))
    # Four standard errors, with the baselines as clusters of the sample.
    assert np.mean(alarms) == pytest.approx(0.05, abs=4 * np.std(alarms) / math.sqrt(len(alarms)))
    assert np.std(alarms) < 0.05
