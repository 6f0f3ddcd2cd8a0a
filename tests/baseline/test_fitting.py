"""Tests of `driftgauge.baseline.fitting`."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits
from sklearn.metrics import pairwise_distances_argmin

from driftgauge.baseline import clustering as module
from driftgauge.baseline.artifact import Baseline, load, save
from driftgauge.baseline.fitting import Provenance, split_indices
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import noise_floor
from driftgauge.progress import WorkProgress
from tests.builders.baselines import fit
from tests.processes import run_python


@given(count=st.integers(0, 300_000), seed=st.integers(0, 2**40))
def test_split_puts_every_row_on_one_side(count: int, seed: int) -> None:
    fitted, counted = split_indices(count, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([fitted, counted])), np.arange(count))
    assert len(fitted) == min(count // 2, 100_000)


def test_split_is_random_and_repeatable() -> None:
    first, _ = split_indices(1_000, 5)
    again, _ = split_indices(1_000, 5)
    other, _ = split_indices(1_000, 6)
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_centroids_ignore_held_out_vectors(blobs: NDArray[np.float32]) -> None:
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


def test_fit_records_metadata(baseline: Baseline) -> None:
    about = baseline.metadata
    assert (about.stream, about.model_version, about.seed) == ("resnet18-fc1", "v1", 3)
    assert (about.dimension, about.clusters, about.metric) == (8, 6, DistanceMetric.EUCLIDEAN)
    assert about.created_ms == 1_762_128_000_000
    assert about.versions["numpy"] == np.__version__
    assert about.versions.keys() == {"numpy", "python", "scikit-learn"}


@pytest.mark.parametrize("metric", DistanceMetric)
def test_identity_follows_seed(blobs: NDArray[np.float32], metric: DistanceMetric) -> None:
    first = fit(blobs, metric=metric, seed=1)
    assert fit(blobs, metric=metric, seed=1, created_ms=9).identity == first.identity
    assert fit(blobs, metric=metric, seed=2).identity != first.identity


def test_identity_ignores_number_of_threads() -> None:
    code = (
        "import numpy as np;"
        "from driftgauge.baseline.fitting import Provenance, fit_baseline;"
        "from driftgauge.baseline.windows import Traffic;"
        "x = np.random.default_rng(0).normal(size=(8_000, 48)).astype(np.float32);"
        "came = Provenance(Traffic(np.arange(8_000) // 125, 3_600_000));"
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


@pytest.mark.parametrize("metric", DistanceMetric)
def test_divergence_separates_digits_from_inverted_digits(tmp_path: Path, metric: DistanceMetric) -> None:
    images = np.random.default_rng(0).permutation(load_digits().data).astype(np.float32)
    baseline = fit(images[:1_200], clusters=10, metric=metric)
    save(baseline, tmp_path / "digits.safetensors")
    loaded = load(tmp_path / "digits.safetensors")
    assert loaded.identity == baseline.identity
    floor = noise_floor(10, 597, 600)

    def divergence(vectors: NDArray[np.float32]) -> float:
        counts = np.bincount(loaded.centroids.assign(vectors), minlength=10)
        return float(js_contributions(counts, loaded.counts).sum())

    assert divergence(images[1_200:]) < 3 * floor
    assert divergence(16 - images[1_200:]) > 30 * floor


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


def test_cosine_distance_is_never_negative() -> None:
    directions = np.random.default_rng(2).normal(size=(6, 50))
    quantiles = fit(np.repeat(directions, 100, axis=0), metric=DistanceMetric.COSINE).distance_quantiles
    assert quantiles.min() >= 0
    assert quantiles.max() < 1e-6


def test_cosine_histogram_ignores_vector_length(blobs: NDArray[np.float32]) -> None:
    # Powers of two, which change no bit of a quotient.
    scales = 2.0 ** np.random.default_rng(0).integers(-3, 4, size=(len(blobs), 1))
    plain, scaled = (
        fit(blobs, metric=DistanceMetric.COSINE),
        fit(blobs * scales, metric=DistanceMetric.COSINE),
    )
    assert scaled.counts.tolist() == plain.counts.tolist()
    assert scaled.distance_quantiles.tobytes() == plain.distance_quantiles.tobytes()


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


def test_progress_reports_split_and_every_run(blobs: NDArray[np.float32]) -> None:
    lines: list[str] = []
    fit(blobs, progress=lines.append)
    assert (
        lines[0] == "fitting 6 clusters on 600 vectors of 8 floats; 600 others are held out as the reference"
    )
    assert [line.split(":")[0] for line in lines[1:4]] == [f"KMeans, run {run} of 3" for run in (1, 2, 3)]
    assert lines[4] == "counting the held-out vectors"
    assert lines[-2] == "trying other seeds"
    assert lines[-1].startswith("stability ")


def test_training_set_is_recorded_without_changing_identity(blobs: NDArray[np.float32]) -> None:
    baseline = fit(blobs, provenance=Provenance(training_set=True))
    assert baseline.metadata.training_set
    assert baseline.identity == fit(blobs).identity


def test_fit_records_stability(blobs: NDArray[np.float32]) -> None:
    stability = fit(blobs).metadata.stability
    assert stability is not None
    assert 0.3 < stability <= 1


def test_progress_counts_runs_of_k_means(blobs: NDArray[np.float32]) -> None:
    reports: list[WorkProgress] = []
    fit(blobs, track=reports.append)
    runs = [(work.done, work.total) for work in reports if work.noun == "runs of k-means"]
    assert runs == [(0, 3), (1, 3), (2, 3), (3, 3)]
    trials = [(work.done, work.total) for work in reports if work.noun == "trials of other seeds"]
    assert trials == [(0, 3), (1, 3), (2, 3)]
