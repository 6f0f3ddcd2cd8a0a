"""The Jensen-Shannon divergence: base 2, exact at its edges, the same as scipy's."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from driftgauge.core.statistics.divergence import js_contributions

BINS = st.one_of(st.just(0), st.integers(0, 1_000))


@st.composite
def histograms(draw, number=2):
    """Histograms of the same length, none of them empty, many bins zero."""
    clusters = draw(st.integers(1, 30))
    drawn = [draw(st.lists(BINS, min_size=clusters, max_size=clusters)) for _ in range(number)]
    assume(all(map(sum, drawn)))
    return [np.array(counts, dtype=np.int64) for counts in drawn]


def divergence(counts, baseline_counts):
    return math.fsum(js_contributions(np.array(counts), np.array(baseline_counts)))


@given(histograms())
def test_the_divergence_is_scipys_distance_squared(pair):
    assert divergence(*pair) == pytest.approx(jensenshannon(*pair, base=2) ** 2, abs=1e-12)


@given(histograms())
def test_every_contribution_is_finite_and_not_negative(pair):
    contributions = js_contributions(*pair)
    assert contributions.shape == pair[0].shape
    assert contributions.dtype == np.float64
    assert np.isfinite(contributions).all()
    assert (contributions >= 0).all()


@given(histograms())
def test_an_empty_cluster_contributes_half_the_others_share_and_nothing_where_both_are_empty(pair):
    counts, baseline_counts = pair
    contributions = js_contributions(counts, baseline_counts)
    shares, baseline_shares = counts / counts.sum(), baseline_counts / baseline_counts.sum()
    np.testing.assert_allclose(contributions[counts == 0], baseline_shares[counts == 0] / 2, atol=1e-15)
    np.testing.assert_allclose(
        contributions[baseline_counts == 0], shares[baseline_counts == 0] / 2, atol=1e-15
    )


@given(histograms(), st.integers(1, 1_000))
def test_equal_shares_diverge_by_exactly_nothing(pair, factor):
    assert (js_contributions(pair[0], pair[0] * factor) == 0).all()


@given(histograms())
def test_other_shares_diverge(pair):
    counts, baseline_counts = pair
    # In integers: the shares are equal if and only if the cross products are.
    assume((counts * baseline_counts.sum() != baseline_counts * counts.sum()).any())
    assert divergence(counts, baseline_counts) > 0


@given(histograms())
def test_the_divergence_is_symmetric(pair):
    counts, baseline_counts = pair
    assert divergence(counts, baseline_counts) == divergence(baseline_counts, counts)


@given(histograms())
def test_the_divergence_is_at_most_one(pair):
    assert divergence(*pair) <= 1 + 1e-15


@given(histograms(), st.randoms(use_true_random=False))
def test_the_order_of_clusters_does_not_matter(pair, random):
    counts, baseline_counts = pair
    order = list(range(len(counts)))
    random.shuffle(order)
    contributions = js_contributions(counts, baseline_counts)
    np.testing.assert_array_equal(
        js_contributions(counts[order], baseline_counts[order]), contributions[order]
    )
    assert divergence(counts[order], baseline_counts[order]) == divergence(counts, baseline_counts)


def test_disjoint_histograms_diverge_by_one():
    assert divergence([3, 5, 0, 0], [0, 0, 7, 1]) == pytest.approx(1, abs=1e-15)


def test_a_known_case_by_hand():
    # p = (1, 0), q = (1/2, 1/2), m = (3/4, 1/4): (log2(4/3) + 1/2 log2(2/3) + 1/2 log2 2) / 2
    assert divergence([4, 0], [2, 2]) == pytest.approx((math.log2(4 / 3) + 0.5 * math.log2(2 / 3) + 0.5) / 2)


def test_counts_of_any_size_are_shares_all_the_same():
    assert divergence([10**15, 3 * 10**15], [1, 3]) == 0


def test_rounding_leaves_no_contribution_below_zero():
    # Shares so close that the terms are smaller than their own rounding errors.
    n = 10**8
    assert (js_contributions(np.array([n + 2, n, n]), np.array([n, n, n + 1])) >= 0).all()


def test_histograms_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"\(2,\) and \(3,\) clusters"):
        js_contributions(np.array([1, 2]), np.array([1, 2, 3]))


@pytest.mark.parametrize(("counts", "baseline_counts"), [([0, 0], [1, 2]), ([1, 2], [0, 0])])
def test_an_empty_histogram_is_refused(counts, baseline_counts):
    with pytest.raises(ValueError, match="without events"):
        js_contributions(np.array(counts), np.array(baseline_counts))
