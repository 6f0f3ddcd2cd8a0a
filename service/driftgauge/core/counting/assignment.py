"""Assignment of vectors to clusters: the nearest centroid, by one matrix product per batch."""

from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = ["Centroids", "DistanceMetric"]


class DistanceMetric(StrEnum):
    """The distance by which the nearest centroid is chosen."""

    EUCLIDEAN = "euclidean"
    COSINE = "cosine"


@dataclass(frozen=True, slots=True)
class Centroids:
    """The frozen centroids of a baseline.

    ||x - c||^2 = ||x||^2 - 2 x.c + ||c||^2, and ||x||^2 is the same for every centroid, so the
    nearest centroid has the largest x.c - ||c||^2 / 2. Subtracting the first centroid's value from
    all of them changes no comparison and avoids the float32 cancellation of embeddings with a large
    common offset. Both terms are computed once, in float64.

    Under the cosine metric the centroids have unit length (spherical k-means), so the nearest has the
    largest x.c for any length of x, and vectors are not normalised.

    The last bits of a product depend on how BLAS partitions the batch. A vector whose two best
    centroids differ by no more than this rounding is assigned again by itself, in float64, so that its
    cluster is the same in any batch.

    Attributes:
        values: (k, d) float32, row j is the centroid of cluster j.
        metric: The distance by which the nearest centroid is chosen.
    """

    values: NDArray[np.float32]
    metric: DistanceMetric
    _relative: NDArray[np.float32] = field(init=False, repr=False)
    _half_norms: NDArray[np.float32] = field(init=False, repr=False)
    _exact_relative: NDArray[np.float64] = field(init=False, repr=False)
    _exact_half_norms: NDArray[np.float64] = field(init=False, repr=False)
    _rounding: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        exact = self.values.astype(np.float64)
        half_norms = 0.5 * np.square(exact).sum(axis=1)
        if self.metric is DistanceMetric.COSINE:
            half_norms = np.zeros_like(half_norms)
        relative = exact - exact[0]
        half_norms -= half_norms[0]
        object.__setattr__(self, "_exact_relative", relative)
        object.__setattr__(self, "_exact_half_norms", half_norms)
        object.__setattr__(self, "_relative", np.ascontiguousarray(relative.T, dtype=np.float32))
        object.__setattr__(self, "_half_norms", half_norms.astype(np.float32))
        # The error of a product of d terms is below d + 2 roundings of the product of the lengths (N. J.
        # Higham, Accuracy and Stability of Numerical Algorithms, 3.1), and two products are compared.
        longest = float(np.linalg.norm(relative, axis=1).max())
        rounding = 2 * (self.dimension + 2) * float(np.finfo(np.float32).eps) * longest
        object.__setattr__(self, "_rounding", rounding)

    @property
    def clusters(self) -> int:
        """The number of clusters, k."""
        return int(self.values.shape[0])

    @property
    def dimension(self) -> int:
        """The length of a vector, d."""
        return int(self.values.shape[1])

    def assign(self, vectors: NDArray[np.float32]) -> NDArray[np.intp]:
        """Return the (n,) cluster ids of (n, d) float32 vectors; the lower id wins a tie.

        A row whose product with a centroid overflows float32 has no nearest centroid: its id is -1.
        """
        # Overflows are reported by row, as -1, so numpy's warning per batch is off.
        with np.errstate(over="ignore", invalid="ignore"):
            closeness = vectors @ self._relative
            closeness -= self._half_norms
            nearest: NDArray[np.intp] = closeness.argmax(axis=1)
            # The sum is finite unless an entry is not, or the sum itself overflows: -1 in both cases.
            overflowed = ~np.isfinite(closeness.sum(axis=1))
            for row in np.flatnonzero(self._is_near_tie(vectors, closeness, nearest) & ~overflowed).tolist():
                nearest[row] = self._assign_exactly(vectors[row])
        if overflowed.any():
            nearest[overflowed] = -1
        return nearest

    def distances(self, vectors: NDArray[np.float32], clusters: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return the distance of n vectors (n, d) to the centroids of their clusters (n,), (n,) float32.

        The Euclidean distance, or 1 - cosine under the cosine metric.
        """
        own = self.values[clusters]
        distances: NDArray[np.float32]
        # A distance too large for float32 is infinite.
        with np.errstate(over="ignore"):
            if self.metric is DistanceMetric.COSINE:
                # In float32 the squares of a very short vector underflow.
                exact = vectors.astype(np.float64)
                cosines = np.einsum("nd,nd->n", exact, own) / np.sqrt(np.einsum("nd,nd->n", exact, exact))
                # Rounding can put a cosine a little above 1.
                distances = np.maximum(1 - cosines, 0).astype(np.float32)
            else:
                own -= vectors
                distances = np.sqrt(np.einsum("nd,nd->n", own, own))
        return distances

    def _is_near_tie(
        self, vectors: NDArray[np.float32], closeness: NDArray[np.float32], nearest: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """Return which rows' two best centroids differ by no more than rounding, (n,) bool."""
        if self.clusters == 1:
            return np.zeros(len(vectors), dtype=np.bool_)
        rows = np.arange(len(vectors))
        best = closeness[rows, nearest]
        closeness[rows, nearest] = -np.inf
        lead = best - closeness.max(axis=1)
        lengths = np.sqrt(np.vecdot(vectors, vectors))
        norms = float(np.abs(self._half_norms).max()) * 4 * float(np.finfo(np.float32).eps)
        near_tie: NDArray[np.bool_] = lead <= self._rounding * lengths + norms
        return near_tie

    def _assign_exactly(self, vector: NDArray[np.float32]) -> int:
        """Return the cluster of one (d,) vector, by float64 sums in an order independent of the batch."""
        products = (self._exact_relative * vector.astype(np.float64)).sum(axis=1)
        return int((products - self._exact_half_norms).argmax())
