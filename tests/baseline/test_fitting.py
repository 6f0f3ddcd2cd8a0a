import os
import re
import subprocess
import sys
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
from driftgauge.baseline.fitting import Provenance, fit_baseline, split_indices
from driftgauge.baseline.segments import SegmentChoice, find_members
from driftgauge.baseline.windows import LEAST_WINDOWS, Traffic, split_windows
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.divergence import js_contributions
from driftgauge.core.statistics.divergence_null import noise_floor
from driftgauge.errors import BaselineError


def fit(vectors: NDArray[np.floating], **choice: object) -> Baseline:
    return fit_baseline(
        vectors.astype(np.float32),
        **{
            "stream": "s",
            "model_version": None,
            "clusters": 6,
            "created_ms": 0,
            "progress": lambda _: None,
            **choice,
        },
    )


@given(count=st.integers(0, 300_000), seed=st.integers(0, 2**40))
def test_a_split_puts_every_row_on_one_side(count: int, seed: int) -> None:
    fitted, counted = split_indices(count, seed)
    np.testing.assert_array_equal(np.sort(np.concatenate([fitted, counted])), np.arange(count))
    assert len(fitted) == min(count // 2, 100_000)


def test_a_split_is_random_and_repeatable() -> None:
    first, _ = split_indices(1_000, 5)
    again, _ = split_indices(1_000, 5)
    other, _ = split_indices(1_000, 6)
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_centroids_know_nothing_of_the_vectors_held_out(blobs: NDArray[np.float32]) -> None:
    _, counted = split_indices(len(blobs), 0)
    changed = blobs.copy()
    changed[counted] = changed[counted] * 0.9 + 0.1
    assert fit(changed).centroids.values.tobytes() == fit(blobs).centroids.values.tobytes()


def test_everything_counted_is_of_the_vectors_held_out(blobs: NDArray[np.float32]) -> None:
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
    np.testing.assert_allclose(baseline.mean, blobs[counted].mean(axis=0), rtol=1e-4)
    assert baseline.metadata.fitted_count == baseline.metadata.reference_count == len(counted) == 600


def test_the_clusters_are_as_tight_as_those_of_k_means(blobs: NDArray[np.float32]) -> None:
    fitted, _ = split_indices(len(blobs), 0)
    best = KMeans(6, n_init=10, random_state=0).fit(blobs[fitted])
    found = fit(blobs).centroids
    inertia = np.square(blobs[fitted] - found.values[found.assign(blobs[fitted])]).sum()
    assert inertia == pytest.approx(best.inertia_, rel=1e-3)


def test_what_the_user_said_is_kept(baseline: Baseline) -> None:
    about = baseline.metadata
    assert (about.stream, about.model_version, about.seed) == ("resnet18-fc1", "v1", 3)
    assert (about.dimension, about.clusters, about.metric) == (8, 6, DistanceMetric.EUCLIDEAN)
    assert about.created_ms == 1_762_128_000_000
    assert about.versions["numpy"] == np.__version__
    assert about.versions.keys() == {"numpy", "python", "scikit-learn"}


@pytest.mark.parametrize("metric", DistanceMetric)
def test_the_same_seed_gives_the_same_identity_and_another_does_not(
    blobs: NDArray[np.float32], metric: DistanceMetric
) -> None:
    first = fit(blobs, metric=metric, seed=1)
    assert fit(blobs, metric=metric, seed=1, created_ms=9).identity == first.identity
    assert fit(blobs, metric=metric, seed=2).identity != first.identity


def test_the_identity_does_not_depend_on_the_number_of_threads() -> None:
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
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "3")
    }
    assert len(identities) == 1
    assert identities.pop().startswith("sha256:")


@pytest.mark.parametrize("metric", DistanceMetric)
def test_digits_are_told_from_noise(tmp_path: Path, metric: DistanceMetric) -> None:
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


def test_cosine_centroids_are_unit_vectors_at_a_fixed_point() -> None:
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


def test_a_cosine_distance_is_never_negative() -> None:
    directions = np.random.default_rng(2).normal(size=(6, 50))
    quantiles = fit(np.repeat(directions, 100, axis=0), metric=DistanceMetric.COSINE).distance_quantiles
    assert quantiles.min() >= 0
    assert quantiles.max() < 1e-6


def test_the_length_of_a_vector_means_nothing_to_the_cosine_histogram(blobs: NDArray[np.float32]) -> None:
    # Powers of two, which change no bit of a quotient.
    scales = 2.0 ** np.random.default_rng(0).integers(-3, 4, size=(len(blobs), 1))
    plain, scaled = (
        fit(blobs, metric=DistanceMetric.COSINE),
        fit(blobs * scales, metric=DistanceMetric.COSINE),
    )
    assert scaled.counts.tolist() == plain.counts.tolist()
    assert scaled.distance_quantiles.tobytes() == plain.distance_quantiles.tobytes()


@pytest.mark.parametrize("metric", DistanceMetric)
def test_a_large_set_is_fitted_in_mini_batches(
    blobs: NDArray[np.float32], metric: DistanceMetric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_PASS", 1_000)
    told: list[str] = []
    baseline = fit(blobs, metric=metric, progress=told.append)
    assert sum(line.startswith("MiniBatchKMeans, run") for line in told) == 3
    assert baseline.counts.sum() == 600
    assert fit(blobs, metric=metric).identity == baseline.identity


def test_progress_tells_the_split_and_every_run(blobs: NDArray[np.float32]) -> None:
    told: list[str] = []
    fit(blobs, progress=told.append)
    assert told[0] == "fitting 6 clusters on 600 vectors of 8 floats; 600 others are held out to be counted"
    assert [line.split(":")[0] for line in told[1:4]] == [f"KMeans, run {run} of 3" for run in (1, 2, 3)]
    assert told[4] == "counting the vectors held out"
    assert told[-2] == "trying other seeds"
    assert told[-1].startswith("stability ")


HOUR_MS = 3_600_000


def traffic_of(count: int, windows: int) -> Traffic:
    """So many vectors, spread at random over so many hours."""
    times_ms = np.random.default_rng(0).integers(windows * HOUR_MS, size=count)
    return Traffic.of(times_ms, HOUR_MS)


def bursts(count: int, length: int) -> NDArray[np.float32]:
    """Vectors around six centres, so many after one another around the same one."""
    random = np.random.default_rng(1)
    centres = 4 * random.normal(size=(6, 8))
    vectors = centres[np.repeat(random.integers(6, size=count // length), length)]
    return (vectors + random.normal(size=vectors.shape)).astype(np.float32)


def test_time_stamped_vectors_are_split_by_whole_windows_and_tell_their_overdispersion() -> None:
    vectors = bursts(6_000, 5)
    traffic = Traffic(np.repeat(np.arange(60), 100), HOUR_MS)
    told: list[str] = []
    baseline = fit(vectors, provenance=Provenance(traffic), progress=told.append)
    split = split_windows(traffic, 3_000, 0)
    assert split is not None
    _, held_out = split
    ids = baseline.centroids.assign(vectors[held_out])
    assert baseline.counts.tolist() == np.bincount(ids, minlength=6).tolist()
    np.testing.assert_allclose(baseline.mean, vectors[held_out].mean(axis=0, dtype=float), rtol=1e-9)
    assert baseline.metadata.reference_count == 3_000
    assert baseline.metadata.window_ms == HOUR_MS
    assert baseline.overdispersion is not None
    assert baseline.overdispersion.windows == 30
    # Five equal clusters in a row: as if there were a fifth of the events. Known to 2/sqrt(150).
    assert baseline.overdispersion.counts == pytest.approx(5, rel=0.35)
    assert any("windows of 1h hold 100 events (the median)" in line for line in told)
    assert any(line.startswith("30 windows of 1h held out: counts vary") for line in told)


def test_the_same_times_and_seed_give_the_same_identity() -> None:
    vectors, provenance = bursts(4_000, 2), Provenance(traffic_of(4_000, 50))
    first, again = (fit(vectors, provenance=provenance, created_ms=ms).identity for ms in (0, 9))
    assert first == again
    assert fit(vectors, provenance=provenance, seed=1).identity != first
    assert fit(vectors).identity != first


def test_vectors_without_times_are_fitted_with_a_warning(blobs: NDArray[np.float32]) -> None:
    told: list[str] = []
    baseline = fit(blobs, progress=told.append)
    assert baseline.overdispersion is None
    assert baseline.metadata.window_ms is None
    (warning,) = [line for line in told if line.startswith("warning")]
    assert "the vectors have no times" in warning


def test_few_windows_are_split_vector_by_vector_with_a_warning(blobs: NDArray[np.float32]) -> None:
    told: list[str] = []
    provenance = Provenance(traffic_of(len(blobs), LEAST_WINDOWS - 1))
    baseline = fit(blobs, provenance=provenance, progress=told.append)
    assert baseline.identity == fit(blobs).identity
    assert baseline.overdispersion is None
    assert any(line.startswith(f"warning: the events are of {LEAST_WINDOWS - 1} windows") for line in told)


def test_windows_of_few_events_leave_the_overdispersion_unknown(blobs: NDArray[np.float32]) -> None:
    told: list[str] = []
    baseline = fit(blobs, provenance=Provenance(traffic_of(len(blobs), 100)), progress=told.append)
    assert baseline.overdispersion is None
    assert any("held out 0 have 30 events or more" in line for line in told)


def test_segments_are_counted_among_the_vectors_held_out(blobs: NDArray[np.float32]) -> None:
    labels = [{"side": "left" if vector[0] < 0 else "right"} for vector in blobs]
    members = find_members(labels, [SegmentChoice("side", ("left",))])
    baseline = fit(blobs, provenance=Provenance(members=members))
    _, counted = split_indices(len(blobs), 0)
    assert [(segment.key, segment.value) for segment in baseline.segments] == [
        ("side", "left"),
        ("side", "other"),
    ]
    assert sum(segment.counts for segment in baseline.segments).tolist() == baseline.counts.tolist()
    for segment, is_left in zip(baseline.segments, (True, False), strict=True):
        own = blobs[counted][(blobs[counted][:, 0] < 0) == is_left].astype(float)
        components = baseline.components.astype(float)
        np.testing.assert_allclose(
            segment.mean, components @ (own.mean(axis=0) - baseline.mean), rtol=1e-6, atol=1e-9
        )
        np.testing.assert_allclose(
            segment.covariance, components @ np.cov(own, rowvar=False) @ components.T, rtol=1e-6, atol=1e-6
        )
    assert baseline.identity != fit(blobs).identity


def test_segments_of_events_with_times_know_their_own_overdispersion() -> None:
    # In bursts of five, by turns of one segment and of the others.
    vectors = bursts(12_000, 5)
    labels = [{"side": ("a", "b")[row // 5 % 2]} for row in range(len(vectors))]
    members = find_members(labels, [SegmentChoice("side", ("a",))])
    numbers = np.arange(len(vectors)) // 200
    told: list[str] = []
    baseline = fit(vectors, provenance=Provenance(Traffic(numbers, HOUR_MS), members), progress=told.append)
    assert baseline.overdispersion is not None
    for segment in baseline.segments:
        assert segment.overdispersion is not None
        assert segment.overdispersion.windows == baseline.overdispersion.windows
        assert segment.overdispersion.counts == pytest.approx(5, rel=0.4)
    by_others = find_members(
        [{"n": "few" if row % 10 == 0 else "many"} for row in range(len(vectors))],
        [SegmentChoice("n", ("few",))],
    )
    few, many = fit(
        vectors, provenance=Provenance(Traffic(numbers, HOUR_MS), by_others), progress=told.append
    ).segments
    assert (few.value, few.overdispersion) == ("few", None)
    assert many.overdispersion is not None
    assert any(line.startswith("segment n=few has 30 events or more in 0 of the windows") for line in told)
    # Without times nothing is known of anything.
    assert [part.overdispersion for part in fit(vectors, provenance=Provenance(None, members)).segments] == [
        None,
        None,
    ]


def test_small_segments_are_refused_before_the_work(blobs: NDArray[np.float32]) -> None:
    told: list[str] = []
    labels = [{"n": str(row % 100)} for row in range(len(blobs))]
    members = find_members(labels, [SegmentChoice("n", ("1", "2"))])
    with pytest.raises(BaselineError, match=r"40 are needed of each: n=1 \d+, n=2 \d+; leave them out"):
        fit(blobs, provenance=Provenance(members=members), progress=told.append)
    assert told == []


def test_a_training_set_is_noted_and_changes_nothing_else(blobs: NDArray[np.float32]) -> None:
    baseline = fit(blobs, provenance=Provenance(training_set=True))
    assert baseline.metadata.training_set
    assert baseline.identity == fit(blobs).identity


def test_the_stability_of_the_clusters_is_noted(blobs: NDArray[np.float32]) -> None:
    stability = fit(blobs).metadata.stability
    assert stability is not None
    assert 0.3 < stability <= 1


def test_few_vectors_are_refused_with_the_number_needed(blobs: NDArray[np.float32]) -> None:
    with pytest.raises(
        BaselineError, match=r"59 vectors are too few for 6 clusters, which need 60; .*--clusters 5"
    ):
        fit(blobs[:59])
    with pytest.raises(BaselineError, match=r"5 vectors .* need 60; give more vectors$"):
        fit(blobs[:5])


@pytest.mark.parametrize("clusters", [1, 0, -3])
def test_fewer_than_two_clusters_are_refused(blobs: NDArray[np.float32], clusters: int) -> None:
    with pytest.raises(BaselineError, match="use --clusters 2 or more"):
        fit(blobs, clusters=clusters)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_rows_with_unusable_values_are_named(blobs: NDArray[np.float32], value: float) -> None:
    vectors = blobs.copy()
    vectors[[2, 3, 5, 8, 13, 21, 34], 1] = value
    with pytest.raises(BaselineError, match="rows 2, 3, 5, 8, 13 and 2 more hold NaN, infinity"):
        fit(vectors)


def test_vectors_that_are_all_the_same_are_refused() -> None:
    with pytest.raises(BaselineError, match="all 100 vectors are the same"):
        fit(np.full((100, 4), 0.3))


@pytest.mark.parametrize("metric", DistanceMetric)
def test_fewer_distinct_vectors_than_clusters_are_refused_with_a_number(metric: DistanceMetric) -> None:
    with pytest.raises(BaselineError, match=re.escape("only 3 of 6 clusters") + ".*--clusters 3 or fewer"):
        fit(np.repeat(np.eye(3), 50, axis=0), metric=metric)


def test_fewer_directions_than_clusters_are_refused_under_cosine() -> None:
    scales = np.random.default_rng(0).uniform(0.5, 2, size=(150, 1))
    with pytest.raises(BaselineError, match=r"only 3 of 6 clusters.*--clusters 3 or fewer"):
        fit(np.repeat(np.eye(3), 50, axis=0) * scales, metric=DistanceMetric.COSINE)


def test_zero_vectors_are_refused_under_cosine_only(blobs: NDArray[np.float32]) -> None:
    vectors = blobs.copy()
    vectors[7] = 0
    vectors[9] = 1e-30  # its square is zero in float32
    with pytest.raises(BaselineError, match=r"rows 7, 9 are of length zero.*--metric euclidean"):
        fit(vectors, metric=DistanceMetric.COSINE)
    assert fit(vectors).counts.sum() == 600


def test_a_cluster_without_vectors_held_out_is_refused_with_a_number(blobs: NDArray[np.float32]) -> None:
    fitted, _ = split_indices(len(blobs), 0)
    vectors = blobs.copy()
    vectors[fitted[0]] = 1_000  # an outlier on the one side, and a cluster of its own
    with pytest.raises(BaselineError, match=r"clusters \d of 6 hold none .*--clusters 5 or fewer"):
        fit(vectors)


@pytest.mark.parametrize(
    ("choice", "fault"),
    [
        ({"stream": "a b"}, "stream: String should match"),
        ({"model_version": "v" * 257}, "model_version: String should have at most 256"),
        ({"created_ms": -1}, "created_ms: Input should be greater"),
    ],
)
def test_metadata_is_checked_before_the_work(
    blobs: NDArray[np.float32], choice: dict[str, object], fault: str
) -> None:
    told: list[str] = []
    with pytest.raises(BaselineError, match=fault):
        fit(blobs, **choice, progress=told.append)
    assert told == []
