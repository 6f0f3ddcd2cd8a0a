"""Windows of event time and the score of a closed one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.divergence import js_contributions
from driftgauge.core.result import Window, WindowResult, score
from driftgauge.core.significance import noise_floor

COUNTS = st.lists(st.integers(1, 500), min_size=6, max_size=6).map(np.array)


def test_a_window_ends_where_the_next_begins():
    assert Window(size_ms=3_600_000, start_ms=7_200_000).end_ms == 10_800_000


@given(COUNTS, COUNTS)
def test_the_parts_of_a_score_belong_together(counts, baseline_counts):
    scored = score(counts, baseline_counts)
    assert scored.js_divergence == pytest.approx(scored.contributions.sum(), abs=1e-15)
    assert scored.js_distance == math.sqrt(scored.js_divergence)
    np.testing.assert_array_equal(scored.contributions, js_contributions(counts, baseline_counts))
    assert scored.noise_floor == noise_floor(6, counts.sum(), baseline_counts.sum())


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=40), st.integers(1, 40))
def test_disjoint_histograms_score_at_most_one_in_spite_of_rounding(shares, others):
    counts = np.array([*shares, *[0] * others])
    baseline_counts = np.array([*[0] * len(shares), *range(1, others + 1)])
    divergence = score(counts, baseline_counts).js_divergence
    assert 1 - 1e-12 < divergence <= 1


@given(COUNTS, COUNTS, st.permutations(range(6)))
def test_the_score_does_not_depend_on_the_order_of_clusters(counts, baseline_counts, order):
    scored = score(counts[order], baseline_counts[order])
    assert scored.js_divergence == score(counts, baseline_counts).js_divergence


def test_a_results_count_is_the_sum_of_its_clusters():
    result = WindowResult(
        stream="images",
        window=Window(3_600_000, 0),
        revision=0,
        counts=np.array([3, 0, 4]),
        baseline_counts=np.array([1, 1, 1]),
        baseline_id="sha256:abc",
        score=None,
    )
    assert result.count == 7
    assert type(result.count) is int
