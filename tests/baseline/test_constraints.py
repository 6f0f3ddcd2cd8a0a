"""Baselines with values that no fit produces are refused."""

import dataclasses

import numpy as np
import pytest

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.counting.assignment import Centroids, DistanceMetric
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.core.statistics.spread import SpreadMoments
from driftgauge.errors import BaselineError


def with_first(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.copy()
    changed.flat[0] = value
    return changed


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("counts", -1, "counts must not be negative"),
        ("distance_quantiles", np.nan, "array distance_quantiles holds values that are not finite"),
        ("mean", np.inf, "array mean holds values that are not finite"),
        ("distance_quantiles", -0.1, "distance quantiles must be 0 or more and increase"),
        ("distance_quantiles", 1e9, "distance quantiles must be 0 or more and increase"),
        ("quantile_levels", -0.5, "quantile levels must increase within 0 to 1"),
        ("quantile_levels", 0.9, "quantile levels must increase within 0 to 1"),
        ("variances", 0, "variances must be positive"),
    ],
)
def test_baseline_rejects_invalid_values(baseline: Baseline, name: str, value: float, fault: str) -> None:
    array = with_first(getattr(baseline, name), value)
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(baseline, **{name: array})


@pytest.mark.parametrize(
    ("overdispersion", "fault"),
    [
        (Overdispersion(0, 1.0, np.eye(8)), "measured on at least one window"),
        (Overdispersion(20, 0.9, np.eye(8)), "overdispersion of the counts must be 1 or more"),
        (
            Overdispersion(19, 1.0, np.eye(8)),
            "on 20 windows or more, .* was measured on 19 windows of 600 vectors",
        ),
        (
            Overdispersion(601, 1.0, np.eye(8)),
            "per vector; one was measured on 601 windows",
        ),
        (Overdispersion(20, 360_001.0, np.eye(8)), "of 600 vectors cannot vary 360001 times as much"),
        (Overdispersion(20, 1e300, np.eye(8)), r"of 600 vectors cannot vary 1e\+300 times as much"),
        (
            Overdispersion(20, 1.0, np.diag([1.0] * 7 + [1e9])),
            r"of 600 vectors cannot vary 1e\+09 times as much",
        ),
        (Overdispersion(20, np.inf, np.eye(8)), "overdispersion_counts holds values that are not finite"),
        (Overdispersion(20, 1.0, -np.eye(8)), "overdispersion of the means must be a covariance"),
        (Overdispersion(20, 1.0, np.ones((8, 8))), "overdispersion of the means must be a covariance"),
        (Overdispersion(20, 1.0, np.triu(np.full((8, 8), 0.1)) + np.eye(8)), "must be a covariance"),
    ],
)
def test_baseline_rejects_impossible_overdispersion(
    full_baseline: Baseline, overdispersion: Overdispersion, fault: str
) -> None:
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, overdispersion=overdispersion)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"counts": np.zeros(6, np.int64)}, "counts of a segment must not be negative or all zero"),
        ({"outliers": -1}, "outliers of a segment must be 0 to its number of vectors"),
        ({"outliers": 10**6}, "outliers of a segment must be 0 to its number of vectors"),
        (
            {"spreads": (SpreadMoments(50, -1.0, 0.5, 1.0, 4.0, 0.03), None)},
            "of a segment, the spread moments must be",
        ),
        (
            {"overdispersion": Overdispersion(20, 1.0, np.eye(8), np.array([1.0, 0.9, 1.0, 1.0]))},
            "overdispersion of a segment's distances must be 1",
        ),
        ({"covariance": np.ones((8, 8))}, "covariance of a segment must be symmetric and positive definite"),
        (
            {"overdispersion": Overdispersion(-1, 1.0, np.eye(8))},
            "number of windows of a segment must not be negative",
        ),
        ({"overdispersion": Overdispersion(0, 1.0, np.eye(8))}, "must be measured on 20 windows or more"),
        ({"overdispersion": Overdispersion(19, 1.0, np.eye(8))}, "must be measured on 20 windows or more"),
        ({"overdispersion": Overdispersion(20, 360_000.0, np.eye(8))}, "cannot vary 360000 times as much"),
        (
            {"overdispersion": Overdispersion(20, 0.9, np.eye(8))},
            "overdispersion of a segment's counts must be 1",
        ),
        (
            {"overdispersion": Overdispersion(20, 1.0, -np.eye(8))},
            "overdispersion of a segment's means must be a cov",
        ),
        (
            {"overdispersion": Overdispersion(20, 1.0, np.eye(7))},
            "arrays of the segments differ in shape",
        ),
        (
            {"counts": np.full(6, 10**6)},
            "the segments by country hold more vectors of a cluster than the baseline",
        ),
        ({"value": "other"}, "two segments have the same key and value"),
        ({"value": "x" * 257}, "the name of a segment is not valid: value: String should have at most 256"),
        ({"counts": np.ones(5, np.int64)}, "arrays of the segments differ in shape"),
    ],
)
def test_baseline_rejects_invalid_segment(
    full_baseline: Baseline, change: dict[str, object], fault: str
) -> None:
    segment = dataclasses.replace(full_baseline.segments[0], **change)
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, segments=(segment, *full_baseline.segments[1:]))


def test_baseline_accepts_strongest_possible_overdispersion(full_baseline: Baseline) -> None:
    strongest = Overdispersion(20, 360_000.0, np.eye(8))
    accepted = dataclasses.replace(full_baseline, overdispersion=strongest)
    assert accepted.overdispersion is strongest
    assert 360_000 < strongest.of_tail(6) < np.inf
    with pytest.raises(ValueError, match="frozen"):
        accepted.metadata.seed = 4


def test_baseline_rejects_parts_that_contradict(baseline: Baseline, full_baseline: Baseline) -> None:
    segment = dataclasses.replace(full_baseline.segments[0], counts=full_baseline.counts // 70, outliers=1)
    cosine = baseline.metadata.model_copy(update={"metric": DistanceMetric.COSINE})
    without_window = full_baseline.metadata.model_copy(update={"window_ms": None})
    both = full_baseline.metadata.model_copy(update={"groups": 20})
    for known, changes, fault in (
        (
            baseline,
            {
                "cluster_means": np.zeros((6, 33)),
                "components": np.ones((33, 8), "f4"),
                "variances": np.full(33, np.nan),  # limits come before values
            },
            "the baseline has 33 components; the maximum is 32",
        ),
        (
            full_baseline,
            {"segments": tuple(dataclasses.replace(segment, value=str(number)) for number in range(65))},
            "the baseline has 65 segments; the maximum is 64",
        ),
        (
            full_baseline,
            {"metadata": without_window, "overdispersion": None},
            "overdispersion of a segment is known, but that of the whole",
        ),
        (full_baseline, {"metadata": baseline.metadata}, "must state the length of windows"),
        (baseline, {"metadata": full_baseline.metadata}, "must state the length of windows"),
        (full_baseline, {"metadata": both}, "length of windows or the number of groups"),
        (baseline, {"quantile_levels": np.linspace(0.6, 0.99, 7)}, r"include 0\.5 and 0\.99"),
        (
            baseline,
            {"centroids": Centroids(baseline.centroids.values, DistanceMetric.COSINE)},
            "must be of unit length",
        ),
        (baseline, {"metadata": cosine}, "the metadata states"),
    ):
        with pytest.raises(BaselineError, match=fault):
            dataclasses.replace(known, **changes)
