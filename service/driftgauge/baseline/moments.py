"""Mean and leading principal components of many vectors, computed in blocks to bound memory."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from driftgauge.core.counting.projection import MAX_COMPONENTS
from driftgauge.errors import BaselineError

__all__ = ["Moments", "blocks", "moments", "project"]

# Rows per block: 8,192 of 1,024 floats take 64 MiB in float64.
BLOCK_ROWS = 8_192


@dataclass(frozen=True, slots=True)
class Moments:
    """First and second moments of a set of vectors.

    Attributes:
        mean: (d,) float64.
        components: (r, d) float32, unit principal components, the leading first, with the
            sign that makes the largest entry positive.
        variances: (r,) float64, the variance along each component.
        residual: The variance in all other directions together; 0 where they hold none.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float32]
    variances: NDArray[np.float64]
    residual: float


def blocks(rows: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Yield the row numbers in blocks, which bounds the memory for copies of the rows."""
    for start in range(0, len(rows), BLOCK_ROWS):
        yield rows[start : start + BLOCK_ROWS]


def moments(
    vectors: NDArray[np.float32], rows: NDArray[np.intp], others: NDArray[np.intp] | None = None
) -> Moments:
    """Return the moments of some rows of (n, d) float32 vectors, summed in float64.

    The mean is that of the rows and of others. Clusters are not fitted to a mean, so the vectors behind
    the clusters show it too, and a smaller shift is found with more of them. Components are fitted:
    spreads along them are measured on vectors that are not among the rows.

    There are min(32, d, rank) components; a direction in which the vectors vary by no more than
    float32 rounding does not count towards the rank.

    Raises:
        BaselineError: The rows do not vary.
    """
    own_mean = _mean(vectors, rows)
    mean = own_mean if others is None else _mean(vectors, np.concatenate([rows, others]))
    covariance = np.zeros((len(mean), len(mean)))
    for block in blocks(rows):
        centred = vectors[block] - own_mean
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
    directions = directions[:rank]
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    left = variances[rank:]
    residual = float(left[left > rounding].sum())
    components = (directions * np.sign(largest)).astype(np.float32)
    return Moments(mean, components, variances[:rank].copy(), residual)


def _mean(vectors: NDArray[np.float32], rows: NDArray[np.intp]) -> NDArray[np.float64]:
    total = np.zeros(vectors.shape[1])
    for block in blocks(rows):
        total += vectors[block].sum(axis=0, dtype=np.float64)
    return total / len(rows)


def project(vectors: NDArray[np.float32], rows: NDArray[np.intp], reference: Moments) -> NDArray[np.float64]:
    """Return the coordinates of m rows along the r components, relative to the mean, (m, r) float64."""
    components = reference.components.T.astype(np.float64)
    return np.concatenate([(vectors[block] - reference.mean) @ components for block in blocks(rows)])
