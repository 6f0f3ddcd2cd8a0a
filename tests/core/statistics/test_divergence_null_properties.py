"""The null distribution of the divergence: bounds, monotonicity, edge cases, overdispersion, determinism."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftgauge.core.statistics.divergence_null import DivergenceNull
from tests.builders.statistics import divergence, draw_baseline
from tests.examples import examples
from tests.processes import run_python


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
def test_p_value_is_above_zero_and_at_most_one(baseline_counts, count, inflation, js_divergences):
    null = DivergenceNull(baseline_counts, inflation).at(count)
    assert all(0 < null.p_value(js_divergence) <= 1 for js_divergence in js_divergences)
    assert 0 < null.expected <= 1


@given(
    st.one_of(baselines(2, 8, 0), baselines(20, 50, 0)),
    st.integers(1, 2_000),
    st.sampled_from([1.0, 1.7, 3.0]),
    st.lists(st.floats(0, 30), min_size=2, max_size=20),
)
def test_p_value_does_not_rise_with_divergence(baseline_counts, count, inflation, ratios):
    null = DivergenceNull(baseline_counts, inflation).at(count)
    divergences = sorted(min(ratio * null.expected, 1.0) for ratio in [0.0, *ratios])
    p_values = [null.p_value(divergence) for divergence in divergences]
    assert p_values == sorted(p_values, reverse=True)


def test_largest_divergence_of_largest_window_has_p_value():
    null = DivergenceNull(draw_baseline(20, 10**6), 1.0)
    assert 0 < null.at(10**9).p_value(1.0) < 1e-300


def test_event_in_empty_baseline_cluster_is_rare_but_possible():
    baseline_counts = np.array([500, 400, 100, 0])
    null = DivergenceNull(baseline_counts, 1.0)
    assert 0.01 < null.at(10).p_value(divergence([5, 4, 0, 1], baseline_counts)) < 0.2
    assert 0 < null.at(10).p_value(divergence([0, 0, 0, 10], baseline_counts)) < 1e-9


@pytest.mark.parametrize(
    ("clusters", "baseline_count", "count"), [(4, 19_331, 159), (4, 100_000, 1_000), (20, 10**6, 1_000)]
)
def test_window_equal_to_one_cluster_baseline_is_not_significant(clusters, baseline_count, count):
    baseline_counts = np.zeros(clusters, dtype=np.int64)
    baseline_counts[0] = baseline_count
    assert DivergenceNull(baseline_counts, 1.0).at(count).p_value(0.0) > 0.2


def test_least_possible_divergence_is_not_significant():
    baseline_counts = np.array([96_552, 0, 1, 0, 0, 1])
    least = divergence([139, 0, 0, 0, 0, 0], baseline_counts)
    assert DivergenceNull(baseline_counts, 5.0).at(139).p_value(least) > 0.2


def test_null_is_smooth_in_count():
    null = DivergenceNull(draw_baseline(20, 5_000), 1.0)
    counts = range(380, 460)
    statistic = 44.0
    p_values = [
        null.at(count).p_value(statistic / (8 * math.log(2)) * (1 / count + 1 / 5_000)) for count in counts
    ]
    assert np.abs(np.diff(np.log(p_values))).max() < 0.02
    expected = np.array([null.at(count).expected for count in counts])
    assert (np.diff(expected) < 0).all()


def test_overdispersion_divides_both_counts():
    baseline_counts = draw_baseline(20, 2_000)
    inflated = DivergenceNull(baseline_counts * 3, 3.0)
    plain = DivergenceNull(baseline_counts, 1.0)
    expected = plain.at(256).expected
    assert inflated.at(768).expected == pytest.approx(expected, rel=0.01)
    for factor, tolerance in [(0.8, 0.01), (1.2, 0.02), (2.0, 0.1)]:
        assert inflated.at(768).p_value(factor * expected) == pytest.approx(
            plain.at(256).p_value(factor * expected), rel=tolerance
        )


def test_overdispersion_raises_p_value():
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
def test_fractional_effective_counts_have_null(baseline_counts, inflation):
    for count in (1, 50, 333):
        null = DivergenceNull(np.array(baseline_counts), inflation).at(count)
        assert 0 < null.expected < 1
        assert 0 < null.p_value(null.expected) < 1


def test_effective_count_is_at_least_one_event():
    baseline_counts = draw_baseline(5, 5_000)
    null = DivergenceNull(baseline_counts, 50.0)
    assert null.at(10).expected == null.at(50).expected


def test_p_value_is_same_in_every_process_and_order():
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
    assert float(run_python(program).stdout) == p_value


@pytest.mark.parametrize("baseline_counts", [[10], [0, 0, 0]])
def test_null_rejects_histogram_that_cannot_diverge(baseline_counts):
    with pytest.raises(ValueError, match="two clusters and one event"):
        DivergenceNull(np.array(baseline_counts), 1.0)


def test_null_rejects_overdispersion_below_one():
    with pytest.raises(ValueError, match=r"0\.9 is less"):
        DivergenceNull(np.array([10, 10]), 0.9)
