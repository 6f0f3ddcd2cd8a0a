"""Measures of many vectors, in blocks to bound memory: mean and components, and what the statistics count."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.assignment import Centroids
from driftgauge.core.counting.hashing import HASH_BINS
from driftgauge.core.counting.measurement import MeasuredEvents
from driftgauge.core.counting.projection import MAX_COMPONENTS, MINOR_COMPONENTS, Projection
from driftgauge.core.counting.tally import Directions
from driftgauge.core.statistics import registry
from driftgauge.core.statistics.minor_shift import known_variances
from driftgauge.core.statistics.novelty import RADIUS_LEVEL
from driftgauge.core.statistics.nulls.means_null import describe
from driftgauge.errors import BaselineError

__all__ = [
    "blocks",
    "find_cluster_means",
    "leave_one_out_outliers",
    "measure",
    "moments",
    "project",
    "report_spreads",
    "shrink",
    "squared_distances",
]

# Rows per block: 8,192 of 1,024 floats take 64 MiB in float64.
BLOCK_ROWS = 8_192

# From this mean on, the residual of new vectors has little to do with that of the reference.
_LARGE_MEAN = 4.0

# Rounds of clipping, and the relative change of all variances at which they end. It is as large as tails of t
# with two degrees of freedom leave it: rounds then swap the last of 32 components for another, and back.
_MOST_ROUNDS = 10
_SETTLED = 0.01


def blocks(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield the row numbers in blocks, which bounds the memory for copies of the rows."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]


def moments(
    vectors: NDArray[np.float32], rows: NDArray[np.intp], others: NDArray[np.intp] | None = None
) -> Projection:
    """Return mean and principal components of some rows of (n, d) float32 vectors, summed in float64.

    The mean is that of the rows and of others: nothing is fitted to it, and a smaller shift is found with
    more vectors. Components are fitted: what is measured along them is measured on vectors that are not among
    the rows.

    Vectors are clipped as the service clips events: those further from the mean than `Projection` allows are
    shrunk towards it. Mean and variances are those of the clipped vectors, so they are found in rounds, of
    which vectors without a heavy tail take one (P. J. Huber, Robust Statistics, Wiley, 1981, chapter 8).

    There are min(32, d, rank) components, with the sign that makes the largest entry positive; a direction in
    which the vectors vary by no more than float32 rounding does not count towards the rank.

    Raises:
        BaselineError: The rows do not vary.
    """
    everything = rows if others is None else np.concatenate([rows, others])
    found = _moments_of(vectors, rows, everything, None)
    for _ in range(_MOST_ROUNDS):
        before = found
        if not any((before.clip(vectors[block]) < 1).any() for block in blocks(everything)):
            break
        found = _moments_of(vectors, rows, everything, before)
        if len(found.variances) == len(before.variances) and np.allclose(
            found.variances, before.variances, rtol=_SETTLED
        ):
            break
    return _without_rare(vectors, rows, found)


def _without_rare(vectors: NDArray[np.float32], rows: NDArray[np.intp], found: Projection) -> Projection:
    """Return a projection without the minor components that a few of the rows make.

    Such as pixels of an edge, which are nearly always 0: windows differ along them from any other vectors.
    """
    moments = describe(np.concatenate([found.project_minor(vectors[block]) for block in blocks(rows)]))
    return replace(found, minor=found.minor * known_variances(moments)[:, None])


def _moments_of(
    vectors: NDArray[np.float32],
    rows: NDArray[np.intp],
    everything: NDArray[np.intp],
    projection: Projection | None,
) -> Projection:
    """Return the components of rows, and the mean of everything, clipped by a projection; None: unclipped."""
    mean = _mean(vectors, everything, projection)
    own_mean = mean if everything is rows else _mean(vectors, rows, projection)
    covariance = np.zeros((len(mean), len(mean)))
    for block in blocks(rows):
        centred = _clipped(vectors[block], projection) - own_mean
        covariance += centred.T @ centred
    covariance /= max(len(rows) - 1, 1)
    variances, directions = np.linalg.eigh(covariance)
    variances, directions = variances[::-1], directions.T[::-1]

    square = (np.diagonal(covariance) + np.square(mean)).max()
    rounding = max(
        np.square(np.finfo(np.float32).eps) * square, len(mean) * np.finfo(np.float64).eps * variances[0]
    )
    rank = min(MAX_COMPONENTS, int((variances > rounding).sum()))
    if rank == 0:
        message = "the vectors do not vary by more than float32 rounding; give vectors that differ"
        raise BaselineError(message)
    directions = directions[: min(rank + MINOR_COMPONENTS, int((variances > rounding).sum()))]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    left = variances[rank:]
    residual = float(left[left > rounding].sum())
    components = (directions * np.sign(largest)).astype(np.float32)
    minor = np.zeros((MINOR_COMPONENTS, len(mean)), np.float32)
    minor[: len(components) - rank] = components[rank:]
    return Projection(mean, components[:rank], variances[:rank].copy(), residual, minor)


def _mean(
    vectors: NDArray[np.float32], rows: NDArray[np.intp], projection: Projection | None
) -> NDArray[np.float64]:
    total = np.zeros(vectors.shape[1])
    for block in blocks(rows):
        total += _clipped(vectors[block], projection).sum(axis=0, dtype=np.float64)
    return total / len(rows)


def _clipped(
    vectors: NDArray[np.float32], projection: Projection | None
) -> NDArray[np.float32] | NDArray[np.float64]:
    """Return vectors shrunk towards the mean of a projection as it clips them; None: as they are."""
    if projection is None:
        return vectors
    clipped: NDArray[np.float64] = (
        projection.mean + (vectors - projection.mean) * projection.clip(vectors)[:, None]
    )
    return clipped


def shrink(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, d) vectors shrunk towards their middle, so that none is further from it than half of them.

    The middle is the median of each number.
    """
    middle = np.median(vectors, axis=0)
    lengths = np.linalg.norm(vectors - middle, axis=1).astype(np.float64)
    most = np.median(lengths[lengths > 0]) if lengths.any() else 0.0
    factors = most / np.maximum(lengths, most) if most else np.ones(len(vectors))
    return (middle + (vectors - middle) * factors[:, None]).astype(np.float32)


def squared_distances(
    vectors: NDArray[np.float32], rows: NDArray[np.intp], reference: Projection
) -> NDArray[np.float64]:
    """Return the squared distances of m rows from a mean, (m, 2) float64: their spreads, but not clipped.

    Along the components, and of the residual; 0 if there is none.
    """
    components = reference.components.T.astype(np.float64)
    measured = []
    for block in blocks(rows):
        centred = vectors[block] - reference.mean
        along = centred @ components
        left = np.maximum(np.vecdot(centred, centred) - np.vecdot(along, along), 0)
        scaled = left / reference.residual if reference.residual > 0 else np.zeros(len(block))
        measured.append(np.stack([(np.square(along) / reference.variances).mean(axis=1), scaled], axis=1))
    return np.concatenate(measured)


def project(
    vectors: NDArray[np.float32], rows: NDArray[np.intp], reference: Projection
) -> NDArray[np.float64]:
    """Return the coordinates of m rows as the service measures them, (m, r) float64 in embedding units."""
    measured = [reference.measure(vectors[block])[0] for block in blocks(rows)]
    return np.concatenate(measured) * np.float64(reference.step)


def find_cluster_means(
    vectors: NDArray[np.float32], rows: NDArray[np.intp], reference: Projection, centroids: Centroids
) -> NDArray[np.float64]:
    """Return the mean of each cluster's vectors among m rows along the components, (k, r) float64.

    In embedding units, from the mean. No cluster may be empty.
    """
    ids = np.concatenate([centroids.assign(vectors[block]) for block in blocks(rows)])
    coordinates = project(vectors, rows, reference)
    return np.stack([coordinates[ids == cluster].mean(axis=0) for cluster in range(centroids.clusters)])


def measure(
    vectors: NDArray[np.float32],
    rows: NDArray[np.intp],
    reference: Projection,
    centroids: Centroids,
    radii: NDArray[np.float32],
    cluster_means: NDArray[np.float64],
    hash_bins: int = HASH_BINS,
) -> dict[str, NDArray[Any]]:
    """Return what the service counts of m rows of (n, d) float32 vectors, by the fields of a tally.

    The values are those of `Statistic.measure`: (m,), (m, length) or (m, a, q) each.
    """
    names = [name for statistic in registry.STATISTICS for name in statistic.fields]
    measured = []
    for block in blocks(rows):
        own = vectors[block]
        events = MeasuredEvents(
            own, centroids.assign(own), centroids, radii, reference, cluster_means, hash_bins
        )
        measured.append(
            [
                each.vectors @ each.directions if isinstance(each, Directions) else each
                for statistic in registry.STATISTICS
                for each in statistic.measure(events)
            ]
        )
    return {
        name: np.concatenate(parts) for name, parts in zip(names, zip(*measured, strict=True), strict=True)
    }


def leave_one_out_outliers(distances: NDArray[np.float32], ids: NDArray[np.intp]) -> NDArray[np.bool_]:
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
        index = np.arange(below + 1, len(rows))
        upper = lengths[np.minimum(np.where(index == below + 1, below + 2, below + 1), len(rows) - 1)]
        beyond[rows[index]] = lengths[index] > lengths[below] + part * (upper - lengths[below])
    return beyond


def report_spreads(
    spread_moments: NDArray[np.float64], reference: Projection, progress: Callable[[str], None]
) -> None:
    """Report a warning if the spread of the residual cannot be tested, or hardly."""
    count, mean = spread_moments[:2, 1].tolist()
    if reference.residual > 0 and (count == 0 or mean > _LARGE_MEAN):
        progress(
            "warning: a change of spread outside the leading components will hardly be seen: the reference "
            "is too small for the length of its vectors, or one number varies much more than all others; "
            "give more vectors, or scale that number"
        )
