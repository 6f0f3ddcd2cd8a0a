"""Outliers among the vectors that gave the radii: each against the radius of the others."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.baseline.radii import beyond_others
from driftgauge.core.statistics.novelty import RADIUS_LEVEL


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([1, 2, 3, 49, 102, 250]), min_size=1, max_size=3))
def test_vector_is_beyond_quantile_of_others(seed: int, sizes: list[int]) -> None:
    random = np.random.default_rng(seed)
    ids = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    distances = random.exponential(size=len(ids)).astype(np.float32)
    found = beyond_others(distances, ids)
    for vector in range(len(ids)):
        others = distances[(ids == ids[vector]) & (np.arange(len(ids)) != vector)]
        radius = np.quantile(others.astype(np.float64), RADIUS_LEVEL) if len(others) else np.inf
        assert found[vector] == (distances[vector] > radius)


def test_share_beyond_others_is_that_of_new_vectors() -> None:
    random = np.random.default_rng(0)
    within, outside = [], []
    for _ in range(200):
        distances = random.exponential(size=500).astype(np.float32)
        within.append(beyond_others(distances, np.zeros(500, np.intp)).mean())
        outside.append((random.exponential(size=20_000) > np.quantile(distances, RADIUS_LEVEL)).mean())
    assert abs(np.mean(within) - np.mean(outside)) < 0.001
    assert np.mean(within) > 0.0115
