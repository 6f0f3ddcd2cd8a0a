"""The overdispersion of clean windows: unbiased, at least that of independent events, positive definite."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import DivergenceNull
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS, Overdispersion, OverdispersionEstimator

SHARES = np.array([0.3, 0.2, 0.2, 0.15, 0.1, 0.05])
COUNT, BASELINE_COUNT = 120, 2_400


def clean_windows(random, windows, length=1, covariance=None):
    """The estimator of windows of bursts of equal events, each with its own baseline of such bursts."""
    covariance = np.eye(4) if covariance is None else covariance
    factor = np.linalg.cholesky(covariance) * math.sqrt(1 / COUNT + 1 / BASELINE_COUNT)
    clean = OverdispersionEstimator.empty(len(covariance))
    for shift in random.standard_normal((windows, len(covariance))) @ factor.T:
        baseline_counts = length * random.multinomial(BASELINE_COUNT // length, SHARES)
        counts = length * random.multinomial(COUNT // length, SHARES)
        clean = clean.add(counts, baseline_counts, shift, BASELINE_COUNT)
    return clean


@pytest.mark.parametrize("length", [1, 2, 5])
def test_overdispersion_of_bursts_is_their_length(length):
    # The mean over windows of X2 / (k - 1) varies by sqrt(2 / 5 / 2,000), 1.4 %, and the expansion in
    # 1/m is right to about as much.
    overdispersion = clean_windows(np.random.default_rng(length), 2_000, length).overdispersion()
    assert overdispersion.windows == 2_000
    assert overdispersion.counts == pytest.approx(length, rel=0.06)


def test_covariance_of_means_is_estimated():
    covariance = np.array([[4.0, 1.5, 0, 0], [1.5, 2, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    overdispersion = clean_windows(np.random.default_rng(0), 5_000, covariance=covariance).overdispersion()
    np.testing.assert_allclose(overdispersion.means, covariance, atol=0.3)


def test_chance_correlations_are_shrunk_and_real_ones_kept():
    random, components, windows = np.random.default_rng(1), 16, 40
    common = np.zeros(components)
    common[:4] = 2
    largest = {}
    for name, covariance in (
        ("none", np.eye(components)),
        ("real", np.eye(components) + np.outer(common, common)),
    ):
        shifts = random.multivariate_normal(np.zeros(components), covariance, (50, windows))
        found = []
        for sample in shifts:
            products = sample.T @ sample
            overdispersion = OverdispersionEstimator(windows, float(windows), products).overdispersion()
            found.append(
                [np.linalg.eigvalsh(products / windows)[-1], np.linalg.eigvalsh(overdispersion.means)[-1]]
            )
        largest[name] = np.mean(found, axis=0)
    raw, shrunk = largest["none"]
    assert 1 < shrunk < 1 + 0.75 * (raw - 1)
    raw, shrunk = largest["real"]
    assert shrunk == pytest.approx(raw, rel=0.05)
    assert shrunk == pytest.approx(17, rel=0.1)


@given(arrays(np.float64, (25, 5), elements=st.floats(-1e3, 1e3)), st.integers(MIN_WINDOWS, 10**6))
def test_covariance_is_positive_definite(shifts, windows):
    overdispersion = OverdispersionEstimator(windows, 0.0, shifts.T @ shifts).overdispersion()
    assert (np.diag(overdispersion.means) > 0).all()
    scales = np.sqrt(np.diag(overdispersion.means))
    assert np.linalg.eigvalsh(overdispersion.means / np.outer(scales, scales))[0] > 0
    np.testing.assert_array_equal(overdispersion.means, overdispersion.means.T)
    assert np.trace(overdispersion.means) >= 5 * (1 - 1e-9)


def test_underdispersed_windows_count_as_independent():
    overdispersion = OverdispersionEstimator(50, 10.0, np.diag([5.0, 15.0])).overdispersion()
    assert overdispersion.counts == 1
    assert np.trace(overdispersion.means) == pytest.approx(2)


def test_too_few_windows_have_no_overdispersion():
    clean = OverdispersionEstimator(MIN_WINDOWS - 1, 19.0, np.eye(3))
    assert clean.overdispersion() is None
    shift, counts = np.zeros(3), np.array([5, 5])
    assert clean.add(counts, counts, shift, 10).overdispersion() is not None


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


def test_overdispersion_of_tail_corrects_it_for_bursts_of_topic():
    # Ten topics with clusters of their own, or partly so, in bursts of five. Of 20,000 windows the rate
    # at 1e-2 is known to 7 % of itself, at 1e-3 to 22 %; divided by the overdispersion alone counts
    # are significant 2 and 4 times as often.
    random = np.random.default_rng(5)
    topics, clusters, length, bursts = 10, 20, 5, 200
    given_topic = random.dirichlet(np.full(clusters, 0.15), topics)
    shares = given_topic.mean(axis=0)
    between = (given_topic - shares).T @ (given_topic - shares) / topics / np.sqrt(np.outer(shares, shares))
    within = np.eye(clusters) - np.sqrt(np.outer(shares, shares))
    directions = np.linalg.eigvalsh(within + (length - 1) * between)[1:]
    overdispersion = Overdispersion(10**6, float(directions.mean()), np.diag(directions))

    baseline_counts = np.rint(10**8 * shares).astype(np.int64)
    topic = random.multinomial(bursts, np.full(topics, 1 / topics), 20_000)
    counts = sum(random.multinomial(length * topic[:, index], given_topic[index]) for index in range(topics))
    # Events of a burst are independent given their topic, and so are all events of a topic in a window.
    divergences = np.array([js_contributions(row, baseline_counts).sum() for row in counts])
    for divisor, low, high in (
        (overdispersion.of_tail(clusters), 0.2, 1.3),
        (overdispersion.counts, 1.5, 9),
    ):
        null = DivergenceNull(baseline_counts, divisor)
        for level in (1e-2, 1e-3):
            # Only the largest divergences can be significant.
            rare = np.argsort(divergences)[-int(20 * level * len(divergences)) :]
            found = [null.of(counts[row]).p_value(divergences[row]) < level for row in rare]
            rate = sum(found) / len(divergences)
            assert low * level < rate < high * level


def test_overdispersion_of_distances_is_mean_square_and_at_least_one():
    clean = OverdispersionEstimator.empty(2)
    random = np.random.default_rng(0)
    for _ in range(400):
        values = random.standard_normal(4) * np.sqrt([0.5, 4.0, 9.0, 2.0])
        clean = clean.add(np.array([50, 50]), np.array([500, 500]), np.zeros(2), 1_000, {"spread": values})
    assert clean.overdispersion().of("spread", 4) == pytest.approx([1.0, 4.0, 9.0, 2.0], rel=0.3)
    assert clean.overdispersion().of("spread", 4)[0] == 1
