"""The null distribution of the divergence against simulated and listed windows in which nothing drifts."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import chdtrc, rel_entr
from scipy.stats import betabinom, dirichlet_multinomial

from driftgauge.core.statistics.concentration import concentrations
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import DivergenceNull, noise_floor
from tests.core.rare import sample_windows
from tests.examples import examples


def divergence(counts, baseline_counts):
    return min(math.fsum(js_contributions(np.asarray(counts), np.asarray(baseline_counts))), 1.0)


def draw_baseline(clusters, count, seed=0):
    random = np.random.default_rng([clusters, count, seed])
    return random.multinomial(count, random.dirichlet(np.full(clusters, 3.0)))


def mixture(counts, windows, random):
    """The concentrations that the null is made of, and how many of so many windows have each."""
    grid, probabilities = concentrations(counts)
    return grid, random.multinomial(windows, probabilities)


def draw_divergences(baseline_counts, count, windows, inflation=1.0):
    """Divergences of plainly simulated windows of the posterior predictive null."""
    random = np.random.default_rng([count, windows])
    drawn = np.concatenate(
        [
            random.multinomial(count, random.dirichlet(baseline_counts / inflation + concentration, number))
            for concentration, number in zip(
                *mixture(baseline_counts / inflation, windows, random), strict=True
            )
        ]
    )
    possible = np.repeat(np.arange(count + 1)[:, None], len(baseline_counts), axis=1)
    p, q = possible / count, baseline_counts / baseline_counts.sum()
    mean = np.where(p + q > 0, p + q, 1) / 2
    terms = (p * np.log2(np.where(p > 0, p / mean, 1)) + q * np.log2(np.where(q > 0, q / mean, 1))) / 2
    return np.take_along_axis(terms, drawn, axis=0).sum(axis=1)


@pytest.mark.parametrize(
    ("clusters", "count", "baseline_count"),
    [(5, 1_000, 5_000), (20, 1_000, 25_000), (20, 500, 1_000), (50, 2_000, 20_000)],
)
def test_the_noise_floor_is_the_mean_divergence_of_undrifted_windows(clusters, count, baseline_count):
    random = np.random.default_rng(clusters + count)
    shares = random.dirichlet(np.full(clusters, 5.0))
    simulated = [
        js_contributions(random.multinomial(count, shares), random.multinomial(baseline_count, shares)).sum()
        for _ in range(1_000)
    ]
    assert noise_floor(clusters, count, baseline_count) == pytest.approx(np.mean(simulated), rel=0.05)


def test_fifty_clusters_and_five_hundred_events_make_a_distance_above_a_tenth_of_pure_noise():
    floor = noise_floor(50, 500, 10**9)
    assert floor == pytest.approx(0.018, abs=0.001)
    assert math.sqrt(floor) == pytest.approx(0.13, abs=0.01)


def test_the_baselines_own_sampling_is_part_of_the_noise():
    assert noise_floor(20, 1_000, 1_000) == pytest.approx(2 * noise_floor(20, 1_000, 10**12))


def test_a_single_cluster_cannot_diverge():
    assert noise_floor(1, 10, 10) == 0


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
def test_the_p_value_is_the_share_of_undrifted_windows_that_diverge_as_much(clusters, count, baseline_count):
    baseline_counts = draw_baseline(clusters, baseline_count)
    null = DivergenceNull(baseline_counts, 1.0).at(count)
    simulated = np.sort(draw_divergences(baseline_counts, count, 40_000))
    for level in (0.9, 0.5, 0.1, 0.01):
        observed = simulated[int((1 - level) * len(simulated))]
        share = np.mean(simulated >= observed * (1 - 1e-9))
        # Four standard errors of the share, and what the approximation errs by.
        tolerance = 4 * math.sqrt(share * (1 - share) / len(simulated))
        tolerance += (0.1 if clusters > 2 else 0.25) * share
        assert null.p_value(observed) == pytest.approx(share, abs=tolerance)


@pytest.mark.parametrize(("clusters", "count", "baseline_count"), SETTINGS)
def test_the_expected_divergence_is_the_mean_of_undrifted_windows(clusters, count, baseline_count):
    baseline_counts = draw_baseline(clusters, baseline_count)
    simulated = draw_divergences(baseline_counts, count, 20_000)
    # 1 % is three standard errors of either mean, but for two clusters.
    tolerance = 0.015 if clusters > 2 else 0.04
    assert DivergenceNull(baseline_counts, 1.0).at(count).expected == pytest.approx(
        simulated.mean(), rel=tolerance
    )


def exact_tail(windows, probabilities, baseline_counts):
    """Divergences of all windows there are, rising, and how probable as large a one is."""
    shares, baseline_shares = windows / windows[0].sum(), baseline_counts / baseline_counts.sum()
    mean = (shares + baseline_shares) / 2
    divergences = (rel_entr(shares, mean) + rel_entr(baseline_shares, mean)).sum(axis=1) / (2 * math.log(2))
    order = np.argsort(divergences)
    return divergences[order], np.cumsum(probabilities[order][::-1])[::-1]


def exact_tail_of_two(baseline_counts, count):
    first = np.arange(count + 1)
    probabilities = sum(
        probability * betabinom.pmf(first, count, *(baseline_counts + concentration))
        for concentration, probability in zip(*concentrations(baseline_counts), strict=True)
    )
    return exact_tail(np.column_stack([first, count - first]), probabilities, baseline_counts)


def exact_tail_of_three(baseline_counts, count):
    first, second = (counts.ravel() for counts in np.indices((count + 1, count + 1)))
    windows = np.column_stack([first, second, count - first - second])[first + second <= count]
    probabilities = sum(
        probability * dirichlet_multinomial.pmf(windows, baseline_counts + concentration, count)
        for concentration, probability in zip(*concentrations(baseline_counts), strict=True)
    )
    return exact_tail(windows, probabilities, baseline_counts)


LEVELS = (1e-1, 1e-2, 1e-3, 1e-4)


@pytest.mark.parametrize(
    ("baseline_counts", "count", "tolerance"),
    [([400, 600], 112, 0.3), ([14_000, 26_000], 4_000, 0.07), ([300_000, 700_000], 1_000_000, 0.01)],
)
def test_the_tail_of_two_clusters_is_nearly_the_exact_one(baseline_counts, count, tolerance):
    null = DivergenceNull(np.array(baseline_counts), 1.0).at(count)
    divergences, exact = exact_tail_of_two(np.array(baseline_counts), count)
    for level in LEVELS:
        place = int(np.argmax(exact <= level))
        assert null.p_value(divergences[place]) == pytest.approx(exact[place], rel=tolerance)


@pytest.mark.parametrize(
    ("baseline_counts", "count", "tolerance"), [([50, 30, 20], 60, 0.3), ([400, 300, 300], 400, 0.1)]
)
def test_the_tail_of_three_clusters_is_nearly_the_exact_one(baseline_counts, count, tolerance):
    null = DivergenceNull(np.array(baseline_counts), 1.0).at(count)
    divergences, exact = exact_tail_of_three(np.array(baseline_counts), count)
    for level in LEVELS:
        place = int(np.argmax(exact <= level))
        assert null.p_value(divergences[place]) == pytest.approx(exact[place], rel=tolerance)


@pytest.mark.parametrize(("baseline_counts", "count"), [([9_990, 10], 5_000), ([50_000, 0], 100_000)])
def test_the_tail_where_one_cluster_has_nearly_all_is_hardly_too_small(baseline_counts, count):
    null = DivergenceNull(np.array(baseline_counts), 1.0).at(count)
    divergences, exact = exact_tail_of_two(np.array(baseline_counts), count)
    for level in LEVELS[1:]:
        place = int(np.argmax(exact <= level))
        assert null.p_value(divergences[place]) > 0.8 * exact[place]


# By how much the p-value may be too small, and too large, at 1e-2, 1e-4 and 1e-7.
RARE = {
    "well filled": (np.full(20, 1_000), 1_000, ((0.95, 1.05), (0.9, 1.1), (0.7, 1.2))),
    "uneven": (20_000 // np.arange(4, 80, 4), 1_000, ((0.95, 1.05), (0.8, 1.1), (0.25, 1.2))),
    "a window of five times the baseline": (np.full(20, 100), 10_000, ((0.95, 1.1), (0.9, 1.2), (0.8, 1.3))),
    "fewer than three events a cluster": (np.full(20, 100), 50, ((0.95, 1.1), (0.9, 1.7), (0.9, 6.0))),
    "many clusters": (np.full(100, 200), 1_000, ((0.8, 1.2), (0.7, 1.4), (0.5, 2.5))),
}


@pytest.mark.parametrize("case", RARE)
def test_rare_divergences_are_about_as_rare_as_they_are_taken_for(case):
    baseline_counts, count, bounds = RARE[case]
    null = DivergenceNull(baseline_counts, 1.0).at(count)
    sample = sample_windows(baseline_counts, count, 20_000)
    for level, (least, most) in zip((1e-2, 1e-4, 1e-7), bounds, strict=True):
        divergence, share, error = sample.at(level)
        assert share == pytest.approx(level, rel=0.5)
        assert least * share - 4 * error < null.p_value(divergence) < most * share + 4 * error


@pytest.mark.parametrize(("clusters", "filled"), [(50, 5), (300, 10)])
def test_a_baseline_that_fills_few_of_the_clusters_has_the_tail_of_few(clusters, filled):
    baseline_counts = np.append(draw_baseline(filled, 25_000), np.zeros(clusters - filled, dtype=np.int64))
    null = DivergenceNull(baseline_counts, 1.0).at(500)
    simulated = np.sort(draw_divergences(baseline_counts, 500, 20_000))
    for level in (0.1, 0.01):
        observed = simulated[int((1 - level) * len(simulated))]
        share = np.mean(simulated >= observed * (1 - 1e-9))
        # Four standard errors of the share, and what the approximation errs by.
        tolerance = 4 * math.sqrt(share * (1 - share) / len(simulated)) + 0.15 * share
        assert null.p_value(observed) == pytest.approx(share, abs=tolerance)


# One cluster has hardly all events, all, or all but a few of a window's.
ONE_CLUSTER = [
    ([5_000], 50, 250),
    ([20_000], 20, 1_000),
    ([4_998, 2], 50, 250),
    ([8_689, 10, 20, 12, 30, 25, 40, 15, 9, 11, 20, 31], 20, 100),
]


@pytest.mark.parametrize(("filled", "clusters", "count"), ONE_CLUSTER)
def test_windows_of_a_baseline_of_one_cluster_alarm_as_often_as_they_should(filled, clusters, count):
    baseline_counts = np.zeros(clusters, dtype=np.int64)
    baseline_counts[: len(filled)] = filled
    null = DivergenceNull(baseline_counts, 1.0).at(count)
    simulated = draw_divergences(baseline_counts, count, 100_000)
    assert null.expected == pytest.approx(simulated.mean(), rel=0.03)
    # Few windows differ, so each p-value is asked for once.
    divergences, times = np.unique(simulated.round(12), return_counts=True)
    p_values = np.array([null.p_value(max(divergence, 0.0)) for divergence in divergences])
    for level, most in ((0.01, 0.012), (1e-3, 1.2e-3), (1e-4, 1.5e-4)):
        assert times[p_values <= level].sum() / times.sum() < most


@pytest.mark.parametrize(
    ("clusters", "baseline_count", "count"), [(4, 19_331, 159), (4, 100_000, 1_000), (20, 10**6, 1_000)]
)
def test_a_window_that_is_as_its_baseline_of_one_cluster_is_no_evidence(clusters, baseline_count, count):
    baseline_counts = np.zeros(clusters, dtype=np.int64)
    baseline_counts[0] = baseline_count
    assert DivergenceNull(baseline_counts, 1.0).at(count).p_value(0.0) > 0.2


def test_the_least_divergence_that_a_window_may_have_is_no_evidence():
    baseline_counts = np.array([96_552, 0, 1, 0, 0, 1])
    least = divergence([139, 0, 0, 0, 0, 0], baseline_counts)
    assert DivergenceNull(baseline_counts, 5.0).at(139).p_value(least) > 0.2


def test_large_windows_against_larger_baselines_are_chi_squared():
    null = DivergenceNull(np.full(20, 50_000_000), 1.0)
    count, baseline_count = 10_000_000, 10**9
    scale = 8 * math.log(2) * count * baseline_count / (count + baseline_count)
    assert null.at(count).expected == pytest.approx(19 / scale, rel=0.01)
    for statistic in (10, 20, 40, 90):
        expected = chdtrc(19, statistic)
        assert null.at(count).p_value(statistic / scale) == pytest.approx(expected, rel=0.02)


@st.composite
def baselines(draw, least_clusters, most_clusters, least_count):
    clusters = draw(st.integers(least_clusters, most_clusters))
    counts = st.lists(st.integers(least_count, 500), min_size=clusters, max_size=clusters).filter(any)
    return np.array(draw(counts), dtype=np.int64)


@settings(max_examples=examples(60))
@given(
    baselines(2, 8, 0),
    st.integers(1, 3_000),
    st.sampled_from([1.0, 1.7, 40.0]),
    st.lists(st.floats(0, 1), min_size=2, max_size=20),
)
def test_the_p_value_is_above_zero_and_at_most_one_whatever_the_baseline(
    baseline_counts, count, inflation, js_divergences
):
    null = DivergenceNull(baseline_counts, inflation).at(count)
    assert all(0 < null.p_value(js_divergence) <= 1 for js_divergence in js_divergences)
    assert 0 < null.expected <= 1


@given(
    st.one_of(baselines(2, 8, 0), baselines(20, 50, 0)),
    st.integers(1, 2_000),
    st.sampled_from([1.0, 1.7, 3.0]),
    st.lists(st.floats(0, 30), min_size=2, max_size=20),
)
def test_the_p_value_does_not_rise_with_the_divergence(baseline_counts, count, inflation, ratios):
    null = DivergenceNull(baseline_counts, inflation).at(count)
    divergences = sorted(min(ratio * null.expected, 1.0) for ratio in [0.0, *ratios])
    p_values = [null.p_value(divergence) for divergence in divergences]
    assert p_values == sorted(p_values, reverse=True)


def test_the_largest_divergence_of_the_largest_window_has_a_p_value():
    null = DivergenceNull(draw_baseline(20, 10**6), 1.0)
    assert 0 < null.at(10**9).p_value(1.0) < 1e-300


def test_hundreds_of_clusters_have_a_null():
    baseline_counts = draw_baseline(300, 3_000)
    null = DivergenceNull(baseline_counts, 1.0)
    simulated = draw_divergences(baseline_counts, 256, 2_000)
    assert null.at(256).expected == pytest.approx(simulated.mean(), rel=0.01)
    assert null.at(256).p_value(float(np.median(simulated))) == pytest.approx(0.5, abs=0.05)


def test_an_event_in_a_cluster_that_the_baseline_left_empty_is_rare_but_possible():
    baseline_counts = np.array([500, 400, 100, 0])
    null = DivergenceNull(baseline_counts, 1.0)
    assert 0.01 < null.at(10).p_value(divergence([5, 4, 0, 1], baseline_counts)) < 0.2
    assert 0 < null.at(10).p_value(divergence([0, 0, 0, 10], baseline_counts)) < 1e-9


def test_the_p_value_and_the_expected_divergence_change_little_from_one_count_to_the_next():
    null = DivergenceNull(draw_baseline(20, 5_000), 1.0)
    counts = range(380, 460)
    statistic = 44.0
    p_values = [
        null.at(count).p_value(statistic / (8 * math.log(2)) * (1 / count + 1 / 5_000)) for count in counts
    ]
    assert np.abs(np.diff(np.log(p_values))).max() < 0.02
    expected = np.array([null.at(count).expected for count in counts])
    assert (np.diff(expected) < 0).all()


def test_over_dispersion_divides_both_counts():
    baseline_counts = draw_baseline(20, 2_000)
    inflated = DivergenceNull(baseline_counts * 3, 3.0)
    plain = DivergenceNull(baseline_counts, 1.0)
    expected = plain.at(256).expected
    assert inflated.at(768).expected == pytest.approx(expected, rel=0.01)
    for factor, tolerance in [(0.8, 0.01), (1.2, 0.02), (2.0, 0.1)]:
        assert inflated.at(768).p_value(factor * expected) == pytest.approx(
            plain.at(256).p_value(factor * expected), rel=tolerance
        )


def test_over_dispersion_makes_a_divergence_less_significant():
    baseline_counts = draw_baseline(20, 5_000)
    p_values = [
        DivergenceNull(baseline_counts, inflation).at(500).p_value(0.02) for inflation in (1.0, 1.1, 2.0, 5.0)
    ]
    assert p_values == sorted(p_values)
    assert p_values[0] < 0.01
    assert p_values[-1] > 0.9


@pytest.mark.parametrize(
    ("baseline_counts", "inflation"),
    [([100, 3], 8.0), ([1_000, 3], 8.0), ([300, 6], 16.0), ([1_000, 0, 3], 8.0), ([5, 5], 40.0)],
)
def test_parts_of_events_have_a_null(baseline_counts, inflation):
    for count in (1, 50, 333):
        null = DivergenceNull(np.array(baseline_counts), inflation).at(count)
        assert 0 < null.expected < 1
        assert 0 < null.p_value(null.expected) < 1


def test_more_over_dispersion_than_events_leaves_one_event():
    baseline_counts = draw_baseline(5, 5_000)
    null = DivergenceNull(baseline_counts, 50.0)
    assert null.at(10).expected == null.at(50).expected


def test_the_level_holds_on_average_over_baselines():
    random = np.random.default_rng(0)
    alarms = []
    for _ in range(100):
        shares = random.dirichlet(np.full(5, 3.0))
        baseline_counts = random.multinomial(1_280, shares)
        null = DivergenceNull(baseline_counts, 1.0).at(128)
        windows = random.multinomial(128, shares, 60)
        p_values = np.array([null.p_value(divergence(window, baseline_counts)) for window in windows])
        alarms.append(np.mean(p_values <= 0.05))
    # Four standard errors, the baselines being the clusters.
    assert np.mean(alarms) == pytest.approx(0.05, abs=4 * np.std(alarms) / math.sqrt(len(alarms)))
    assert np.std(alarms) < 0.05


def test_the_same_window_has_the_same_p_value_whatever_was_asked_before_and_in_every_process():
    baseline_counts = draw_baseline(5, 1_000)
    fresh, used = DivergenceNull(baseline_counts, 1.3), DivergenceNull(baseline_counts.copy(), 1.3)
    for count in (700, 7, 90):
        used.at(count).p_value(0.1)
    p_value = fresh.at(333).p_value(0.02)
    assert used.at(333).p_value(0.02) == p_value
    program = (
        "import numpy as np; from driftgauge.core.statistics.divergence_null import DivergenceNull; "
        f"print(repr(DivergenceNull(np.array({baseline_counts.tolist()}), 1.3).at(333).p_value(0.02)))"
    )
    elsewhere = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(elsewhere.stdout) == p_value


@pytest.mark.parametrize("baseline_counts", [[10], [0, 0, 0]])
def test_a_histogram_that_cannot_diverge_has_no_null(baseline_counts):
    with pytest.raises(ValueError, match="two clusters and an event"):
        DivergenceNull(np.array(baseline_counts), 1.0)


def test_less_dispersion_than_that_of_independent_events_is_refused():
    with pytest.raises(ValueError, match=r"0\.9 is less"):
        DivergenceNull(np.array([10, 10]), 0.9)
