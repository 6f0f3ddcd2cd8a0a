"""Tests of `driftgauge.baseline.clustering`."""

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.clustering import find_centroids, measure_stability
from driftgauge.core.counting.assignment import DistanceMetric


def stability(
    vectors: NDArray[np.float32], clusters: int, *, metric: DistanceMetric = DistanceMetric.EUCLIDEAN
) -> float:
    fitted, held_out = np.arange(0, len(vectors), 2), np.arange(1, len(vectors), 2)
    centroids = find_centroids(vectors[fitted], clusters, metric, 0, lambda _: None)
    return measure_stability(centroids, vectors, fitted, held_out, 0)


@pytest.mark.parametrize("metric", DistanceMetric)
def test_stability_of_separate_clusters_is_high(metric: DistanceMetric) -> None:
    random = np.random.default_rng(0)
    centres = 20 * np.eye(3)
    vectors = centres[random.integers(3, size=600)] + random.normal(size=(600, 3))
    assert stability(vectors.astype(np.float32), 3, metric=metric) > 0.99


def test_stability_without_clusters_is_low() -> None:
    vectors = np.random.default_rng(0).normal(size=(2_000, 16)).astype(np.float32)
    first = stability(vectors, 8)
    assert 0 < first < 0.5
    assert stability(vectors, 8) == first


def test_stability_trial_allows_empty_cluster() -> None:
    # Its vectors have fewer directions than there are clusters.
    vectors = np.repeat(np.eye(4, dtype=np.float32), [500, 500, 500, 2], axis=0)
    rows = np.arange(len(vectors))
    centroids = find_centroids(vectors, 4, DistanceMetric.COSINE, 0, lambda _: None)
    assert measure_stability(centroids, vectors, rows[:1_500], rows, 0) > 0.99
