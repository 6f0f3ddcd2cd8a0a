"""The arrays a baseline consists of: their names, dtypes and shapes, and the constraints on them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.segments import MAX_SEGMENT_VALUES
from driftgauge.core.counting.assignment import DistanceMetric
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.errors import BaselineError

__all__ = ["LAYOUT", "OVERDISPERSION", "SEGMENTS", "check_layout", "check_values"]

# Every array: its dtype, and its axes by letter or length; an axis has one length throughout.
LAYOUT: dict[str, tuple[str, str]] = {
    "centroids": ("float32", "kd"),
    "cluster_means": ("float64", "kr"),
    "components": ("float32", "rd"),
    "counts": ("int64", "k"),
    "distance_quantiles": ("float32", "kq"),
    "hash_counts": ("int64", "h"),
    "mean": ("float64", "d"),
    "quantile_levels": ("float64", "q"),
    "residual": ("float64", "1"),
    "spread_moments": ("float64", "26"),
    "variances": ("float64", "r"),
}

# Optional groups of arrays: a file holds all arrays of a group, or none.
OVERDISPERSION: dict[str, tuple[str, str]] = {
    "overdispersion_counts": ("float64", "1"),
    "overdispersion_distances": ("float64", "4"),
    "overdispersion_means": ("float64", "rr"),
    "overdispersion_windows": ("int64", "1"),
}
SEGMENTS: dict[str, tuple[str, str]] = {
    "segment_counts": ("int64", "sk"),
    "segment_covariances": ("float64", "srr"),
    "segment_overdispersion_counts": ("float64", "s"),
    "segment_overdispersion_distances": ("float64", "s4"),
    "segment_overdispersion_means": ("float64", "srr"),
    "segment_overdispersion_windows": ("int64", "s"),
    "segment_means": ("float64", "sr"),
    "segment_outliers": ("int64", "s"),
    "segment_spread_moments": ("float64", "s26"),
}

# The most of an axis, before any work whose cost grows with more than the file's size.
_LIMITS = (("r", "components", MAX_COMPONENTS), ("s", "segments", MAX_SEGMENT_VALUES))

# Normalising in float32 leaves lengths this close to 1.
UNIT_TOLERANCE = 1e-4

# Bounds of the spread moments: a spread is a multiple of 2^-16, and 16 at most.
_SPREAD_RULE = (
    "the spread moments must be all 0, or a count of 2 or more, a mean of 1e-5 to 16, a variance of at most "
    "256, a kurtosis from 1 plus the square of the skewness to the count, and a part from outliers of at "
    "most the mean"
)
_LEAST_MOMENTS_COUNT = 2
_LEAST_MEAN = 1e-5
_MOST_SPREAD = 16.0

# Rounding leaves a symmetric matrix this asymmetric, relative to its largest entry.
SYMMETRY_TOLERANCE = 1e-9


def check_layout(arrays: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Check names, dtypes, shapes and limits; return the length of each axis of the layout.

    Raises:
        BaselineError: A name, dtype or shape does not fit the layout, or an axis is too long.
    """
    layout = LAYOUT
    for group in (OVERDISPERSION, SEGMENTS):
        if group.keys() & arrays.keys():
            layout = layout | group
    if arrays.keys() != layout.keys():
        message = f"the arrays are {', '.join(sorted(arrays))}; expected {', '.join(layout)}"
        raise BaselineError(message)
    sizes = {length: int(length) for length in "1246"} | {"h": HASH_BINS}
    for name, (dtype, axes) in layout.items():
        array = arrays[name]
        for axis, size in zip(axes, array.shape, strict=False):
            sizes.setdefault(axis, size)
        expected = tuple(sizes.get(axis) for axis in axes)
        if array.dtype != dtype or array.shape != expected or 0 in expected:
            shape = ", ".join(f"{axis}={sizes.get(axis, '?')}" for axis in axes)
            message = f"array {name} is {array.dtype} of shape {array.shape}; expected {dtype} ({shape})"
            raise BaselineError(message)
    for axis, noun, most in _LIMITS:
        if sizes.get(axis, 0) > most:
            message = f"the baseline has {sizes[axis]} {noun}; the maximum is {most}"
            raise BaselineError(message)
    return sizes


def check_values(arrays: Mapping[str, NDArray[Any]], metric: DistanceMetric) -> None:
    """Check the values of arrays that fit the layout.

    Raises:
        BaselineError: A value violates a constraint; the message states the constraint.
    """
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            message = f"array {name} holds values that are not finite"
            raise BaselineError(message)
    lengths = np.linalg.norm(arrays["centroids"].astype(np.float64), axis=1)
    requirements = {
        "the counts must not be negative": (arrays["counts"] >= 0).all(),
        "the quantile levels must increase within 0 to 1 and include 0.5 and 0.99": (
            _is_increasing(arrays["quantile_levels"], 0, 1)
            and np.isin((0.5, 0.99), arrays["quantile_levels"]).all()
        ),
        "the distance quantiles must be 0 or more and increase": _is_increasing(
            arrays["distance_quantiles"], 0, np.inf
        ),
        "the variances must be positive": (arrays["variances"] > 0).all(),
        "the counts of hashes must not be negative, and sum to those of the clusters": (
            (arrays["hash_counts"] >= 0).all() and arrays["hash_counts"].sum() == arrays["counts"].sum()
        ),
        "the residual must be 0 or more": arrays["residual"][0] >= 0,
        _SPREAD_RULE: all(_are_moments(row) for row in arrays["spread_moments"]),
        "the centroids of the cosine metric must be of unit length": (
            metric is not DistanceMetric.COSINE or (np.abs(lengths - 1) <= UNIT_TOLERANCE).all()
        ),
    }
    if arrays.keys() >= OVERDISPERSION.keys():
        requirements |= {
            "the overdispersion must be measured on at least one window": arrays["overdispersion_windows"][0]
            >= 1,
            "the overdispersion of the counts must be 1 or more": arrays["overdispersion_counts"][0] >= 1,
            "the overdispersion of the means must be a covariance matrix": _is_covariance(
                arrays["overdispersion_means"]
            ),
            "the overdispersion of the distances must be 1 or more": (
                arrays["overdispersion_distances"] >= 1
            ).all(),
        }
    if arrays.keys() >= SEGMENTS.keys():
        counts = arrays["segment_counts"]
        requirements |= {
            "the counts of a segment must not be negative or all zero": (
                (counts >= 0).all() and counts.any(axis=1).all()
            ),
            "the covariance of a segment must be symmetric and positive definite": _is_covariance(
                arrays["segment_covariances"]
            ),
            "the outliers of a segment must be 0 to its number of vectors": (
                (arrays["segment_outliers"] >= 0).all()
                and (arrays["segment_outliers"] <= counts.sum(axis=1)).all()
            ),
            f"of a segment, {_SPREAD_RULE}": all(
                _are_moments(row) for row in arrays["segment_spread_moments"].reshape(-1, 6)
            ),
            "the overdispersion of a segment's distances must be 1 or more": (
                arrays["segment_overdispersion_distances"] >= 1
            ).all(),
            "the number of windows of a segment must not be negative": (
                arrays["segment_overdispersion_windows"] >= 0
            ).all(),
            "the overdispersion of a segment's counts must be 1 or more": (
                arrays["segment_overdispersion_counts"] >= 1
            ).all(),
            "the overdispersion of a segment's means must be a covariance matrix": _is_covariance(
                arrays["segment_overdispersion_means"]
            ),
        }
    for requirement, holds in requirements.items():
        if not holds:
            raise BaselineError(requirement)


def _are_moments(row: NDArray[np.float64]) -> bool:
    """Return whether the fields of one spread's `SpreadMoments` are possible."""
    count, mean, variance, skewness, kurtosis, outliers = row.tolist()
    # No spread is above 16.
    is_known = (
        count >= _LEAST_MOMENTS_COUNT
        and count == int(count)
        and _LEAST_MEAN <= mean <= _MOST_SPREAD
        and 0 < variance <= _MOST_SPREAD**2
        and 1 + skewness**2 <= kurtosis * (1 + SYMMETRY_TOLERANCE)
        and kurtosis <= count * (1 + SYMMETRY_TOLERANCE)
        and 0 <= outliers <= mean
    )
    return is_known or not row.any()


def _is_increasing(array: NDArray[Any], lowest: float, highest: float) -> bool:
    """Return whether values never decrease along the last axis and lie within [lowest, highest]."""
    is_within = (array >= lowest).all() and (array <= highest).all()
    return bool(is_within and (np.diff(array, axis=-1) >= 0).all())


def _is_covariance(matrices: NDArray[np.float64]) -> bool:
    """Return whether (..., r, r) float64 matrices are symmetric and positive definite."""
    scale = np.abs(matrices).max()
    if np.abs(matrices - np.swapaxes(matrices, -1, -2)).max() > SYMMETRY_TOLERANCE * scale:
        return False
    eigenvalues = np.linalg.eigvalsh(matrices)
    # Rounding can turn a zero eigenvalue positive.
    return bool((eigenvalues[..., 0] > np.finfo(np.float64).eps * eigenvalues[..., -1]).all())
