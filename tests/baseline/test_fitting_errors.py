"""Vectors and options that no baseline can be fitted on are refused with the remedy."""

import re

import numpy as np
import pytest
from numpy.typing import NDArray

from driftgauge.baseline.fitting import Provenance, split_indices
from driftgauge.baseline.segments import SegmentChoice, find_members
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BaselineError
from tests.builders.baselines import fit


def test_fit_rejects_small_segments_before_clustering(blobs: NDArray[np.float32]) -> None:
    lines: list[str] = []
    labels = [{"n": str(row % 100)} for row in range(len(blobs))]
    members = find_members(labels, [SegmentChoice("n", ("1", "2"))])
    with pytest.raises(
        BaselineError,
        match=r"segment needs 40 held-out vectors, .*: n=1 \d+, n=2 \d+; leave them out",
    ):
        fit(blobs, provenance=Provenance(members=members), progress=lines.append)
    assert lines == []


def test_fit_rejects_columns_of_another_length(blobs: NDArray[np.float32]) -> None:
    with pytest.raises(BaselineError, match=r"1 labels of 1,200 vectors; give one for each"):
        fit(blobs, provenance=Provenance(labels=["a"]))
    with pytest.raises(BaselineError, match=r"1,201 event ids of 1,200 vectors; give one for each"):
        fit(blobs, provenance=Provenance(event_ids=[None] * 1_201))


def test_fit_rejects_few_vectors_with_number_needed(blobs: NDArray[np.float32]) -> None:
    with pytest.raises(
        BaselineError, match=r"59 vectors are too few for 6 clusters, which need 60; .*--clusters 5"
    ):
        fit(blobs[:59])
    with pytest.raises(BaselineError, match=r"5 vectors .* need 60; give more vectors$"):
        fit(blobs[:5])


@pytest.mark.parametrize("clusters", [1, 0, -3])
def test_fit_rejects_fewer_than_two_clusters(blobs: NDArray[np.float32], clusters: int) -> None:
    with pytest.raises(BaselineError, match="use --clusters 2 or more"):
        fit(blobs, clusters=clusters)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_fit_names_rows_with_unusable_values(blobs: NDArray[np.float32], value: float) -> None:
    vectors = blobs.copy()
    vectors[[2, 3, 5, 8, 13, 21, 34], 1] = value
    with pytest.raises(BaselineError, match="rows 2, 3, 5, 8, 13 and 2 more hold NaN, infinity"):
        fit(vectors)


def test_fit_rejects_equal_vectors() -> None:
    with pytest.raises(BaselineError, match="all 100 vectors are the same"):
        fit(np.full((100, 4), 0.3))


@pytest.mark.parametrize("metric", DistanceMetric)
def test_fit_rejects_too_few_distinct_vectors_with_possible_clusters(metric: DistanceMetric) -> None:
    with pytest.raises(BaselineError, match=re.escape("only 3 of 6 clusters") + ".*--clusters 3 or fewer"):
        fit(np.repeat(np.eye(3), 50, axis=0), metric=metric)


def test_cosine_fit_rejects_fewer_directions_than_clusters() -> None:
    scales = np.random.default_rng(0).uniform(0.5, 2, size=(150, 1))
    with pytest.raises(BaselineError, match=r"only 3 of 6 clusters.*--clusters 3 or fewer"):
        fit(np.repeat(np.eye(3), 50, axis=0) * scales, metric=DistanceMetric.COSINE)


def test_fit_rejects_zero_vectors_under_cosine_only(blobs: NDArray[np.float32]) -> None:
    vectors = blobs.copy()
    vectors[7] = 0
    vectors[9] = 1e-30  # its square is zero in float32
    with pytest.raises(BaselineError, match=r"rows 7, 9 are of length zero.*--metric euclidean"):
        fit(vectors, metric=DistanceMetric.COSINE)
    assert fit(vectors).counts.sum() == 600


def test_fit_rejects_cluster_without_held_out_vectors(blobs: NDArray[np.float32]) -> None:
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
def test_fit_checks_metadata_before_clustering(
    blobs: NDArray[np.float32], choice: dict[str, object], fault: str
) -> None:
    lines: list[str] = []
    with pytest.raises(BaselineError, match=fault):
        fit(blobs, **choice, progress=lines.append)
    assert lines == []
