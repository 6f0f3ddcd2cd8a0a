"""Projection of vectors on the baseline's principal components, in fixed point: the same in any batch."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

__all__ = ["MAX_COMPONENTS", "MINOR_COMPONENTS", "SPREADS", "SPREAD_STEP", "STANDARD_STEPS", "Projection"]

# On CIFAR-10 embeddings of 128 floats Hotelling's T2 on 32 components found the mean shifts that the full
# distance found; more components would only add noise.
MAX_COMPONENTS = 32

# A double holds integers up to 2^53 exactly. Components take 20 bits; `_limit` clips vectors to the rest.
_EXACT_BITS = 53
_COMPONENT_BITS = 20
# Steps in one standard deviation along the leading component.
_STEP_BITS = 18

MINOR_COMPONENTS = 96
"""The number of components after these, along which only the mean is measured."""
# The bits of their entries: the sum of a batch's vectors times them stays below 2^53.
_MINOR_BITS = 12

SPREADS = 3
"""The number of an event's spreads: along the components, of the residual, and the typical one."""
SPREAD_STEP = 2.0**-16
"""The step of a spread in fixed point, relative to the baseline's mean spread."""
# One event counts as this many typical ones at most: a single wild vector must not decide a window.
_MOST_SPREAD = 16.0
# Squares have twice the digits, so coordinates lose these bits first: 2^-9 of a standard deviation is kept.
_SQUARE_BITS = _STEP_BITS - 9
STANDARD_STEPS = 2.0**9
"""The steps of a standardized coordinate in one standard deviation of its component."""
# The most of them: 2^11 deviations are beyond the largest spread along 32 components.
_MOST_STEPS = 2.0**20


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """The coordinates of vectors along principal components, in fixed point.

    The last bits of a float product depend on how BLAS partitions the batch, so sums over batches,
    partitions and replicas would not agree. So the centred vectors and the components are rounded
    to integers first, elementwise. Every partial sum of their product is then an integer below 2^53,
    by Cauchy-Schwarz, which a double holds exactly in any order of summation.

    Attributes:
        mean: (d,) float64, the mean of all of the baseline's vectors.
        components: (r, d) float32, of unit length.
        variances: (r,) float64, the baseline's variance along each component, the largest first.
        residual: The mean squared length of what the components leave of the baseline's vectors, less their
            mean; 0 if they leave nothing.
        minor: (96, d) float32, the components after these, of unit length; rows of zeros if there are
            none, and no rows if they are not measured.
        minor_weights: (d, 96) float64, these in 2^-12ths, whole numbers.
        step: The embedding units of one step of a coordinate: 2^-19 to 2^-18 standard deviations along the
            leading component.
    """

    mean: NDArray[np.float64]
    components: NDArray[np.float32]
    variances: NDArray[np.float64]
    residual: float = 0.0
    minor: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    step: float = field(init=False)
    _weights: NDArray[np.float64] = field(init=False, repr=False)
    minor_weights: NDArray[np.float64] = field(init=False, repr=False)
    _limit: float = field(init=False, repr=False)
    _per_deviation: NDArray[np.float64] = field(init=False, repr=False)
    _per_components: float = field(init=False, repr=False)
    _per_residual: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        deviation = math.sqrt(float(self.variances[0]))
        dimension = self.components.shape[1]
        object.__setattr__(self, "step", 2.0 ** (math.floor(math.log2(deviation)) - _STEP_BITS))
        weights = np.rint(self.components.astype(np.float64) * 2.0**_COMPONENT_BITS).T
        object.__setattr__(self, "_weights", np.ascontiguousarray(weights))
        minor = np.rint(self.minor.astype(np.float64) * 2.0**_MINOR_BITS).T
        object.__setattr__(self, "minor_weights", np.ascontiguousarray(minor))
        # One bit is spare for components that rounding makes slightly longer than 1.
        norm_bits = _EXACT_BITS - _COMPONENT_BITS - 1
        limit = 2.0 ** (norm_bits - math.ceil(math.log2(dimension) / 2))
        object.__setattr__(self, "_limit", limit)
        object.__setattr__(self, "_per_deviation", STANDARD_STEPS * self.step / self.deviations)
        object.__setattr__(self, "_per_components", 1 / (len(self.variances) * STANDARD_STEPS**2))
        unit = self.step * 2.0**_SQUARE_BITS
        object.__setattr__(self, "_per_residual", unit**2 / self.residual if self.residual > 0 else 0.0)

    def measure(
        self, vectors: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Return the coordinates, the spreads and the standardized coordinates of (n, d) finite vectors.

        Each number of a vector is clipped at some hundred standard deviations from the mean (the limit
        depends on d).
        The spread along the components is the mean of the squared coordinates in standard deviations, that
        of the residual its squared length over the baseline's mean. Both are about 1 on average, at most
        16, and 0 for a residual if the components leave none. Coordinates whose spread is larger are
        shrunk towards the mean until it is 16; a vector is, until both spreads are. The third spread is the
        eighth root of the first: its mean is that of typical events, which a few far ones hardly change.

        Returns:
            The (n, r) int64 coordinates in steps from the mean, the (n, 3) int64 spreads in 2^-16ths, the
            coordinates in 2^-9ths of standard deviations, (n, r) float64 whole numbers, and the vectors from
            the mean in 2^9 steps, (n, d) float64 whole numbers.
        """
        steps, coordinates = self._project(vectors)
        standardized, along = self._standardize(coordinates)
        residual = self._residual_spreads(steps, coordinates)
        # Square roots are exact on every processor, logarithms are not.
        typical = np.sqrt(np.sqrt(np.sqrt(np.minimum(along, _MOST_SPREAD))))
        spreads = np.stack([along, residual, typical], axis=1)
        furthest = np.maximum(along, residual)
        beyond = np.flatnonzero(furthest > _MOST_SPREAD)
        if len(beyond):
            steps[beyond] = np.rint(steps[beyond] * np.sqrt(_MOST_SPREAD / furthest[beyond])[:, None])
        far = np.flatnonzero(along > _MOST_SPREAD)
        if len(far):
            factors = np.sqrt(_MOST_SPREAD / along[far])[:, None] / self._per_deviation
            coordinates[far] = np.rint(standardized[far] * factors)
            standardized[far], _ = self._standardize(coordinates[far])
        np.minimum(spreads, _MOST_SPREAD, out=spreads)
        spreads *= 1 / SPREAD_STEP
        whole = np.rint(spreads, out=spreads).astype(np.int64)
        return coordinates.astype(np.int64), whole, standardized, steps

    def project_minor(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return coordinates along the minor components as their sums hold them, (n, 96) whole numbers."""
        return self.measure(vectors)[3] @ self.minor_weights

    def clip(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the factors by which `measure` shrinks (n, d) vectors towards the mean, (n,); 1 for most."""
        _, along = self._standardize(self._project(vectors)[1])
        factors: NDArray[np.float64] = np.sqrt(_MOST_SPREAD / np.maximum(along, _MOST_SPREAD))
        return factors

    def _project(self, vectors: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return centred vectors, (n, d), and their coordinates, (n, r), whole numbers of steps."""
        steps = vectors - self.mean
        steps *= 1 / self.step
        np.clip(steps, -self._limit, self._limit, out=steps)
        np.rint(steps, out=steps)
        exact: NDArray[np.float64] = steps @ self._weights
        exact *= 2.0**-_COMPONENT_BITS
        return steps, np.rint(exact, out=exact)

    def _standardize(
        self, coordinates: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return coordinates in 2^-9ths of standard deviations, (n, r), and the mean of their squares, (n,).

        All sums are of squares of whole numbers and stay below 2^53, so they are exact in any order.
        """
        standardized = np.rint(coordinates * self._per_deviation)
        np.clip(standardized, -_MOST_STEPS, _MOST_STEPS, out=standardized)
        return standardized, np.vecdot(standardized, standardized) * self._per_components

    def _residual_spreads(
        self, steps: NDArray[np.float64], coordinates: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the spreads of the residual, (n,).

        The vectors in steps, (n, d), lose the bits that squares would double.
        """
        steps *= 2.0**-_SQUARE_BITS
        np.rint(steps, out=steps)
        if not self.residual > 0:
            return np.zeros(len(steps))
        held = np.rint(coordinates * 2.0**-_SQUARE_BITS)
        left = np.vecdot(steps, steps) - np.vecdot(held, held)
        spreads: NDArray[np.float64] = np.maximum(left, 0.0) * self._per_residual
        return spreads

    @property
    def deviations(self) -> NDArray[np.float64]:
        """The baseline's standard deviation along each component, (r,)."""
        return np.sqrt(self.variances)

    def shift(self, sums: NDArray[np.int64], count: int) -> NDArray[np.float64]:
        """Return the mean of `count` events along the components, (r,), relative to the baseline's mean."""
        shift: NDArray[np.float64] = sums * np.float64(self.step / count)
        return shift
