"""The arrays a baseline consists of: their names, dtypes and shapes, and what must hold of them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.assignment import Metric
from driftgauge.errors import BaselineError

__all__ = ["LAYOUT", "check_layout", "check_values"]

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

# Unit length to within what normalising in float32 leaves open.
UNIT_TOLERANCE = 1e-4


def check_layout(arrays: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Check names, dtypes and shapes; return the length of each axis of `LAYOUT`.

    Raises:
        BaselineError: The arrays cannot be those of a baseline.
    """
    if arrays.keys() != LAYOUT.keys():
        msg = f"it holds the arrays {', '.join(sorted(arrays))}, and should hold {', '.join(LAYOUT)}"
        raise BaselineError(msg)
    sizes: dict[str, int] = {}
    for name, (dtype, axes) in LAYOUT.items():
        array = arrays[name]
        for axis, size in zip(axes, array.shape, strict=False):
            sizes.setdefault(axis, size)
        expected = tuple(sizes.get(axis) for axis in axes)
        if array.dtype != dtype or array.shape != expected or 0 in expected:
            shape = ", ".join(f"{axis}={sizes.get(axis, '?')}" for axis in axes)
            msg = f"array {name} is {array.dtype} of shape {array.shape}, and should be {dtype} ({shape})"
            raise BaselineError(msg)
    return sizes


def check_values(arrays: Mapping[str, NDArray[Any]], metric: Metric) -> None:
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
            metric is not Metric.COSINE or (np.abs(lengths - 1) <= UNIT_TOLERANCE).all()
        ),
    }
    for requirement, holds in requirements.items():
        if not holds:
            raise BaselineError(requirement)


def _grows(array: NDArray[Any], lowest: float, highest: float) -> bool:
    """Whether the last axis never falls and stays within [lowest, highest]."""
    within = (array >= lowest).all() and (array <= highest).all()
    return bool(within and (np.diff(array, axis=-1) >= 0).all())
