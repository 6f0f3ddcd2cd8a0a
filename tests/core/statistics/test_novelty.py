"""The test of novelty: against the exact beta-binomial tail."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import betabinom, poisson

from driftgauge.core.counting.tally import CLUSTER_COUNTS, Tally, TallyField
from driftgauge.core.statistics.novelty import (
    CLUSTER_OUTLIERS,
    RADIUS_LEVEL,
    NoveltyNull,
    main_cluster,
    own_outlier_shares,
)

TEN = np.full(10, 300, dtype=np.int64)


def null(baseline_counts=TEN, overdispersion=1.0, windows=math.inf):
    return NoveltyNull(baseline_counts, own_outlier_shares(baseline_counts), overdispersion, windows)


def find(here, outliers, counts):
    """The novelty of a window, by its outliers and events of each cluster."""
    fields = TallyField(CLUSTER_COUNTS, len(counts)), TallyField(CLUSTER_OUTLIERS, len(counts))
    return here.test(Tally(np.concatenate([counts, outliers]), fields))


@pytest.mark.parametrize(("baseline_count", "count"), [(300, 200), (5_000, 1_000), (20_000, 200)])
def test_p_value_of_one_cluster_is_near_beta_binomial_tail(baseline_count, count):
    beyond = baseline_count * (1 - RADIUS_LEVEL) + RADIUS_LEVEL
    exact = betabinom(count, beyond, baseline_count + 1 - beyond)
    here = null(np.array([baseline_count]))
    for level in (0.1, 1e-2, 1e-4, 1e-7):
        outliers = int(exact.isf(level)) + 1
        expected = exact.sf(outliers - 1) - exact.pmf(outliers) / 2
        # Above, never far below.
        assert 0.85 * expected < find(here, np.array([outliers]), np.array([count])).p_value < 1.7 * expected


def test_window_with_outliers_of_all_clusters_has_three_quarters_of_weight():
    here, counts, outliers = null(np.full(10, 10**9)), np.full(10, 100), np.full(10, 3)
    # No cluster is significant by itself, and outliers this rare are Poisson variables nearly.
    whole = (poisson.sf(29, 10) + poisson.sf(30, 10)) / 2
    assert find(here, outliers, counts).p_value == pytest.approx(whole / 0.75, rel=0.02)


@given(
    st.lists(st.integers(0, 60), min_size=10, max_size=10).map(np.array),
    st.integers(0, 9),
    st.integers(1, 100),
    st.floats(1, 20),
)
def test_p_value_falls_with_outliers(outliers, cluster, count, overdispersion):
    here = null(overdispersion=overdispersion)
    counts = np.full(10, count)
    more = outliers + np.eye(10, dtype=np.int64)[cluster]
    before, after = (find(here, number, counts) for number in (outliers, more))
    assert 0 < after.p_value <= before.p_value < 1
    assert after.share > before.share
    assert after.excess - before.excess == pytest.approx(1 / (10 * count))


@pytest.mark.parametrize(
    ("contributions", "cluster"),
    [([0.01, 0.03, 0.01], 1), ([0.02, 0.02, 0.0], None), ([-0.01, -0.02], None), ([0.01, -0.03], 0)],
)
def test_main_cluster_holds_most_of_excess(contributions, cluster):
    assert main_cluster(np.array(contributions)) == cluster


def test_window_of_one_event_finds_no_novelty():
    assert null().least(1, 1e-4) == math.inf
