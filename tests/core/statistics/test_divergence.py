"""The Jensen-Shannon divergence: against scipy, exact in edge cases."""

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
    """Histograms of the same length, none of them empty, with many empty bins."""
    clusters = draw(st.integers(1, 30))
    drawn = [draw(st.lists(BINS, min_size=clusters, max_size=clusters)) for _ in range(number)]
    assume(all(map(sum, drawn)))
    return [np.array(counts, dtype=np.int64) for counts in drawn]


def divergence(counts, baseline_counts):
    return math.fsum(js_contributions(np.array(counts), np.array(baseline_counts)))


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
