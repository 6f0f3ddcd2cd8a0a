"""The outliers among vectors, and their spreads about the reference, with moments."""

from collections.abc import Callable
from dataclasses import astuple

import numpy as np
from numpy.typing import NDArray

from driftgauge.baseline.moments import Moments, blocks
from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.projection import SPREAD_STEP, Projection
from driftgauge.core.statistics.novelty import RADIUS_LEVEL
from driftgauge.core.statistics.spread import SpreadMoments

__all__ = [
    "SpreadPair",
    "beyond_others",
    "from_array",
    "measure_spreads",
    "moments_of",
    "report_spreads",
    "spreads_of",
    "to_array",
]

SpreadPair = tuple[SpreadMoments | None, SpreadMoments | None]
"""The moments of the spread along the components, and of the residual; None: it does not vary."""

# From this mean on, the residual of new vectors has little to do with that of the reference.
_LARGE_MEAN = 4.0


def spreads_of(
    vectors: NDArray[np.float32], rows: NDArray[np.intp], reference: Moments
) -> NDArray[np.float64]:
    """Return the spreads of m rows of (n, d) float32 vectors as the service measures them, (m, 2) float64."""
    projection = Projection(reference.mean, reference.components, reference.variances, reference.residual)
    measured = [projection.measure(vectors[block])[1] for block in blocks(rows)]
    spreads: NDArray[np.float64] = np.concatenate(measured) * np.float64(SPREAD_STEP)
    return spreads


def measure_spreads(
    vectors: NDArray[np.float32],
    rows: NDArray[np.intp],
    reference: Moments,
    centroids: Centroids,
    radii: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the spreads of some rows, (m, 2) float64, and which are outliers, (m,).

    Args:
        vectors: (n, d) float32.
        rows: The numbers of m rows that the components were not computed from. The mean is of these as well.
        reference: The mean and the components.
        centroids: The centroids of the k clusters.
        radii: (k,) float32, the radius of each cluster.
    """
    are_outliers = []
    for block in blocks(rows):
        ids = centroids.assign(vectors[block])
        are_outliers.append(centroids.distances(vectors[block], ids) > radii[ids])
    return spreads_of(vectors, rows, reference), np.concatenate(are_outliers)


def beyond_others(distances: NDArray[np.float32], ids: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of m vectors lie beyond the radius of their cluster as it is without them, (m,) bool.

    A radius is a quantile of the distances of a cluster's own vectors, so a larger share of new vectors lies
    beyond: of a cluster of 500, 1.2 % instead of 1 %. Without a vector the radius is one of the others', and
    the vector is as new.

    Args:
        distances: (m,) float32, the distance of each vector from the centroid of its cluster.
        ids: (m,), its cluster.
    """
    beyond = np.zeros(len(ids), dtype=np.bool_)
    for cluster in np.unique(ids):
        rows = np.flatnonzero(ids == cluster)
        rows = rows[np.argsort(distances[rows], kind="stable")]
        lengths = distances[rows].astype(np.float64)
        # The radius interpolates between two of the others in order; the vector may be the second of them.
        position = RADIUS_LEVEL * max(len(rows) - 2, 0)
        below, part = int(position), position % 1
        for index in range(below + 1, len(rows)):
            above = below + 2 if index == below + 1 else below + 1
            upper = lengths[min(above, len(rows) - 1)]
            beyond[rows[index]] = lengths[index] > lengths[below] + part * (upper - lengths[below])
    return beyond


def moments_of(spreads: NDArray[np.float64], outliers: NDArray[np.bool_]) -> SpreadPair:
    """Return the moments of both spreads of m vectors, (m, 2) float64, of which some are outliers, (m,)."""
    components, residual = (SpreadMoments.of(column, outliers) for column in spreads.T)
    return components, residual


def to_array(spreads: SpreadPair) -> NDArray[np.float64]:
    """Return the moments as an array, (2, 6) float64; zeros where a spread does not vary."""
    return np.array([np.zeros(6) if each is None else astuple(each) for each in spreads])


def from_array(rows: NDArray[np.float64]) -> SpreadPair:
    """Return the moments of an array, (2, 6) float64."""
    components, residual = (
        SpreadMoments(int(count), *moments) if count else None for count, *moments in rows.tolist()
    )
    return components, residual


def report_spreads(
    spread_moments: NDArray[np.float64], reference: Moments, progress: Callable[[str], None]
) -> None:
    """Report a warning where the spread of the residual cannot be tested, or hardly."""
    count, mean = spread_moments[1, :2].tolist()
    if reference.residual > 0 and (count == 0 or mean > _LARGE_MEAN):
        progress(
            "warning: a change of spread outside the leading components will hardly be seen: the reference "
            "is too small for the length of its vectors, or one number varies much more than all others; "
            "give more vectors, or scale that number"
        )
