"""Tests of `driftgauge.baseline.fitting`."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import pairwise_distances_argmin

from driftgauge.baseline import clustering as module
from driftgauge.baseline.artifact import Baseline
from driftgauge.baseline.fitting import Provenance, split_indices
from driftgauge.core.counting.assignment import DistanceMetric
from tests.builders.baselines import fit
from tests.processes import run_python


@given(count=st.integers(0, 300_000), seed=st.integers(0, 2**40))
def test_split_puts_every_row_on_one_side(count: int, seed: int) -> None:
    fitted, counted = split_indices(count, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([fitted, counted])), np.arange(count))
    assert len(fitted) == min(count // 2, 100_000)


def test_split_is_random_and_repeatable_and_centroids_ignore_its_other_side(
    blobs: NDArray[np.float32],
) -> None:
    first, again, other = (split_indices(1_000, seed)[0].tolist() for seed in (5, 5, 6))
    assert first == again
    assert first != other
    _, counted = split_indices(len(blobs), 0)
    changed = blobs.copy()
    changed[counted] = changed[counted] * 0.9 + 0.1
    assert fit(changed).centroids.values.tobytes() == fit(blobs).centroids.values.tobytes()


def test_statistics_come_from_held_out_vectors(blobs: NDArray[np.float32]) -> None:
    baseline = fit(blobs)
    _, counted = split_indices(len(blobs), 0)
    ids = pairwise_distances_argmin(blobs[counted], baseline.centroids.values)
    distances = np.linalg.norm(blobs[counted] - baseline.centroids.values[ids], axis=1)
    assert baseline.counts.tolist() == np.bincount(ids, minlength=6).tolist()
    for cluster in range(6):
        np.testing.assert_allclose(
            baseline.distance_quantiles[cluster],
            np.quantile(distances[ids == cluster], baseline.quantile_levels),
            rtol=1e-4,
        )
    np.testing.assert_allclose(baseline.mean, blobs.mean(axis=0), rtol=1e-4)
    assert baseline.metadata.fitted_count == baseline.metadata.reference_count == len(counted) == 600


def test_clusters_reach_inertia_of_k_means(blobs: NDArray[np.float32]) -> None:
    fitted, _ = split_indices(len(blobs), 0)
    best = KMeans(6, n_init=10, random_state=0).fit(blobs[fitted])
    centroids = fit(blobs).centroids
    inertia = np.square(blobs[fitted] - centroids.values[centroids.assign(blobs[fitted])]).sum()
    assert inertia == pytest.approx(best.inertia_, rel=1e-3)


def test_fit_records_metadata(baseline: Baseline, blobs: NDArray[np.float32]) -> None:
    about = baseline.metadata
    assert (about.stream, about.model_version, about.seed) == ("resnet18-fc1", "v1", 3)
    assert (about.dimension, about.clusters, about.metric) == (8, 6, DistanceMetric.EUCLIDEAN)
    assert about.created_ms == 1_762_128_000_000
    assert about.versions["numpy"] == np.__version__
    assert about.versions.keys() == {"numpy", "python", "scikit-learn"}
    assert about.stability is not None
    assert 0.3 < about.stability <= 1
    trained = fit(blobs, provenance=Provenance(training_set=True))
    assert trained.metadata.training_set
    assert trained.identity == fit(blobs).identity


def test_identity_ignores_number_of_threads() -> None:
    code = (
        "import numpy as np;"
        "from driftgauge.baseline.fitting import Provenance, fit_baseline;"
        "from driftgauge.baseline.windows import Traffic;"
        "x = np.random.default_rng(0).normal(size=(8_000, 48)).astype(np.float32);"
        "came = Provenance(Traffic.of(np.arange(8_000) // 125 * 3_600_000, 3_600_000));"
        "known = dict(stream='s', model_version=None, created_ms=0, provenance=came);"
        "baseline = fit_baseline(x, progress=lambda _: None, **known);"
        "assert baseline.overdispersion is not None; print(baseline.identity)"
    )
    identities = {
        run_python(
            code, env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        ).stdout
        for threads in ("1", "3")
    }
    assert len(identities) == 1
    assert identities.pop().startswith("sha256:")


def test_cosine_centroids_are_unit_vectors_at_fixed_point() -> None:
    # Without clusters in the data the rounds on the sphere have something to do.
    vectors = np.random.default_rng(2).normal(size=(3_000, 8)).astype(np.float32)
    centroids = fit(vectors, metric=DistanceMetric.COSINE).centroids
    np.testing.assert_allclose(np.linalg.norm(centroids.values, axis=1), 1, rtol=1e-6)
    fitted, _ = split_indices(len(vectors), 0)
    unit = vectors[fitted] / np.linalg.norm(vectors[fitted], axis=1, keepdims=True)
    ids = centroids.assign(unit)
    for cluster in range(6):
        direction = unit[ids == cluster].sum(axis=0, dtype=np.float64)
        np.testing.assert_allclose(
            centroids.values[cluster], direction / np.linalg.norm(direction), rtol=1e-6, atol=1e-7
        )


def test_cosine_distances_ignore_length_and_are_never_negative(blobs: NDArray[np.float32]) -> None:
    # Powers of two, which change no bit of a quotient.
    scales = 2.0 ** np.random.default_rng(0).integers(-3, 4, size=(len(blobs), 1))
    plain, scaled = (fit(vectors, metric=DistanceMetric.COSINE) for vectors in (blobs, blobs * scales))
    assert scaled.counts.tolist() == plain.counts.tolist()
    assert scaled.distance_quantiles.tobytes() == plain.distance_quantiles.tobytes()
    directions = np.repeat(np.random.default_rng(2).normal(size=(6, 50)), 100, axis=0)
    quantiles = fit(directions, metric=DistanceMetric.COSINE).distance_quantiles
    assert quantiles.min() >= 0
    assert quantiles.max() < 1e-6


@pytest.mark.parametrize("metric", DistanceMetric)
def test_fit_of_large_set_uses_mini_batches(
    blobs: NDArray[np.float32], metric: DistanceMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PASS", 1_000)
    lines: list[str] = []
    baseline = fit(blobs, metric=metric, progress=lines.append)
    assert sum(line.startswith("MiniBatchKMeans, run") for line in lines) == 3
    assert baseline.counts.sum() == 600
    assert fit(blobs, metric=metric).identity == baseline.identity
