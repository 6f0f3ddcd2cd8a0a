"""The score of a closed window, and what is published of it."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.divergence import js_contributions
from driftgauge.core.result import WindowResult, score
from driftgauge.core.significance import noise_floor
from driftgauge.core.state import Published
from driftgauge.core.window import Window

COUNTS = st.lists(st.integers(1, 500), min_size=6, max_size=6).map(np.array)


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


def published(*, scored):
    return Published(
        revision=3,
        counts=np.array([3, 0, 4]),
        baseline_counts=np.array([1, 1, 1]),
        baseline_id="sha256:abc",
        scored=scored,
        missing=(("embeddings", 2),),
        events_lost=True,
        published_ms=77,
    )


def test_a_result_says_what_was_published_and_adds_the_score():
    window, kept = Window(3_600_000, 0), published(scored=True)
    result = WindowResult.of("images", window, kept)
    assert (result.stream, result.window) == ("images", window)
    for name in (
        "revision",
        "counts",
        "baseline_counts",
        "baseline_id",
        "missing",
        "events_lost",
        "published_ms",
    ):
        assert getattr(result, name) is getattr(kept, name)
    expected = score(kept.counts, kept.baseline_counts)
    assert result.score.js_divergence == expected.js_divergence
    np.testing.assert_array_equal(result.score.contributions, expected.contributions)
    assert result.count == 7
    assert type(result.count) is int


def test_a_window_with_too_few_events_has_no_score():
    assert WindowResult.of("images", Window(3_600_000, 0), published(scored=False)).score is None
