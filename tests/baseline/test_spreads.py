"""The spreads of vectors, their moments, and which vectors are outliers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftgauge.api import score_vectors
from driftgauge.baseline.fitting import split_indices
from driftgauge.baseline.moments import leave_one_out_outliers, measure, moments
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.counting.projection import Projection
from driftgauge.core.statistics.novelty import RADIUS_LEVEL
from driftgauge.core.statistics.relations import RELATIONS
from driftgauge.core.statistics.spread import SPREAD, SPREAD_MOMENTS
from tests.builders.baselines import fit

LARGE = np.full(3, 99.0, np.float32)


def drawn(count: int, dimension: int) -> np.ndarray:
    return np.random.default_rng(dimension).normal(size=(count, dimension)).astype(np.float32)


def measured(
    vectors: np.ndarray, rows: np.ndarray, reference: Projection, radii: np.ndarray = LARGE
) -> dict[str, np.ndarray]:
    """What is counted of some rows, against the first vectors as centroids."""
    means = np.zeros((len(radii), len(reference.variances)))
    return measure(
        vectors, rows, reference, Centroids(vectors[: len(radii)], DistanceMetric.EUCLIDEAN), radii, means
    )


def moments_of(found: dict[str, np.ndarray], outliers: np.ndarray | None = None) -> np.ndarray:
    if outliers is None:
        outliers = np.zeros(len(found["cluster_counts"]), np.bool_)
    return SPREAD.fit(found, outliers)[SPREAD_MOMENTS]


@pytest.mark.parametrize("dimension", [2, 32])
def test_components_of_all_dimensions_leave_no_residual(dimension: int) -> None:
    vectors = drawn(200, dimension)
    reference = moments(vectors, np.arange(100))
    components, residual, _ = moments_of(measured(vectors, np.arange(100, 200), reference)).T
    assert reference.residual == 0
    assert components[0] == 100
    assert not residual.any()


def test_fit_measures_moments_on_vectors_that_nothing_was_fitted_on() -> None:
    vectors = drawn(2_000, 40)
    baseline = fit(vectors, clusters=3)
    fitted, rows = split_indices(len(vectors), 0)
    reference = moments(vectors, fitted, rows)
    found = measure(vectors, rows, reference, baseline.centroids, baseline.radii, baseline.cluster_means)
    ids = baseline.centroids.assign(vectors[rows])
    outliers = leave_one_out_outliers(baseline.centroids.distances(vectors[rows], ids), ids)
    assert baseline.arrays["spread_moments"].tolist() == moments_of(found, outliers).tolist()
    of_relations = RELATIONS.fit(found, outliers)
    for name, array in of_relations.items():
        assert baseline.arrays[name].tolist() == array.tolist()
    assert baseline.residual.tolist() == [reference.residual]
    along = (vectors[fitted] - reference.mean) @ reference.components.T.astype(np.float64)
    ids = baseline.centroids.assign(vectors[fitted])
    for cluster, mean in enumerate(baseline.cluster_means):
        np.testing.assert_allclose(mean, along[ids == cluster].mean(axis=0), atol=1e-6)


def test_clean_window_is_as_baseline_of_few_vectors_a_cluster() -> None:
    # Ten vectors a cluster are fitted on, and lie nearer to its mean than new ones.
    vectors = np.random.default_rng(0).normal(size=(7_000, 4)) * np.arange(1, 5) ** -0.5
    baseline = fit(vectors[:3_000], clusters=150)
    findings = score_vectors(baseline, vectors[3_000:].astype(np.float32)).findings
    for name, finding in findings.items():
        assert all(p_value is None or p_value > 0.001 for p_value in finding.p_values), name


def test_fit_on_few_long_vectors_warns_of_residual() -> None:
    lines: list[str] = []
    fit(drawn(80, 384), clusters=2, progress=lines.append)
    assert [line for line in lines if "change of spread outside the leading components" in line]


def test_windows_of_fitted_vectors_have_no_change_of_spread() -> None:
    vectors = drawn(2_000, 200)
    baseline = fit(vectors, clusters=3)
    for rows in split_indices(len(vectors), 0):
        spread = score_vectors(baseline, vectors[rows]).findings.of(SPREAD)
        assert all(change is not None and change.p_value > 0.05 for change in spread.tests)
        grown = score_vectors(baseline, vectors[rows] * np.float32(1.1)).findings.of(SPREAD)
        assert min(change.p_value for change in grown.tests if change is not None) < 1e-6


@given(st.integers(0, 2**32 - 1), st.lists(st.sampled_from([1, 2, 3, 49, 102, 250]), min_size=1, max_size=3))
def test_vector_is_beyond_quantile_of_others(seed: int, sizes: list[int]) -> None:
    random = np.random.default_rng(seed)
    ids = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    distances = random.exponential(size=len(ids)).astype(np.float32)
    found = leave_one_out_outliers(distances, ids)
    for vector in range(len(ids)):
        others = distances[(ids == ids[vector]) & (np.arange(len(ids)) != vector)]
        radius = np.quantile(others.astype(np.float64), RADIUS_LEVEL) if len(others) else np.inf
        assert found[vector] == (distances[vector] > radius)
