"""Baselines fitted on vectors: centroids, statistics, metadata; and what none can be fitted on."""

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
from driftgauge.baseline.clustering import find_centroids, measure_stability
from driftgauge.baseline.fitting import Provenance, split_indices
from driftgauge.baseline.segments import SegmentChoice, find_members
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BaselineError
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


BY_ANGLE = {"metric": DistanceMetric.COSINE}
MEMBERS = find_members([{"n": str(row % 100)} for row in range(1_200)], [SegmentChoice("n", ("1", "2"))])


@pytest.mark.parametrize(
    ("count", "choice", "fault"),
    [
        (
            1_200,
            {"provenance": Provenance(members=MEMBERS)},
            r"segment needs 40 held-out vectors, .*: n=1 \d+, n=2 \d+; leave them out",
        ),
        (1_200, {"provenance": Provenance(labels=["a"])}, r"1 labels of 1,200 vectors; give one for each"),
        (
            1_200,
            {"provenance": Provenance(event_ids=[None] * 1_201)},
            r"1,201 event ids of 1,200 vectors; give one for each",
        ),
        (59, {}, r"59 vectors are too few for 6 clusters, which need 60; .*--clusters 5"),
        (5, {}, r"5 vectors .* need 60; give more vectors$"),
        *(
            (1_200, {"clusters": clusters}, "clusters: Input should be greater than or equal to 2")
            for clusters in (1, 0, -3)
        ),
        (1_200, {"stream": "a b"}, "stream: String should match"),
        (1_200, {"model_version": "v" * 257}, "model_version: String should have at most 256"),
        (1_200, {"created_ms": -1}, "created_ms: Input should be greater"),
    ],
)
def test_unusable_choice_is_refused(
    blobs: NDArray[np.float32], count: int, choice: dict[str, object], fault: str
) -> None:
    lines: list[str] = []
    with pytest.raises(BaselineError, match=fault):
        fit(blobs[:count], **choice, progress=lines.append)
    assert lines == []


def scaled() -> NDArray[np.floating]:
    return np.repeat(np.eye(3), 50, axis=0) * np.random.default_rng(0).uniform(0.5, 2, size=(150, 1))


@pytest.mark.parametrize(
    ("vectors", "choice", "fault"),
    [
        (np.full((100, 4), 0.3), {}, "only 1 of 6 clusters.*give more varied vectors"),
        (np.repeat(np.eye(3), 50, axis=0), {}, r"only 3 of 6 clusters.*--clusters 3$"),
        (np.repeat(np.eye(3), 50, axis=0), BY_ANGLE, r"only 3 of 6 clusters.*--clusters 3$"),
        (scaled(), BY_ANGLE, r"only 3 of 6 clusters.*--clusters 3$"),
    ],
)
def test_vectors_without_clusters_are_refused(
    vectors: NDArray[np.floating], choice: dict[str, object], fault: str
) -> None:
    with pytest.raises(BaselineError, match=fault):
        fit(vectors, **choice)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_rows_with_unusable_values_are_named(blobs: NDArray[np.float32], value: float) -> None:
    vectors = blobs.copy()
    vectors[[2, 3, 5, 8, 13, 21, 34], 1] = value
    with pytest.raises(BaselineError, match="rows 2, 3, 5, 8, 13 and 2 more hold NaN, infinity"):
        fit(vectors)


def test_zero_vectors_are_kept_under_euclidean_metric_only(blobs: NDArray[np.float32]) -> None:
    vectors = blobs.copy()
    vectors[7] = 0
    vectors[9] = 1e-30  # its square is zero in float32
    assert fit(vectors, keep_all=True).counts.sum() == 600
    assert fit(vectors, **BY_ANGLE, keep_all=True).metadata.left_out == {"zero": 2}
    for metric in DistanceMetric:
        assert fit(vectors, metric=metric).metadata.left_out == {"zero": 2}


def test_cluster_without_held_out_vectors_is_refused(blobs: NDArray[np.float32]) -> None:
    fitted, _ = split_indices(len(blobs), 0)
    vectors = blobs.copy()
    vectors[fitted[:6]] = 1_000  # outliers on the one side, and a cluster of their own
    # No number of clusters is small enough.
    with pytest.raises(
        BaselineError, match=r"clusters \d of 6 hold none .* held-out vectors; give more vectors$"
    ):
        fit(vectors, keep_all=True)


@pytest.mark.parametrize(("rows", "seed"), [(120, 2), (150, 3), (210, 4)])
def test_number_of_clusters_that_is_named_works(rows: int, seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(rows, 8))
    with pytest.raises(BaselineError, match=r"too few for 30 clusters") as caught:
        fit(vectors, clusters=30, keep_all=True)
    named = int(str(caught.value).rpartition("--clusters ")[2])
    assert fit(vectors, clusters=named, keep_all=True).metadata.clusters == named
