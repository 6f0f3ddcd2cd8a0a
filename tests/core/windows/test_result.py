"""Window results: movers and signed contributions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.core.statistics.divergence import MAX_MOVERS, js_contributions
from tests.builders.references import FIRST
from tests.builders.results import build_result, build_score

COUNTS = st.lists(st.integers(0, 500), min_size=4, max_size=4).filter(any).map(np.array)


@pytest.mark.parametrize(
    ("contributions", "movers"),
    [
        ([0.1, 0.4, 0.2, 0.3], (1, 3, 2)),
        ([0.1, 0.4, 0.0, 0.0], (1, 0)),
        ([0.2, 0.1, 0.2, 0.2], (0, 2, 3)),
        ([0.0, 0.0, 0.0, 0.0], ()),
    ],
)
def test_movers_are_largest_contributions_lower_cluster_first(contributions, movers):
    assert build_score((1, 1, 1, 1), contributions=np.array(contributions)).movers == movers
    assert len(movers) <= MAX_MOVERS


@given(COUNTS)
def test_signed_contribution_is_negative_where_share_fell(counts):
    contributions = js_contributions(counts, FIRST.counts)
    result = build_result(counts, score=build_score(counts))
    signed = result.signed_contributions
    np.testing.assert_array_equal(np.abs(signed), contributions)
    # In integers: a share has fallen if and only if the cross product has.
    gain = counts * int(FIRST.counts.sum()) - FIRST.counts * int(counts.sum())
    np.testing.assert_array_equal(np.sign(signed[contributions > 0]), np.sign(gain[contributions > 0]))
