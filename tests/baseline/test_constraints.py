"""Baselines with values that the service could not compute with are refused."""

import dataclasses

import numpy as np
import pytest

from driftgauge.baseline.artifact import Baseline
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.statistics.overdispersion import Overdispersion
from driftgauge.errors import BaselineError
from tests.builders.baselines import with_metadata
from tests.builders.references import build_segment_arrays


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("counts", -1, "array counts holds values that are not finite or below 0"),
        ("distance_quantiles", np.nan, "array distance_quantiles holds values that are not finite"),
        ("mean", np.inf, "array mean holds values that are not finite$"),
        ("quantile_levels", [0.05, 0.25, 0.6, 0.75, 0.9, 0.95, 0.99], "include 0.5 and 0.99"),
        ("variances", 0, "array variances"),
        ("hash_counts", [1] + [0] * 127, "hash_counts counts fewer than two"),
        ("residual", -1, "array residual"),
        (
            "spread_moments",
            [[50] * 3, [0] * 3, [0.5] * 3, [1] * 3, [4] * 3],
            "a count without a mean and a variance",
        ),
    ],
)
def test_baseline_rejects_invalid_values(baseline: Baseline, name: str, value: object, fault: str) -> None:
    of_statistic = name in baseline.arrays
    array = (baseline.arrays[name] if of_statistic else getattr(baseline, name)).copy()
    if isinstance(value, list):
        array[...] = value
    else:
        array.flat[0] = value
    change = {"arrays": {**baseline.arrays, name: array}} if of_statistic else {name: array}
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(baseline, **change)


NEGATIVE = ((50, -1.0, 0.5, 1.0, 4.0),)
IMPOSSIBLE = [
    (Overdispersion(20, 0.9, np.eye(8)), "overdispersion_counts .* below 1"),
    (Overdispersion(20, np.inf, np.eye(8)), "overdispersion_counts .* not finite"),
    (Overdispersion(20, 1.0, np.eye(8), {"spread": np.array([1.0, 0.9, 1.0])}), "overdispersion_spread"),
    *(
        (Overdispersion(20, 1.0, means), "overdispersion_means must be positive definite")
        for means in (-np.eye(8), np.ones((8, 8)))
    ),
    (Overdispersion(20, 1.0, np.eye(8) + np.eye(8, k=1) / 2), "overdispersion_means must be symmetric"),
]


@pytest.mark.parametrize(
    ("overdispersion", "fault"),
    [*IMPOSSIBLE, (Overdispersion(19, 1.0, np.eye(8)), "overdispersion_windows .* below 20")],
)
def test_baseline_rejects_impossible_overdispersion(
    full_baseline: Baseline, overdispersion: Overdispersion, fault: str
) -> None:
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, overdispersion=overdispersion)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"counts": np.eye(6, dtype=np.int64)[0] * 8}, "segment_counts: 8 vectors are too few for 8 comp"),
        ({"arrays": build_segment_arrays(-1)}, "array segment_outliers"),
        ({"arrays": build_segment_arrays(0, NEGATIVE)}, "array segment_spread_moments"),
        (
            {"covariance": np.ones((8, 8))},
            "array segment_covariances must be positive definite",
        ),
        ({"covariance": np.eye(8) + np.eye(8, k=1) / 2}, "array segment_covariances must be symmetric"),
        ({"overdispersion": Overdispersion(-1, 1.0, np.eye(8))}, "array segment_overdispersion_windows"),
        *(({"overdispersion": known}, f"array segment_{fault}") for known, fault in IMPOSSIBLE),
        ({"value": "other"}, "two segments have the same key and value"),
        ({"value": "x" * 257}, "the name of a segment is not valid: value: String should have at most 256"),
    ],
)
def test_baseline_rejects_invalid_segment(
    full_baseline: Baseline, change: dict[str, object], fault: str
) -> None:
    segment = dataclasses.replace(full_baseline.segments[0], **change)
    with pytest.raises(BaselineError, match=fault):
        dataclasses.replace(full_baseline, segments=(segment, *full_baseline.segments[1:]))


def test_baseline_rejects_axes_beyond_limits_before_their_values(
    baseline: Baseline, full_baseline: Baseline
) -> None:
    long = {
        "cluster_means": np.zeros((6, 33)),
        "components": np.ones((33, 8), "f4"),
        "variances": np.full(33, np.nan),
    }
    with pytest.raises(BaselineError, match="the baseline has 33 components; the maximum is 32"):
        dataclasses.replace(baseline, **long)
    segments = (full_baseline.segments[0],) * 65
    with pytest.raises(BaselineError, match="the baseline has 65 segments; the maximum is 64"):
        dataclasses.replace(full_baseline, segments=segments)


def test_baseline_rejects_metadata_of_another(baseline: Baseline) -> None:
    with pytest.raises(BaselineError, match="a fitted count of 8, too few for 8 components"):
        with_metadata(baseline, fitted_count=8)
    cosine = baseline.metadata.model_copy(update={"metric": DistanceMetric.COSINE})
    with pytest.raises(BaselineError, match="the metadata states"):
        dataclasses.replace(baseline, metadata=cosine)
