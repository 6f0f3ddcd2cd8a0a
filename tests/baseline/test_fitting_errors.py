"""Vectors and options that no baseline can be fitted on are refused with the remedy, before clustering."""

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.fitting import Provenance, split_indices
from driftgauge.baseline.segments import SegmentChoice, find_members
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BaselineError
from tests.builders.baselines import fit

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
