"""The null distribution of the divergence: bounds, monotonicity, edge cases, overdispersion, determinism."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.statistics.nulls.divergence_null import DivergenceNull
from tests.builders.statistics import divergence, draw_baseline
from tests.examples import examples


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


def test_overdispersion_divides_both_counts():
    baseline_counts, counts = draw_baseline(20, 2_000), draw_baseline(20, 256)
    inflated = DivergenceNull.of(counts * 3, baseline_counts * 3, 3.0)
    plain = DivergenceNull.of(counts, baseline_counts, 1.0)
    assert inflated.expected == pytest.approx(plain.expected, rel=1e-12)
    assert inflated.p_value(0.05) == pytest.approx(plain.p_value(0.05), rel=1e-9)


def test_sum_of_many_fractions_of_events_is_kept():
    # Of 100 bursts of 40 events none has a cluster of its own.
    window, baseline_counts = np.array([4] * 100 + [0] * 200), np.array([12] * 300)
    singles = np.ones(100, dtype=np.int64)
    singles[:10] = 0
    expected = DivergenceNull.of(1 - singles, singles, 1.0).expected
    assert DivergenceNull.of(window, baseline_counts, 40.0).expected == pytest.approx(expected, rel=1e-9)
