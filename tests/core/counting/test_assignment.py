"""Nearest centroids: against scikit-learn's k-means and exact arithmetic."""

import numpy as np
import pytest
from sklearn.cluster import KMeans

from driftgauge.core.counting.assignment import Centroids, DistanceMetric

LARGE = np.float32(3e38)


def sklearn_with(centers):
    """A KMeans with these centers, fitted by one iteration on the centers themselves."""
    model = KMeans(n_clusters=len(centers), init=centers, n_init=1, max_iter=1).fit(centers)
    model.cluster_centers_ = np.ascontiguousarray(centers)
    return model


def squared_distances(vectors, centers):
    """(n, k) float64, by differences: no cancellation."""
    return np.square(vectors.astype(np.float64)[:, None, :] - centers.astype(np.float64)).sum(axis=2)


def is_clear(distances, *, relative):
    """Which rows have a nearest centroid by more than the rounding of float32."""
    first, second = np.sort(distances, axis=1)[:, :2].T
    return second - first > relative * (second + first)


@pytest.mark.parametrize(
    ("clusters", "dimension", "offset", "relative"),
    [
        (2, 1, 0, 1e-5),
        (5, 3, 0, 1e-5),
        (64, 512, 0, 1e-5),
        (20, 128, 100, 0.01),
        (20, 128, 1_000, 0.01),
        (20, 128, -10_000, 0.01),
    ],
)
def test_assign_finds_nearest_away_from_ties_also_with_large_common_offset(
    clusters, dimension, offset, relative
):
    random = np.random.default_rng(clusters)
    centers = (random.standard_normal((clusters, dimension)) + offset).astype(np.float32)
    noise = 0.8 * random.standard_normal((2_000, dimension))
    vectors = (centers[random.integers(clusters, size=2_000)] + noise).astype(np.float32)
    distances = squared_distances(vectors, centers)
    clear = is_clear(distances, relative=relative)
    assert clear.mean() > 0.95
    assigned = Centroids(centers, DistanceMetric.EUCLIDEAN).assign(vectors)
    np.testing.assert_array_equal(assigned[clear], distances.argmin(axis=1)[clear])


def test_assign_gives_exact_ties_to_lower_id():
    # Integers: every product and sum is exact in float32, so ties are ties.
    random = np.random.default_rng(1)
    centers = np.unique(random.integers(-2, 3, size=(12, 2)), axis=0).astype(np.float32)
    random.shuffle(centers)
    vectors = random.integers(-4, 5, size=(4_000, 2)).astype(np.float32)
    distances = squared_distances(vectors, centers)
    tied = (distances == distances.min(axis=1, keepdims=True)).sum(axis=1) > 1
    assert tied.sum() > 500
    assigned = Centroids(centers, DistanceMetric.EUCLIDEAN).assign(vectors)
    np.testing.assert_array_equal(assigned, distances.argmin(axis=1))
    np.testing.assert_array_equal(assigned, sklearn_with(centers).predict(vectors))


def test_cosine_assign_finds_largest_similarity_at_any_length():
    random = np.random.default_rng(4)
    centers = random.standard_normal((10, 32))
    centers = (centers / np.linalg.norm(centers, axis=1, keepdims=True)).astype(np.float32)
    directions = random.standard_normal((3_000, 32))
    vectors = (directions * 10.0 ** random.uniform(-3, 3, size=(3_000, 1))).astype(np.float32)
    similarity = vectors.astype(np.float64) @ centers.T.astype(np.float64)
    similarity /= np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    second, first = np.sort(similarity, axis=1)[:, -2:].T
    clear = first - second > 1e-5
    assert clear.mean() > 0.99
    assigned = Centroids(centers, DistanceMetric.COSINE).assign(vectors)
    np.testing.assert_array_equal(assigned[clear], similarity.argmax(axis=1)[clear])


@pytest.mark.parametrize("metric", DistanceMetric)
def test_assign_marks_only_rows_that_overflow(metric):
    random = np.random.default_rng(5)
    centers = random.standard_normal((5, 8)).astype(np.float32)
    centroids = Centroids(centers, metric)
    vectors = random.standard_normal((50, 8)).astype(np.float32)
    expected = centroids.assign(vectors)
    broken = vectors.copy()
    broken[7] = LARGE * np.sign(centers[1] - centers[0])
    broken[20] = -broken[7]
    assigned = centroids.assign(broken)
    assert assigned[[7, 20]].tolist() == [-1, -1]
    others = np.delete(np.arange(50), [7, 20])
    np.testing.assert_array_equal(assigned[others], expected[others])


@pytest.mark.parametrize("dimension", [2, 128, 768])
@pytest.mark.parametrize("metric", DistanceMetric)
def test_clusters_of_near_ties_and_distances_are_same_in_any_batch(dimension, metric):
    random = np.random.default_rng(dimension)
    centers = random.standard_normal((20, dimension)).astype(np.float32) + 3
    if metric is DistanceMetric.COSINE:
        centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    centroids = Centroids(centers, metric)
    pairs = random.integers(0, 20, (600, 2))
    vectors = (centers[pairs[:, 0]] + centers[pairs[:, 1]]) / 2
    whole = centroids.assign(vectors)
    distances = centroids.distances(vectors, whole)
    for size in (1, 7, 64, 333):
        for start in range(0, 600, size):
            part = slice(start, start + size)
            np.testing.assert_array_equal(centroids.assign(vectors[part]), whole[part])
            np.testing.assert_array_equal(centroids.distances(vectors[part], whole[part]), distances[part])


@pytest.mark.parametrize("metric", DistanceMetric)
def test_distances_are_those_to_assigned_centroids(metric):
    random = np.random.default_rng(6)
    centers = random.standard_normal((5, 32)).astype(np.float32)
    if metric is DistanceMetric.COSINE:
        centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    vectors = random.standard_normal((200, 32)).astype(np.float32) * 3
    clusters = random.integers(5, size=200)
    exact, own = vectors.astype(np.float64), centers[clusters].astype(np.float64)
    expected = np.linalg.norm(exact - own, axis=1)
    if metric is DistanceMetric.COSINE:
        expected = 1 - (exact * own).sum(axis=1) / np.linalg.norm(exact, axis=1)
    distances = Centroids(centers, metric).distances(vectors, clusters)
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, expected, rtol=1e-5, atol=1e-6)


def test_distance_that_overflows_is_infinite():
    centroids = Centroids(np.zeros((2, 3), dtype=np.float32), DistanceMetric.EUCLIDEAN)
    vectors = np.full((1, 3), LARGE)
    assert centroids.distances(vectors, np.array([1])).tolist() == [np.inf]
