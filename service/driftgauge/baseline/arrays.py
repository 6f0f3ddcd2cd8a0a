"""The arrays a baseline consists of: their names, dtypes and shapes, and the constraints on them."""

import sys
from collections.abc import Collection, Mapping
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.segments import MAX_SEGMENT_VALUES
from driftgauge.core.counting.hashing import HASH_BINS, SIGN_BINS
from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.duplicates import HASH_COUNTS
from driftgauge.core.statistics.overdispersion import MIN_WINDOWS
from driftgauge.core.statistics.spread import SPREAD_MOMENTS
from driftgauge.core.statistics.statistic import ArrayLayout
from driftgauge.errors import BaselineError

__all__ = ["LAYOUT", "OVERDISPERSION", "SEGMENTS", "check_layout", "check_values", "known_arrays"]

_POSITIVE = sys.float_info.min

# An axis has one length throughout.
LAYOUT: dict[str, ArrayLayout] = {
    "centroids": ("float32", "kd", -inf),
    "cluster_means": ("float64", "kr", -inf),
    "components": ("float32", "rd", -inf),
    "counts": ("int64", "k", 0),
    "distance_quantiles": ("float32", "kq", 0),
    "mean": ("float64", "d", -inf),
    "quantile_levels": ("float64", "q", 0),
    "residual": ("float64", (1,), 0),
    "variances": ("float64", "r", _POSITIVE),
}

# Optional groups of arrays: a file holds all arrays of a group, or none.
OVERDISPERSION: dict[str, ArrayLayout] = {
    "overdispersion_counts": ("float64", (1,), 1),
    "overdispersion_means": ("float64", "rr", -inf),
    "overdispersion_windows": ("int64", (1,), MIN_WINDOWS),
}
SEGMENTS: dict[str, ArrayLayout] = {
    "segment_counts": ("int64", "sk", 0),
    "segment_covariances": ("float64", "srr", -inf),
    "segment_overdispersion_counts": ("float64", "s", 1),
    "segment_overdispersion_means": ("float64", "srr", -inf),
    "segment_overdispersion_windows": ("int64", "s", 0),
    "segment_means": ("float64", "sr", -inf),
}

# The most of an axis, before any work whose cost grows with more than the file's size.
_LIMITS = (("r", "components", MAX_COMPONENTS), ("s", "segments", MAX_SEGMENT_VALUES))


def known_arrays() -> frozenset[str]:
    """Return the names of all arrays that this version can read; a reader ignores others."""
    of_statistics = (name for each in registry.STATISTICS for name in each.arrays)
    return frozenset(_layout_of({*OVERDISPERSION, *SEGMENTS, *of_statistics}))


def check_layout(arrays: Mapping[str, NDArray[Any]]) -> dict[str, int]:
    """Check names, dtypes, shapes and limits of the known arrays; return the length of each axis.

    Raises:
        BaselineError: A name, dtype or shape does not fit the layout, or an axis is too long.
    """
    layout = _layout_of(arrays.keys())
    if arrays.keys() & known_arrays() != layout.keys():
        message = f"the arrays are {', '.join(sorted(arrays))}; expected {', '.join(sorted(layout))}"
        raise BaselineError(message)
    sizes = {"h": SIGN_BINS if len(arrays.get(HASH_COUNTS, ())) == SIGN_BINS else HASH_BINS}
    for name, (dtype, axes, _) in layout.items():
        array = arrays[name]
        for axis, size in zip(axes, array.shape, strict=False):
            if isinstance(axis, str):
                sizes.setdefault(axis, size)
        expected = tuple(sizes.get(axis) if isinstance(axis, str) else axis for axis in axes)
        if array.dtype != dtype or array.shape != expected or 0 in expected:
            shape = ", ".join(
                f"{axis}={sizes.get(axis, '?')}" if isinstance(axis, str) else f"{axis}" for axis in axes
            )
            message = f"array {name} is {array.dtype} of shape {array.shape}; expected {dtype} ({shape})"
            raise BaselineError(message)
    for axis, noun, most in _LIMITS:
        if sizes.get(axis, 0) > most:
            message = f"the baseline has {sizes[axis]} {noun}; the maximum is {most}"
            raise BaselineError(message)
    return sizes


def _layout_of(names: Collection[str]) -> dict[str, ArrayLayout]:
    """Return the layout of a file with arrays of these names.

    A file without the arrays of a statistic was fitted before the statistic was there.
    """
    layout = dict(LAYOUT)
    if has_overdispersion := not OVERDISPERSION.keys().isdisjoint(names):
        layout |= OVERDISPERSION
    if has_segments := not SEGMENTS.keys().isdisjoint(names):
        layout |= SEGMENTS
    for each in registry.STATISTICS:
        if each.arrays and each.arrays.keys().isdisjoint(names):
            continue
        layout |= each.arrays
        if has_overdispersion and each.variances:
            layout[f"overdispersion_{each.name}"] = ("float64", (each.variances,), 1)
        if has_segments and each.in_segments:
            for name, (dtype, axes, least) in each.segment_arrays.items():
                layout[f"segment_{name}"] = (dtype, ("s", *axes), least)
            if each.variances:
                layout[f"segment_overdispersion_{each.name}"] = ("float64", ("s", each.variances), 1)
    return layout


def check_values(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Check that the service can compute with the known arrays, which fit the layout.

    Whoever writes a baseline decides the verdicts, so values that are merely unlikely are accepted.

    Raises:
        BaselineError: A value violates a constraint; the message states the constraint.
    """
    layout = _layout_of(arrays.keys())
    for name, (_, axes, least) in layout.items():
        array = arrays[name]
        if not (np.isfinite(array) & (array >= least)).all():
            bound = "" if least == -inf else f" or below {least:g}"
            message = f"array {name} holds values that are not finite{bound}"
            raise BaselineError(message)
        if tuple(axes[-2:]) == ("r", "r"):
            try:
                np.linalg.cholesky(array)
            except np.linalg.LinAlgError as error:
                message = f"array {name} must be positive definite"
                raise BaselineError(message) from error
            # The decomposition reads one triangle only, and rounding may differ between the two.
            if not np.allclose(array, array.swapaxes(-1, -2), atol=1e-9 * array.max()):
                message = f"array {name} must be symmetric"
                raise BaselineError(message)
        # Of a spread that does not vary all moments are zero.
        if (
            name.endswith(SPREAD_MOMENTS)
            and not (array[..., 0, :].astype(bool) == (array[..., :3, :] > 0).all(axis=-2)).all()
        ):
            message = f"array {name} holds a count without a mean and a variance above 0"
            raise BaselineError(message)
    if not np.isin((0.5, 0.99), arrays["quantile_levels"]).all():
        message = "the quantile levels must include 0.5 and 0.99"
        raise BaselineError(message)
    # A rate is taken of pairs.
    if HASH_COUNTS in arrays and arrays[HASH_COUNTS].sum() < 2:  # noqa: PLR2004
        message = f"array {HASH_COUNTS} counts fewer than two vectors"
        raise BaselineError(message)
    # The covariance of no more vectors than components says nothing, and p-values would be no numbers.
    if "segment_counts" in arrays:
        components, fewest = len(arrays["variances"]), int(arrays["segment_counts"].sum(axis=-1).min())
        if fewest <= components:
            message = f"array segment_counts: {fewest} vectors are too few for {components} components"
            raise BaselineError(message)
