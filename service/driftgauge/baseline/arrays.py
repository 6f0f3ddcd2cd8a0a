"""The arrays a baseline consists of: their names, dtypes and shapes, and the constraints on them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.errors import BaselineError

__all__ = ["DEPENDENCE", "LAYOUT", "SEGMENTS", "check_layout", "check_values"]

# Every array: its dtype, and its axes by letter; an axis has one length throughout.
LAYOUT: dict[str, tuple[str, str]] = {
    "centroids": ("float32", "kd"),
    "components": ("float32", "rd"),
    "counts": ("int64", "k"),
    "distance_quantiles": ("float32", "kq"),
    "mean": ("float64", "d"),
    "quantile_levels": ("float64", "q"),
    "variances": ("float64", "r"),
}

# Groups of arrays that are there all together or not at all.
DEPENDENCE: dict[str, tuple[str, str]] = {
    "dependence_counts": ("float64", "1"),
    "dependence_means": ("float64", "rr"),
    "dependence_windows": ("int64", "1"),
}
SEGMENTS: dict[str, tuple[str, str]] = {
    "segment_counts": ("int64", "sk"),
    "segment_covariances": ("float64", "srr"),
    "segment_dependence_counts": ("float64", "s"),
    "segment_dependence_means": ("float64", "srr"),
    "segment_dependence_windows": ("int64", "s"),
    "segment_means": ("float64", "sr"),
}

# Unit length to within what normalising in float32 leaves open.
UNIT_TOLERANCE = 1e-4

# Of a matrix that is symmetric but for rounding.
SYMMETRY_TOLERANCE = 1e-9


def check_layout(arrays: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Check names, dtypes and shapes; return the length of each axis of the layout.

    Raises:
        BaselineError: The arrays cannot be those of a baseline.
    """
    layout = LAYOUT
    for group in (DEPENDENCE, SEGMENTS):
        if group.keys() & arrays.keys():
            layout = layout | group
    if arrays.keys() != layout.keys():
        msg = f"it holds the arrays {', '.join(sorted(arrays))}, and should hold {', '.join(layout)}"
        raise BaselineError(msg)
    sizes = {"1": 1}
    for name, (dtype, axes) in layout.items():
        array = arrays[name]
        for axis, size in zip(axes, array.shape, strict=False):
            sizes.setdefault(axis, size)
        expected = tuple(sizes.get(axis) for axis in axes)
        if array.dtype != dtype or array.shape != expected or 0 in expected:
            shape = ", ".join(f"{axis}={sizes.get(axis, '?')}" for axis in axes)
            msg = f"array {name} is {array.dtype} of shape {array.shape}, and should be {dtype} ({shape})"
            raise BaselineError(msg)
    return sizes


def check_values(arrays: Mapping[str, NDArray[Any]], metric: DistanceMetric) -> None:
    """Check that the values of well laid out arrays can be those of a baseline.

    Raises:
        BaselineError: They cannot.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            msg = f"array {name} holds values that are not finite"
            raise BaselineError(msg)
    lengths = np.linalg.norm(arrays["centroids"].astype(np.float64), axis=1)
    requirements = {
        "the counts must not be negative": (arrays["counts"] >= 0).all(),
        "the quantile levels must grow within 0 to 1, and have 0.5 and 0.99 among them": (
            _grows(arrays["quantile_levels"], 0, 1) and np.isin((0.5, 0.99), arrays["quantile_levels"]).all()
        ),
        "the distance quantiles must grow from 0 or more": _grows(arrays["distance_quantiles"], 0, np.inf),
        "the variances must be positive": (arrays["variances"] > 0).all(),
        "the centroids of the cosine metric must be of unit length": (
            metric is not DistanceMetric.COSINE or (np.abs(lengths - 1) <= UNIT_TOLERANCE).all()
        ),
    }
    if arrays.keys() >= DEPENDENCE.keys():
        requirements |= {
            "the overdispersion must be of at least one window": arrays["dependence_windows"][0] >= 1,
            "the overdispersion of the counts must be 1 or more": arrays["dependence_counts"][0] >= 1,
            "the overdispersion of the means must be a covariance": _is_covariance(
                arrays["dependence_means"]
            ),
        }
    if arrays.keys() >= SEGMENTS.keys():
        counts = arrays["segment_counts"]
        requirements |= {
            "the counts of a segment must not be negative nor all zero": (
                (counts >= 0).all() and counts.any(axis=1).all()
            ),
            "the covariance of a segment must be one": _is_covariance(arrays["segment_covariances"]),
            "the overdispersion of a segment must be of no window or more": (
                arrays["segment_dependence_windows"] >= 0
            ).all(),
            "the overdispersion of a segment's counts must be 1 or more": (
                arrays["segment_dependence_counts"] >= 1
            ).all(),
            "the overdispersion of a segment's means must be a covariance": _is_covariance(
                arrays["segment_dependence_means"]
            ),
        }
    for requirement, holds in requirements.items():
        if not holds:
            raise BaselineError(requirement)


def _grows(array: NDArray[Any], lowest: float, highest: float) -> bool:
    """Return whether the last axis never falls and stays within [lowest, highest]."""
    within = (array >= lowest).all() and (array <= highest).all()
    return bool(within and (np.diff(array, axis=-1) >= 0).all())


def _is_covariance(matrices: NDArray[np.float64]) -> bool:
    """Return whether (..., r, r) float64 matrices are symmetric and positive definite."""
    scale = np.abs(matrices).max()
    if np.abs(matrices - np.swapaxes(matrices, -1, -2)).max() > SYMMETRY_TOLERANCE * scale:
        return False
    values = np.linalg.eigvalsh(matrices)
    # A value that is zero but for rounding is none.
    return bool((values[..., 0] > np.finfo(np.float64).eps * values[..., -1]).all())
